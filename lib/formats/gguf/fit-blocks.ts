/**
 * @file Codes and scales of a GGUF block with the least weighted error: fp16 scales, and in the K types small integer scales.
 *
 * `dequantize.ts` and `k-quants.ts` say what each type computes. An error in a weight x counts c √(σ² + x²), c the importance of
 * its column (1 without any) and σ² = 2 mean x² of the block. Every sub-block is fitted alone (`fit-scales.ts`); the
 * largest scale and minimum give d and dmin; then integer scales move by one where that lowers the error, and d and dmin follow by
 * least squares, as long as the error falls.
 *
 * Reference: `ggml-quants.c` of ggml-org/ggml for the weight of an error. The search is our own: bytes differ from llama.cpp's, and the
 * error is no larger (docs/packages.md).
 */
import { roundToFloat16 } from "../../float16.ts";
import {
  fitScale,
  fitScaleAndMinimum,
  type Grid,
  gridOf,
  linearGrid,
  nearestCode,
  type ScaleAndMinimum,
  type Weighted,
} from "../fit-scales.ts";
import { nonlinearValues } from "./k-quants.ts";
import type { Block, BlockType } from "./pack.ts";

export type FittedType = Exclude<BlockType, "Q8_0">;

/** x = d s q − dmin m, or d q + m for one sub-block without integer scales. */
interface MinimumForm {
  readonly kind: "minimum";
  readonly size: number;
  readonly mostCode: number;
  /** Of s and m; null without integer scales. */
  readonly mostScale: number | null;
}

/** x = d s v, v the value of a code, s signed; or d v without integer scales. */
interface SignedForm {
  readonly kind: "signed";
  readonly size: number;
  readonly grid: Grid;
  readonly scales: { readonly least: number; readonly most: number } | null;
}

const nonlinear = gridOf(nonlinearValues);
const sixBits = { least: -32, most: 31 };

const forms: Readonly<Record<FittedType, MinimumForm | SignedForm>> = {
  Q4_0: { kind: "signed", size: 32, grid: linearGrid(8), scales: null },
  Q5_0: { kind: "signed", size: 32, grid: linearGrid(16), scales: null },
  Q4_1: { kind: "minimum", size: 32, mostCode: 15, mostScale: null },
  Q5_1: { kind: "minimum", size: 32, mostCode: 31, mostScale: null },
  IQ4_NL: { kind: "signed", size: 32, grid: nonlinear, scales: null },
  Q2_K: { kind: "minimum", size: 16, mostCode: 3, mostScale: 15 },
  Q3_K: { kind: "signed", size: 16, grid: linearGrid(4), scales: sixBits },
  Q4_K: { kind: "minimum", size: 32, mostCode: 15, mostScale: 63 },
  Q5_K: { kind: "minimum", size: 32, mostCode: 31, mostScale: 63 },
  Q6_K: { kind: "signed", size: 16, grid: linearGrid(32), scales: { least: -128, most: 127 } },
  IQ4_XS: { kind: "signed", size: 32, grid: nonlinear, scales: sixBits },
};

/** Times that d and dmin follow the codes. */
const REFITS = 2;

/** Fits the block of `w.x` with errors weighted by `w.a`. */
export function fitBlock(type: FittedType, w: Weighted, block: Block): void {
  const form = forms[type];
  if (form.kind === "minimum") fitWithMinimum(form, w, block);
  else fitSigned(form, w, block);
}

/** What an error in each of the values from `from` on counts, into `w`; `importance` (columns) repeats for every row. */
export function weigh(values: Float32Array, from: number, importance: Float32Array | null, { x, a }: Weighted): void {
  let squares = 0;
  for (let i = 0; i < x.length; i++) {
    const v = values[from + i] ?? 0;
    x[i] = v;
    squares += v * v;
  }
  const variance = (2 * squares) / x.length;
  for (let i = 0; i < x.length; i++) {
    const v = x[i] ?? 0;
    a[i] = Math.sqrt(variance + v * v) * (importance ? (importance[(from + i) % importance.length] ?? 0) : 1);
  }
}

