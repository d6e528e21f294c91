/**
 * @file MLX's affine groups: codes q of 2, 3, 4, 5, 6 or 8 bits with an fp16 scale and bias for every 32, 64 or 128 columns, w = s q + b.
 *
 * A row is one stream of bits, the least significant first, read as 32-bit words: element k takes bits [k·bits, (k + 1)·bits). Groups are
 * fitted as in `fit-scales.ts`, with errors weighted by importance c √(σ² + x²), σ² = 2 mean x² of the group.
 *
 * Reference: `mlx/backend/cpu/quantized.cpp` of ml-explore/mlx. Not included: its modes mxfp4, mxfp8 and nvfp4.
 */
import { EspalierError } from "../../errors.ts";
import { roundToFloat16 } from "../../float16.ts";
import { fitScaleAndMinimum, type ScaleAndMinimum, type Weighted } from "../fit-scales.ts";

export const mlxBits = [2, 3, 4, 5, 6, 8] as const;
export const mlxGroups = [32, 64, 128] as const;

export interface AffineGroups {
  readonly bits: (typeof mlxBits)[number];
  readonly groupSize: (typeof mlxGroups)[number];
}

/** Whole rows: codes one a byte, scales and biases (rows, columns / groupSize) rounded to fp16. */
export interface GroupCodes {
  readonly codes: Uint8Array;
  readonly scales: Float32Array;
  readonly biases: Float32Array;
}

/** `values` are whole rows of a multiple of `groupSize`; `importance` (columns) repeats for every row. Throws `input/invalid` for what is not finite. */
export function quantizeGroups(
  values: Float32Array,
  { bits, groupSize }: AffineGroups,
  importance: Float32Array | null,
): GroupCodes {
  const most = 2 ** bits - 1;
  const groups = values.length / groupSize;
  const codes = new Uint8Array(values.length);
  const [scales, biases] = [new Float32Array(groups), new Float32Array(groups)];
  const w: Weighted = { x: new Float64Array(groupSize), a: new Float64Array(groupSize) };
  const found: ScaleAndMinimum = { scale: 0, minimum: 0 };
  for (let g = 0; g < groups; g++) {
    const from = g * groupSize;
    // What all have in common is in the bias, whatever its sign; the fit is of what is above or below.
    let least = Number.POSITIVE_INFINITY;
    let squares = 0;
    for (let i = from; i < from + groupSize; i++) {
      const v = values[i] ?? 0;
      least = Math.min(least, v);
      squares += v * v;
    }
    if (!Number.isFinite(squares))
      throw new EspalierError(
        "input/invalid",
        "a weight holds a number that is not finite, which MLX groups cannot store",
      );
    const shift = Math.max(0, least);
    const variance = (2 * squares) / groupSize;
    for (let i = 0; i < groupSize; i++) {
      const v = values[from + i] ?? 0;
      w.x[i] = v - shift;
      w.a[i] = Math.sqrt(variance + v * v) * (importance ? (importance[(from + i) % importance.length] ?? 0) : 1);
    }
    fitScaleAndMinimum(w, 0, groupSize, most, found);
    const scale = roundToFloat16(found.scale);
    const bias = roundToFloat16(shift - found.minimum);
    scales[g] = scale;
    biases[g] = bias;
    const inverse = scale > 0 ? 1 / scale : 0;
    for (let i = from; i < from + groupSize; i++)
      codes[i] = Math.max(0, Math.min(most, Math.floor(((values[i] ?? 0) - bias) * inverse + 0.5)));
  }
  return { codes, scales, biases };
}

/** Whole rows of a multiple of 32 codes. */
export function packCodes(codes: Uint8Array, bits: AffineGroups["bits"]): Uint8Array {
  const out = new Uint8Array((codes.length * bits) / 8);
  for (let i = 0, bit = 0; i < codes.length; i++, bit += bits) {
    const shifted = (codes[i] ?? 0) << (bit & 7);
    const at = bit >> 3;
    out[at] = (out[at] ?? 0) | (shifted & 255);
    if (shifted > 255) out[at + 1] = (out[at + 1] ?? 0) | (shifted >> 8);
  }
  return out;
}

export function unpackCodes(packed: Uint8Array, bits: AffineGroups["bits"]): Uint8Array {
  const codes = new Uint8Array((packed.length * 8) / bits);
  for (let i = 0, bit = 0; i < codes.length; i++, bit += bits) {
    const at = bit >> 3;
    const word = (packed[at] ?? 0) | ((packed[at + 1] ?? 0) << 8);
    codes[i] = (word >> (bit & 7)) & (2 ** bits - 1);
  }
  return codes;
}

/** w = s q + b */
export function decodeGroups({ codes, scales, biases }: GroupCodes, groupSize: number): Float32Array {
  const out = new Float32Array(codes.length);
  for (let i = 0; i < out.length; i++) {
    const g = Math.floor(i / groupSize);
    out[i] = (scales[g] ?? 0) * (codes[i] ?? 0) + (biases[g] ?? 0);
  }
  return out;
}
