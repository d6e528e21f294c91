/**
 * @file How to write the weights of a model made from a checkpoint: unchanged weights are copied
 * byte for byte; changed ones keep their element type.
 */
import type { DecoderWeights } from "../decoder/weights.ts";
import { weightList } from "../decoder/weights.ts";
import { invariant } from "../errors.ts";
import { float32Data, type Tensor } from "../mil/tensor.ts";
import { elementCount } from "../mil/types.ts";
import { type Checkpoint, storedFloat } from "./checkpoint.ts";
import type { CheckpointToWrite } from "./write-checkpoint.ts";

/**
 * `before` holds the weights read from `origin`: a tensor of `made` that is one of them was not
 * changed. `layers`: for each remaining layer its number in `origin`; default: all layers.
 */
export function madeFrom(
  origin: Checkpoint,
  before: DecoderWeights,
  made: DecoderWeights,
  layers: readonly number[] = before.arch.layers.map((_, l) => l),
): Pick<CheckpointToWrite, "weight" | "dtype"> {
  const unchanged = new Map<Tensor, string>([...before.tensors].map(([name, t]) => [t, name]));
  const nameBefore = new Map(
    weightList(made.arch).map(({ name, layer, role }) => [name, layer === null ? name : `L${layers[layer]}_${role}`]),
  );
  const originName = (name: string): string => {
    const found = nameBefore.get(name);
    invariant(found !== undefined, `${name} is no weight of the model`);
    return found;
  };
  return {
    dtype: (name) => storedFloat(origin.stored(originName(name))),
    async weight(name) {
      const t = made.tensors.get(name);
      // Tables, which no method changes, are not among the tensors.
      if (!t) return origin.stored(originName(name));
      const same = unchanged.get(t);
      if (same !== undefined) return origin.stored(same);
      return { kind: "dense", dtype: "fp32", shape: t.shape, values: float32Data(t) };
    },
  };
}

/** Bytes that a value of the checkpoint takes where it is stored as a float, on average. */
export function bytesPerValue(origin: Checkpoint): number {
  let bytes = 0;
  let values = 0;
  for (const { name, shape } of weightList(origin.architecture)) {
    const count = elementCount(shape);
    bytes += count * (storedFloat(origin.stored(name)) === "f32" ? 4 : 2);
    values += count;
  }
  return bytes / values;
}
