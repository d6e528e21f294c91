/**
 * @file One decoder block on a (1, C, 1, S) stream: the same formulas as `lib/decoder/block.ts`, lowered for the Neural Engine.
 *
 *   x += post(O · attend(rope(norm(Q n)), rope(norm(K n)), V n)),  n = norm(x)
 *   x += post(D · (act(G n) ⊙ U n)),                               n = norm(x)
 *
 * with every product a 1×1 convolution. The attention scale sits in the query norm's gain where there is one. Left out:
 * gates, which are for experiments.
 */
import type { Builder } from "../../mil/builder.ts";
import type { Value } from "../../mil/program.ts";
import type { DecoderArchitecture, LayerArchitecture, LayerTensor } from "../architecture.ts";
import { rotate } from "../rope.ts";
import { attend, toChannels, toHeads } from "./attention.ts";
import type { FunctionCacheValues } from "./cache.ts";
import { mirrorNorm } from "./norm.ts";
import type { LayerScaling } from "./scaling.ts";
import type { LayoutWeights } from "./weights.ts";

export interface NeuralEngineBlock {
  readonly arch: DecoderArchitecture;
  readonly layer: LayerArchitecture;
  readonly weights: LayoutWeights;
  /** The flat name of one of this layer's weights. */
  readonly name: (role: LayerTensor) => string;
  readonly rope: { readonly cos: Value; readonly sin: Value } | null; // (1, 1, S, D)
  readonly mask: Value; // (1, 1, S, N)
  readonly cache: FunctionCacheValues;
  /** The first of the layer's rows in its cache. */
  readonly row: number;
  /** α of the stream. */
  readonly stream: number;
  readonly scaling: LayerScaling;
}

/** x (1, Cin, 1, S) times a kernel (Cout, Cin, 1, 1). */
export const pointwise = (b: Builder, x: Value, weight: Value, name = "projection"): Value =>
  b.op(
    "conv",
    { x, weight },
    { strides: [1, 1], pad_type: "valid", pad: [0, 0, 0, 0], dilations: [1, 1] },
    name,
  )[0] as Value;

const add = (b: Builder, x: Value, y: Value): Value => b.op("add", { x, y }, {}, "stream")[0] as Value;

export function neuralEngineBlock(b: Builder, x: Value, c: NeuralEngineBlock): Value {
  const { arch, layer, weights, stream, scaling } = c;
  const channelGain = (role: LayerTensor, factor = 1): Value =>
    weights.gain(b, c.name(role), [1, arch.hidden, 1, 1], factor);
  const read = (y: Value, role: LayerTensor): Value =>
    mirrorNorm(b, y, 1, arch.normEpsilon * stream ** 2, channelGain(role));
  /** The norm behind a sandwiched block: undoes the block's own factor and applies the stream's. */
  const behind = (y: Value, role: LayerTensor, factor: number): Value =>
    layer.sandwichNorms ? mirrorNorm(b, y, 1, arch.normEpsilon * factor ** 2, channelGain(role, stream)) : y;

  const attended = b.scope("attention", () => attention(b, read(x, "attentionNorm"), c));
  const middle = add(b, x, behind(attended, "postAttentionNorm", scaling.attention));
  const transformed = b.scope("mlp", () => mlp(b, read(middle, "mlpNorm"), c));
  return add(b, middle, behind(transformed, "postMlpNorm", scaling.mlp));
}

function attention(b: Builder, x: Value, c: NeuralEngineBlock): Value {
  const { arch, layer, weights } = c;
  const { queryHeads, kvGroups, headDim, attentionScale } = layer;
  const project = (role: LayerTensor, heads: number): Value =>
    toHeads(b, pointwise(b, x, weights.pointwise(b, c.name(role)), role), heads, headDim);
  const headNorm = (y: Value, role: LayerTensor, factor: number): Value =>
    mirrorNorm(b, y, 3, arch.normEpsilon, weights.gain(b, c.name(role), [1, 1, 1, headDim], factor));
  const turned = (y: Value): Value => (c.rope ? rotate(b, y, c.rope.cos, c.rope.sin) : y);

  let q = project("query", queryHeads);
  let k = project("key", kvGroups);
  const v = project("value", kvGroups);
  if (layer.qkNorm) {
    q = headNorm(q, "queryNorm", attentionScale);
    k = headNorm(k, "keyNorm", 1);
  } else {
    q = b.mul(q, attentionScale);
  }
  const seen = c.cache.update({ k: turned(k), v, groups: kvGroups, headDim, row: c.row });
  const out = toChannels(b, attend(b, turned(q), seen, c.mask, layer));
  const factor = layer.sandwichNorms ? c.scaling.attention : c.stream;
  return pointwise(b, out, weights.pointwise(b, c.name("output"), factor), "output");
}

function mlp(b: Builder, x: Value, c: NeuralEngineBlock): Value {
  const { layer, weights, scaling, stream } = c;
  const gate = pointwise(b, x, weights.pointwise(b, c.name("gate")), "gate");
  const active = layer.activation === "silu" ? b.silu(gate) : b.gelu(gate, "TANH_APPROXIMATION");
  const up = pointwise(b, x, weights.pointwise(b, c.name("up"), scaling.inner), "up");
  const inner = b.op("mul", { x: active, y: up }, {}, "inner")[0] as Value;
  const factor = (layer.sandwichNorms ? scaling.mlp : stream) / scaling.inner;
  return pointwise(b, inner, weights.pointwise(b, c.name("down"), factor), "down");
}
