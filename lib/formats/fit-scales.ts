/**
 * @file The scale, and where a type has one the minimum, with which integer codes come closest to some weights.
 *
 * With x the weights, a the importance of an error in each, and q codes of a given range, these are minimized:
 *   Σ a (x − s q)²  (`fitScale`)      Σ a (x − s q − m)², m ≤ 0  (`fitScaleAndMinimum`).
 * For fixed codes both are least squares with a closed form; for a fixed scale every code is the nearest. The two steps
 * alternate from several scales around that which covers the range, and the best end is kept: the error can only fall.
 *
 * Reference: Lloyd, "Least squares quantization in PCM" (1982), for the alternation. Which codes and scales a GGUF block can
 * hold is said in `gguf/fit-blocks.ts`.
 */

/** Codes 0 … n − 1 with a value each, ascending; the nearest is found by half steps, for which values are whole numbers. */
export interface Grid {
  readonly values: Float64Array; // (n)
  /** Code of the value nearest to h / 2 … (h + 1) / 2 at h + 256. */
  readonly nearest: Uint8Array; // (512)
}

export function gridOf(values: readonly number[]): Grid {
  const nearest = new Uint8Array(512);
  let code = 0;
  for (let h = -256; h < 256; h++) {
    const at = h / 2 + 0.25;
    while (code + 1 < values.length && at > ((values[code] ?? 0) + (values[code + 1] ?? 0)) / 2) code++;
    nearest[h + 256] = code;
  }
  return { values: Float64Array.from(values), nearest };
}

/** −half … half − 1 */
export const linearGrid = (half: number): Grid => gridOf(Array.from({ length: 2 * half }, (_, i) => i - half));

export function nearestCode({ nearest }: Grid, v: number): number {
  const h = 2 * v + 256;
  return nearest[h < 0 ? 0 : h > 511 ? 511 : h | 0] ?? 0;
}

/** Weights and importances of a block; both at least as long as it. */
export interface Weighted {
  readonly x: Float64Array;
  readonly a: Float64Array;
}

/** Scales that are tried, and times that codes and scale of the best of them follow each other. */
const STARTS = 13;
const REPEATS = 3;

/** Sums of the last pass over a block, from which its scale and minimum follow. */
const sums = { aq: 0, qq: 0, xq: 0 };

/** The scale for elements [from, to); it may be negative, and is 0 for zeros. */
export function fitScale(w: Weighted, from: number, to: number, grid: Grid): number {
  let largest = 0;
  for (let i = from; i < to; i++) if (Math.abs(w.x[i] ?? 0) > Math.abs(largest)) largest = w.x[i] ?? 0;
  if (largest === 0) return 0;
  let best = 0;
  let scale = 0;
  // With the codes nearest to x / s the best scale is Σ a x q / Σ a q², and gains (Σ a x q)² / Σ a q² over a scale of 0.
  const improve = (s: number): boolean => {
    sumSigned(w, from, to, grid, s);
    if (!(sums.qq > 0) || sums.xq === 0) return false;
    const gained = (sums.xq * sums.xq) / sums.qq;
    if (gained <= best) return false;
    best = gained;
    scale = sums.xq / sums.qq;
    return true;
  };
  // What the scale maps the largest weight to: around either end of the grid.
  for (const end of [grid.values[0] ?? 0, grid.values[grid.values.length - 1] ?? 0]) {
    const reach = Math.max(0.9, 0.06 * Math.abs(end));
    for (let start = 0; start < STARTS; start++) improve(largest / (end + reach * startAt(start)));
  }
  for (let repeat = 0; repeat < REPEATS && improve(scale); repeat++);
  return scale;
}

/** From −1 to 1 */
const startAt = (start: number): number => (2 * start) / (STARTS - 1) - 1;

function sumSigned({ x, a }: Weighted, from: number, to: number, { values, nearest }: Grid, s: number): void {
  const inverse = 2 / s;
  let xq = 0;
  let qq = 0;
  for (let i = from; i < to; i++) {
    const v = x[i] ?? 0;
    const h = v * inverse + 256;
    const q = values[nearest[h < 0 ? 0 : h > 511 ? 511 : h | 0] ?? 0] ?? 0;
    const aq = (a[i] ?? 0) * q;
    xq += aq * v;
    qq += aq * q;
  }
  sums.xq = xq;
  sums.qq = qq;
}

/** Where `fitScaleAndMinimum` puts its result: x ≈ scale · q − minimum, both at least 0. */
export interface ScaleAndMinimum {
  scale: number;
  minimum: number;
}

/** For codes 0 … `most` of elements [from, to). */
export function fitScaleAndMinimum(w: Weighted, from: number, to: number, most: number, out: ScaleAndMinimum): void {
  let least = 0;
  let largest = 0;
  let sa = 0;
  let sax = 0;
  for (let i = from; i < to; i++) {
    const v = w.x[i] ?? 0;
    if (v < least) least = v;
    if (v > largest) largest = v;
    sa += w.a[i] ?? 0;
    sax += (w.a[i] ?? 0) * v;
  }
  out.scale = 0;
  out.minimum = sax < 0 ? -sax / sa : 0;
  if (largest === least) return;
  let best = -out.minimum * sax;
  const improve = (fromScale: number, fromMinimum: number): boolean => {
    sumFromMinimum(w, from, to, most, fromScale, fromMinimum);
    const { aq, qq, xq } = sums;
    const determinant = sa * qq - aq * aq;
    if (!(determinant > 0)) return false;
    let s = (sa * xq - sax * aq) / determinant;
    let m = (qq * sax - aq * xq) / determinant;
    if (m > 0) {
      m = 0;
      s = xq / qq;
    }
    // Σ a x² − Σ a (x − s q − m)²
    const gained = 2 * s * xq + 2 * m * sax - s * s * qq - 2 * s * m * aq - m * m * sa;
    if (!(s > 0) || gained <= best) return false;
    best = gained;
    out.scale = s;
    out.minimum = -m;
    return true;
  };
  const reach = Math.max(0.9, 0.06 * most);
  for (let start = 0; start < STARTS; start++) improve((largest - least) / (most + reach * startAt(start)), -least);
  for (let repeat = 0; repeat < REPEATS && out.scale > 0 && improve(out.scale, out.minimum); repeat++);
}

function sumFromMinimum({ x, a }: Weighted, from: number, to: number, most: number, s: number, minimum: number): void {
  const inverse = 1 / s;
  const shift = minimum * inverse + 0.5;
  let aq = 0;
  let qq = 0;
  let xq = 0;
  for (let i = from; i < to; i++) {
    const v = x[i] ?? 0;
    const h = v * inverse + shift;
    const q = h < 0 ? 0 : h > most ? most : h | 0;
    const aqi = (a[i] ?? 0) * q;
    aq += aqi;
    qq += aqi * q;
    xq += aqi * v;
  }
  sums.aq = aq;
  sums.qq = qq;
  sums.xq = xq;
}