/** Scales of sub-blocks before they are integers. */
const found: ScaleAndMinimum = { scale: 0, minimum: 0 };

function fitWithMinimum(form: MinimumForm, w: Weighted, block: Block): void {
  const { size, mostScale } = form;
  const count = w.x.length / size;
  if (mostScale === null) {
    fitScaleAndMinimum(w, 0, size, form.mostCode, found);
    block.d = roundToFloat16(found.scale);
    block.m = roundToFloat16(-found.minimum);
    codesFromMinimum(form, w, 0, block.d, -block.m, block.codes);
    return;
  }
  const scales = new Float64Array(count);
  const minima = new Float64Array(count);
  let [mostFound, mostMinimum] = [0, 0];
  for (let s = 0; s < count; s++) {
    fitScaleAndMinimum(w, s * size, (s + 1) * size, form.mostCode, found);
    scales[s] = found.scale;
    minima[s] = found.minimum;
    mostFound = Math.max(mostFound, found.scale);
    mostMinimum = Math.max(mostMinimum, found.minimum);
  }
  let d = roundToFloat16(mostFound / mostScale);
  let m = roundToFloat16(mostMinimum / mostScale);
  const integer = (v: number, of: number): number => (of > 0 ? Math.min(mostScale, Math.round(v / of)) : 0);
  const s = Int32Array.from(scales, (v) => integer(v, d));
  const n = Int32Array.from(minima, (v) => integer(v, m));
  let least = Number.POSITIVE_INFINITY;
  for (let refit = 0; refit <= REFITS; refit++) {
    let error = 0;
    for (let sub = 0; sub < count; sub++) error += bestIntegersWithMinimum(form, w, sub, d, m, s, n);
    if (!(error < least)) break;
    least = error;
    block.d = d;
    block.m = m;
    block.scales.set(s);
    block.minima.set(n);
    for (let sub = 0; sub < count; sub++)
      codesFromMinimum(form, w, sub, d * (s[sub] ?? 0), m * (n[sub] ?? 0), block.codes);
    // Σ a (x − d S + dmin N)² with S = s q and N = n of every element: two unknowns.
    let [ss, sn, nn, xs, xn] = [0, 0, 0, 0, 0];
    for (let i = 0; i < w.x.length; i++) {
      const sub = Math.floor(i / size);
      const a = w.a[i] ?? 0;
      const x = w.x[i] ?? 0;
      const scaled = (s[sub] ?? 0) * (block.codes[i] ?? 0);
      const minimum = n[sub] ?? 0;
      ss += a * scaled * scaled;
      sn += a * scaled * minimum;
      nn += a * minimum * minimum;
      xs += a * x * scaled;
      xn += a * x * minimum;
    }
    const determinant = ss * nn - sn * sn;
    if (determinant > 1e-9 * ss * nn) {
      d = roundToFloat16((xs * nn - xn * sn) / determinant);
      m = roundToFloat16((xs * sn - xn * ss) / determinant);
    } else if (ss > 0) d = roundToFloat16(xs / ss);
    if (!(d > 0) || m < 0) break;
  }
}

/** Moves s and n of a sub-block to the best neighbours, and returns its error there. */
function bestIntegersWithMinimum(
  { size, mostCode, mostScale }: MinimumForm,
  { x, a }: Weighted,
  sub: number,
  d: number,
  m: number,
  s: Int32Array,
  n: Int32Array,
): number {
  const most = mostScale ?? 1;
  const [s0, n0] = [s[sub] ?? 0, n[sub] ?? 0];
  let least = Number.POSITIVE_INFINITY;
  for (let si = Math.max(0, s0 - 1); si <= Math.min(most, s0 + 1); si++) {
    for (let ni = Math.max(0, n0 - 1); ni <= Math.min(most, n0 + 1); ni++) {
      const [scale, minimum] = [d * si, m * ni];
      const inverse = scale > 0 ? 1 / scale : 0;
      let error = 0;
      for (let i = sub * size; i < (sub + 1) * size && error < least; i++) {
        const v = (x[i] ?? 0) + minimum;
        const h = v * inverse + 0.5;
        const e = v - scale * (h < 0 ? 0 : h > mostCode ? mostCode : h | 0);
        error += (a[i] ?? 0) * e * e;
      }
      if (error < least) {
        least = error;
        s[sub] = si;
        n[sub] = ni;
      }
    }
  }
  return least;
}

