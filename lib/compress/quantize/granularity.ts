/**
 * @file Granularity: how many rows or columns share a table or scale, and the nearest granularity
 * that fits a matrix.
 *
 * Core ML divides each axis into equal groups; the last one cannot be shorter. If the requested
 * group does not divide an axis, we use the divisor nearest to it in ratio: 172 rows have no
 * divisor between 4 and 43, so 8 becomes 4 rows per table and 16 becomes 43. Groups below 4 rows or
 * 8 columns cost more than they gain, and a table every row or two slows the Neural Engine. An axis
 * without a larger divisor, such as a prime, therefore gets one group. Not included: padding, which
 * adds rows to every product.
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
 * `wanted`, adapted to a matrix of `shape` (rows, …), and one sentence on what changed, or null if
 * nothing did. With `kind` the sentence covers only settings that weights of that kind have.
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
