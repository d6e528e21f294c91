/**
 * @file The data that flows through a decoder from layer to layer.
 *
 * Besides the residual stream, Gemma 4's layers read their own vectors for every token, and the
 * keys and values of earlier layers. Kept together, the stream at a layer boundary is all that the
 * following layers need.
 */
import { dim } from "../elements.ts";
import type { Tensor } from "../mil/tensor.ts";

export interface Stream {
  readonly x: Tensor; // (batch, length, hidden)
  /** The tokens' vectors for each layer, (rows of the batch before repetition, length, P); empty without per-layer embeddings. */
  readonly perLayer: readonly Tensor[];
  /** By layer, of those that later layers read: (rows before repetition or batch, kvGroups, length, headDim). */
  readonly shared: ReadonlyMap<number, { readonly k: Tensor; readonly v: Tensor }>;
}

/** `copies` of every row of the batch. Only x is copied; the rest is the same for all copies and is
 * repeated when read. */
export const repeatStream = (stream: Stream, copies: number): Stream => ({
  ...stream,
  x: repeatRows(stream.x, copies),
});

/** `t` (rows, …) repeated as a whole up to `batch` rows. */
export const atBatch = (t: Tensor, batch: number): Tensor => repeatRows(t, batch / dim(t.shape, 0));

function repeatRows(t: Tensor, copies: number): Tensor {
  if (copies === 1 || !(t.data instanceof Float32Array)) return t;
  const data = new Float32Array(t.data.length * copies);
  for (let c = 0; c < copies; c++) data.set(t.data, c * t.data.length);
  return { dtype: t.dtype, shape: [dim(t.shape, 0) * copies, ...t.shape.slice(1)], data };
}

/** The slices of t (count, …) along its first axis, without copying. */
export function alongFirstAxis(t: Tensor): Tensor[] {
  const [count, ...shape] = t.shape as [number, ...number[]];
  const size = t.data.length / count;
  return Array.from({ length: count }, (_, i) => ({
    dtype: t.dtype,
    shape,
    data: t.data.subarray(i * size, (i + 1) * size),
  }));
}
