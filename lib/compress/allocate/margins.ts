/**
 * @file A table from its row and column sums: the cost of each tensor, from the costs of whole
 * layers and whole roles.
 *
 * Reference: Deming and Stephan, "On a least squares adjustment of a sampled frequency table when the expected marginal totals
 * are known" (1940); iterative proportional fitting. From a first guess g (rows, columns) the rows are scaled to their sums, then
 * the columns to theirs, and so on:
 *
 *   k_rc = g_rc · a_r · b_c,  Σ_c k_rc = rows_r,  Σ_r k_rc = columns_c
 *
 * which is the table nearest to g (in KL) with these sums. Measured row and column sums of
 * divergences have different totals, because effects interact: both are scaled to the geometric
 * mean of the totals. Cells that are 0 in g stay 0.
 */

const ROUNDS = 200;
const TOLERANCE = 1e-9;

/** `guess` by row and column, 0 where there is no such part. Sums below 0 count as 0. */
export function fitMargins(
  guess: readonly (readonly number[])[],
  rowSums: readonly number[],
  columnSums: readonly number[],
): number[][] {
  const total = (values: readonly number[]): number => values.reduce((n, v) => n + Math.max(0, v), 0);
  const [ofRows, ofColumns] = [total(rowSums), total(columnSums)];
  if (!(ofRows > 0) || !(ofColumns > 0)) return guess.map((row) => row.map(() => 0));
  const common = Math.sqrt(ofRows * ofColumns);
  const rows = rowSums.map((v) => (Math.max(0, v) * common) / ofRows);
  const columns = columnSums.map((v) => (Math.max(0, v) * common) / ofColumns);
  const table = guess.map((row) => row.map((v) => Math.max(0, v)));
  for (let round = 0; round < ROUNDS; round++) {
    let worst = 0;
    for (const [r, row] of table.entries()) {
      const factor = ratio(rows[r] ?? 0, total(row));
      worst = Math.max(worst, Math.abs(factor - 1));
      for (const [c, v] of row.entries()) row[c] = v * factor;
    }
    for (const [c, wanted] of columns.entries()) {
      const factor = ratio(wanted, total(table.map((row) => row[c] ?? 0)));
      worst = Math.max(worst, Math.abs(factor - 1));
      for (const row of table) row[c] = (row[c] ?? 0) * factor;
    }
    if (worst < TOLERANCE) break;
  }
  return table;
}

const ratio = (wanted: number, found: number): number => (found > 0 ? wanted / found : 1);
