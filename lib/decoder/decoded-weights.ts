/**
 * @file The weights of a decoder whose matrices are compressed, decoded when a program asks for them.
 *
 * A layer's weights are decoded for every run of the layer and then freed, so that a changed model
 * can be measured against its base without a second fp32 copy. The embedding and the head are
 * decoded once, because every part of a text reads them.
 */
import { f32, type Tensor } from "../mil/tensor.ts";
import { decodeWeight } from "../weights/decode.ts";
import type { CompressedWeight } from "../weights/weight.ts";
import { hostEmbedding } from "./neural-engine/embedding.ts";
import type { DecoderWeights } from "./weights.ts";

/** `weights`, replaced where `compressed` has the same flat name. */
export function decodedWeights(
  weights: DecoderWeights,
  compressed: ReadonlyMap<string, CompressedWeight>,
): DecoderWeights {
  const tensors = new DecodedTensors();
  for (const [name, t] of weights.tensors) {
    const w = compressed.get(name);
    if (w && /^L\d+_/.test(name)) tensors.later(name, w);
    else tensors.set(name, w ? f32(w.shape, decodeWeight(w)) : t);
  }
  const tables = new Map(
    [...weights.tables].map(([name, table]) => {
      const w = compressed.get(name);
      return [name, w ? hostEmbedding(w) : table] as const;
    }),
  );
  return { ...weights, tensors, tables };
}

class DecodedTensors extends Map<string, Tensor> {
  private readonly compressed = new Map<string, CompressedWeight>();

  /** Keeps the position of `name` among the tensors; every `get` decodes its values. */
  later(name: string, w: CompressedWeight): void {
    this.set(name, { dtype: "fp32", shape: w.shape, data: new Float32Array() });
    this.compressed.set(name, w);
  }

  override get(name: string): Tensor | undefined {
    const w = this.compressed.get(name);
    return w ? f32(w.shape, decodeWeight(w)) : super.get(name);
  }

  override *entries(): MapIterator<[string, Tensor]> {
    for (const name of this.keys()) yield [name, this.get(name) as Tensor];
  }

  override *values(): MapIterator<Tensor> {
    for (const [, t] of this.entries()) yield t;
  }

  override [Symbol.iterator](): MapIterator<[string, Tensor]> {
    return this.entries();
  }

  override forEach(call: (value: Tensor, key: string, map: Map<string, Tensor>) => void): void {
    for (const [name, t] of this.entries()) call(t, name, this);
  }
}