/** x ≈ scale q − minimum */
function codesFromMinimum(
  { size, mostCode }: MinimumForm,
  { x }: Weighted,
  sub: number,
  scale: number,
  minimum: number,
  codes: Int32Array,
): void {
  const inverse = scale > 0 ? 1 / scale : 0;
  for (let i = sub * size; i < (sub + 1) * size; i++)
    codes[i] = Math.max(0, Math.min(mostCode, Math.floor(((x[i] ?? 0) + minimum) * inverse + 0.5)));
}

function fitSigned(form: SignedForm, w: Weighted, block: Block): void {
  const { size, grid, scales } = form;
  const count = w.x.length / size;
  if (!scales) {
    block.d = roundToFloat16(fitScale(w, 0, size, grid));
    codesSigned(form, w, 0, block.d, block.codes);
    return;
  }
  const fitted = Float64Array.from({ length: count }, (_, s) => fitScale(w, s * size, (s + 1) * size, grid));
  // The end of the range that reaches further takes the largest.
  const largest = fitted.reduce((most, v) => (Math.abs(v) > Math.abs(most) ? v : most), 0);
  let d = roundToFloat16(largest / scales.least);
  const clamp = (v: number): number => Math.max(scales.least, Math.min(scales.most, v));
  const s = Int32Array.from(fitted, (v) => (d === 0 ? 0 : clamp(Math.round(v / d))));
  let least = Number.POSITIVE_INFINITY;
  for (let refit = 0; refit <= REFITS; refit++) {
    let error = 0;
    for (let sub = 0; sub < count; sub++) error += bestInteger(form, scales, w, sub, d, s);
    if (!(error < least)) break;
    least = error;
    block.d = d;
    block.scales.set(s);
    let [xs, ss] = [0, 0];
    for (let sub = 0; sub < count; sub++) {
      const scale = s[sub] ?? 0;
      codesSigned(form, w, sub, d * scale, block.codes);
      for (let i = sub * size; i < (sub + 1) * size; i++) {
        const v = scale * (grid.values[block.codes[i] ?? 0] ?? 0);
        const a = w.a[i] ?? 0;
        xs += a * v * (w.x[i] ?? 0);
        ss += a * v * v;
      }
    }
    if (ss === 0) break;
    d = roundToFloat16(xs / ss);
  }
}

function bestInteger(
  { size, grid: { values, nearest } }: SignedForm,
  range: { readonly least: number; readonly most: number },
  { x, a }: Weighted,
  sub: number,
  d: number,
  s: Int32Array,
): number {
  const s0 = s[sub] ?? 0;
  let least = Number.POSITIVE_INFINITY;
  for (let si = Math.max(range.least, s0 - 1); si <= Math.min(range.most, s0 + 1); si++) {
    const scale = d * si;
    const inverse = scale === 0 ? 0 : 2 / scale;
    let error = 0;
    for (let i = sub * size; i < (sub + 1) * size && error < least; i++) {
      const v = x[i] ?? 0;
      const h = v * inverse + 256;
      const e = v - scale * (values[nearest[h < 0 ? 0 : h > 511 ? 511 : h | 0] ?? 0] ?? 0);
      error += (a[i] ?? 0) * e * e;
    }
    if (error < least) {
      least = error;
      s[sub] = si;
    }
  }
  return least;
}

function codesSigned({ size, grid }: SignedForm, { x }: Weighted, sub: number, scale: number, codes: Int32Array): void {
  const inverse = scale === 0 ? 0 : 1 / scale;
  for (let i = sub * size; i < (sub + 1) * size; i++) codes[i] = nearestCode(grid, (x[i] ?? 0) * inverse);
}
