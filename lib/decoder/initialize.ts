/**
 * @file Random weights for a decoder that will be trained from scratch.
 *
 * References: LeCun et al. (1998) for N(0, 1/fan-in); Radford et al. (GPT-2, 2019) for writing to the residual stream by
 * 1/√(2L). Where a norm follows the projection (Gemma's sandwich) that scale sits in the norm's gain, because the norm
 * would undo it in the matrix. Biases are 0. Embedding rows times their scale have unit RMS, so that the blocks'
 * outputs do not swamp the tokens.
 */
import { dim } from "../elements.ts";
import { f32, type Tensor } from "../mil/tensor.ts";
import { elementCount } from "../mil/types.ts";
import type { Rng } from "../random.ts";
import type { DecoderArchitecture } from "./architecture.ts";
import { type DecoderWeights, inMemoryWeights, weightList } from "./weights.ts";

/** The norms through which a block with sandwich norms adds to the stream. */
const closing: ReadonlySet<string> = new Set(["postAttentionNorm", "postMlpNorm", "perLayerNorm"]);

export function initializeWeights(arch: DecoderArchitecture, rng: Rng): DecoderWeights {
  const residual = 1 / Math.sqrt(2 * arch.layers.length);
  const tensors = new Map<string, Tensor>();
  for (const { name, shape, role, layer } of weightList(arch)) {
    const values = new Float32Array(elementCount(shape));
    const sandwich = layer !== null && arch.layers[layer]?.outputNorms === true;
    if (shape.length === 1) {
      const gain = sandwich && closing.has(role) ? residual : 1;
      if (!role.endsWith("Bias")) values.fill(role === "layerScalar" ? 1 : gain - arch.normOffset);
    } else {
      const writes = !sandwich && (role === "output" || role === "down");
      const deviation = (writes ? residual : 1) / Math.sqrt(dim(shape, 1));
      for (let i = 0; i < values.length; i++) values[i] = rng.normal() * deviation;
    }
    tensors.set(name, f32(shape, values));
  }
  return inMemoryWeights(arch, tensors);
}
