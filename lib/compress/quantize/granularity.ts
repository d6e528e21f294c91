/**
 * @file How finely tables and scales are laid out, and the nearest layout that a matrix takes.
 *
 * Core ML divides each axis into equal groups, with no shorter last one. Where a wanted group does not divide an axis, the
 * divisor nearest to it in ratio serves: 172 rows have none between 4 and 43, and want 4 rows a table for 8, 43 for 16.
 * A group below 4 rows or 8 columns costs more than it gains, and a table every row or two slows the Neural Engine, so that
 * an axis without a divisor above that, such as a prime, has one group. Left out: padding, which adds rows to every product.
 */

export interface Granularity {
  /** Palettes: output channels that share a table; must divide the rows. Null for one table. */
  readonly rowsPerTable: number | null;
  /** Palettes: a scale for every output channel, which the package multiplies the output by. */
  readonly rowScales?: boolean;
  /** Affine: input channels that share a scale; null for the whole row. */
  readonly groupSize: number | null;
  /** Affine: an offset for every scale. */
  readonly asymmetric: boolean;
  /** Affine: no search for a better clip. */
  readonly keepExtremes: boolean;
}

const LEAST_ROWS = 4;
const LEAST_COLUMNS = 8;

/**
 * `wanted` as a matrix of `shape` (rows, …) takes it, and one sentence on what was changed, null when nothing was. With `kind`
 * the sentence is only about what weights of that kind have.
 */
export function granularityFor(
  shape: readonly number[],
  wanted: Granularity,
  kind?: "palette" | "affine",
): { granularity: Granularity; note: string | null } {
  const [rows = 1, ...rest] = shape;
  const columns = rest.reduce((n, d) => n * d, 1);
  const rowsPerTable = nearestDivisor(rows, wanted.rowsPerTable, LEAST_ROWS);
  const groupSize = nearestDivisor(columns, wanted.groupSize, LEAST_COLUMNS);
  const notes: string[] = [];
  if (kind !== "affine" && wanted.rowsPerTable !== null && rowsPerTable !== wanted.rowsPerTable)
    notes.push(`${wanted.rowsPerTable} rows a table do not divide ${rows} rows: ${rowsPerTable ?? rows} instead`);
  if (kind !== "palette" && wanted.groupSize !== null && groupSize !== wanted.groupSize)
    notes.push(`groups of ${wanted.groupSize} do not divide ${columns} columns: ${groupSize ?? columns} instead`);
  return {
    granularity: { ...wanted, rowsPerTable, groupSize },
    note: notes.length > 0 ? notes.join("; ") : null,
  };
}

/** The divisor of `length` nearest to `wanted` in ratio, the smaller of two; null for the whole axis. */
function nearestDivisor(length: number, wanted: number | null, least: number): number | null {
  if (wanted === null || length % wanted === 0) return wanted;
  let best: number | null = null;
  for (let d = Math.min(least, wanted); d < length; d++) {
    if (length % d !== 0) continue;
    if (best === null || distance(d, wanted) < distance(best, wanted)) best = d;
  }
  return best !== null && distance(best, wanted) <= distance(length, wanted) ? best : null;
}

const distance = (a: number, b: number): number => Math.abs(Math.log(a / b));
