/**
 * @file One decoder block on a (1, C, 1, S) stream: the same formulas as `lib/decoder/block.ts`, lowered for the Neural Engine.
 *
 *   x += post(O · attend(rope(norm(Q n)), rope(norm(K n)), V n)),  n = norm(x)
 *   x += post(D · (act(G n) ⊙ U n)),                               n = norm(x)
 *   x += norm(W · (act(Wg x) ⊙ e)),  x = σ x                       Gemma 4's per-layer input and layer scalar
 *
 * with every product a 1×1 convolution, its bias in it where there is one, and what attention and MLP add multiplied by the layer's
 * residual scale. The attention scale sits in the query norm's gain where
 * there is one. A layer that reads another's keys and values attends to the same entries as that
 * layer, in the cache and next to it. σ is a separate product: folding it into the weights that
 * write to the stream would round each of them again. Not included: gates, which are for
 * experiments.
 */

import { float16FromFloat32 } from "../../float16.ts";
import { type Builder, typeOf } from "../../mil/builder.ts";
import type { Value } from "../../mil/program.ts";
import { tensor } from "../../mil/tensor.ts";
import type { DecoderArchitecture, LayerArchitecture, LayerTensor, Projection } from "../architecture.ts";
import { activate } from "../mlp-activation.ts";
import { rotate } from "../rope.ts";
import { attend, toChannels, toHeads } from "./attention.ts";
import type { FunctionCacheValues, SeenEntries } from "./cache.ts";
import type { LayoutWeights } from "./layout-weights.ts";
import { mirrorNorm } from "./norm.ts";
import type { LayerScaling } from "./scaling.ts";

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
  /** The keys and values of the layer that this one reads; null for its own. */
  readonly shared: SeenEntries | null;
  /** The tokens' vectors for this layer, (1, P, 1, S), times η; null for models without. */
  readonly perLayer: Value | null;
  /** η of those vectors. */
  readonly perLayerVectors: number;
  /** α of the stream. */
  readonly stream: number;
  readonly scaling: LayerScaling;
}

/** x (1, Cin, 1, S) times a kernel (Cout, Cin, 1, 1), plus a bias (Cout). */
export const pointwise = (b: Builder, x: Value, weight: Value, name = "projection", bias?: Value): Value =>
  b.op(
    "conv",
    { x, weight, ...(bias ? { bias } : {}) },
    { strides: [1, 1], pad_type: "valid", pad: [0, 0, 0, 0], dilations: [1, 1] },
    name,
  )[0] as Value;

const add = (b: Builder, x: Value, y: Value): Value => b.op("add", { x, y }, {}, "stream")[0] as Value;

/** x times one number. */
function times(b: Builder, x: Value, factor: number, label: string, result: string): Value {
  if (factor === 1) return x;
  const { dtype } = typeOf(x);
  const data = dtype === "fp16" ? float16FromFloat32(Float32Array.of(factor)) : Float32Array.of(factor);
  const y = b.constant(tensor(dtype, [], data), label);
  return b.op("mul", { x, y }, {}, result)[0] as Value;
}

/** The stream after the block, and the keys and values its queries saw. */
export function neuralEngineBlock(b: Builder, x: Value, c: NeuralEngineBlock): { x: Value; seen: SeenEntries } {
  const { arch, layer, weights, stream, scaling } = c;
  const channelGain = (role: LayerTensor, factor = 1): Value =>
    weights.gain(b, c.name(role), [1, arch.hidden, 1, 1], factor);
  const read = (y: Value, role: LayerTensor): Value =>
    layer.inputNorms ? mirrorNorm(b, y, 1, arch.normEpsilon * stream ** 2, channelGain(role)) : y;
  /** The norm after a block, where there is one: undoes the block's own factor and applies the stream's. */
  const behind = (y: Value, role: LayerTensor, factor: number): Value =>
    layer.outputNorms ? mirrorNorm(b, y, 1, arch.normEpsilon * factor ** 2, channelGain(role, stream)) : y;

  const scaled = (y: Value): Value => times(b, y, layer.residualScale, "residual_scale", "residual");

  const { out, seen } = b.scope("attention", () => attention(b, read(x, "attentionNorm"), c));
  const middle = add(b, x, scaled(behind(out, "postAttentionNorm", scaling.attention)));
  const transformed = b.scope("mlp", () => mlp(b, read(middle, "mlpNorm"), c));
  let y = add(b, middle, scaled(behind(transformed, "postMlpNorm", scaling.mlp)));
  if (c.perLayer) {
    const vectors = c.perLayer;
    const given = b.scope("per_layer", () => perLayerInput(b, y, vectors, c));
    const gain = channelGain("perLayerNorm", stream);
    y = add(b, y, mirrorNorm(b, given, 1, arch.normEpsilon * scaling.perLayer ** 2, gain));
  }
  const scalar = layer.layerScalar ? weights.scalar(c.name("layerScalar")) : 1;
  return { x: times(b, y, scalar, "layer_scalar", "stream"), seen };
}

/** A projection of the layer, its matrix and its bias each times a power of two. */
const projected = (
  b: Builder,
  x: Value,
  c: NeuralEngineBlock,
  role: Projection,
  factor: { readonly matrix: number; readonly bias: number },
): Value =>
  pointwise(
    b,
    x,
    c.weights.pointwise(b, c.name(role), factor.matrix),
    role,
    c.layer.biases.includes(role) ? c.weights.bias(b, c.name(`${role}Bias`), factor.bias) : undefined,
  );

/** What undoes α in a product that reads the stream without a norm. */
const unscaledInput = ({ layer, stream }: NeuralEngineBlock): number => (layer.inputNorms ? 1 : 1 / stream);

function attention(b: Builder, x: Value, c: NeuralEngineBlock): { out: Value; seen: SeenEntries } {
  const { arch, layer, weights } = c;
  const { queryHeads, kvGroups, headDim, attentionScale } = layer;
  const project = (role: Projection): Value => projected(b, x, c, role, { matrix: unscaledInput(c), bias: 1 });
  /** Heads of q or k, normed, times a factor. */
  const normed = (projection: Value, role: "query" | "key", heads: number, factor: number): Value => {
    const norm = (y: Value, axis: 1 | 3): Value => {
      const { shape } = typeOf(y);
      const gain = shape.map((extent, i) => (i === axis ? extent : 1));
      return mirrorNorm(b, y, axis, arch.normEpsilon, weights.gain(b, c.name(`${role}Norm`), gain, factor));
    };
    if (layer.qkNorm === "projection") return toHeads(b, norm(projection, 1), heads, headDim);
    const split = toHeads(b, projection, heads, headDim);
    return layer.qkNorm === "head" ? norm(split, 3) : factor === 1 ? split : b.mul(split, factor);
  };
  const turned = (y: Value): Value => (c.rope ? rotate(b, y, c.rope.cos, c.rope.sin) : y);

  const scaled = normed(project("query"), "query", queryHeads, attentionScale);
  const update = (): SeenEntries => {
    const given = project("key");
    const k = normed(given, "key", kvGroups, 1);
    const own = toHeads(b, layer.valueIsKey ? given : project("value"), kvGroups, headDim);
    const v = layer.valueNorm ? mirrorNorm(b, own, 3, arch.normEpsilon, null) : own;
    return c.cache.update({ k: turned(k), v, groups: kvGroups, headDim, row: c.row });
  };
  const seen = c.shared ?? update();
  const out = toChannels(b, attend(b, turned(scaled), seen, c.mask, layer));
  const factor = layer.outputNorms ? c.scaling.attention : c.stream;
  return { out: projected(b, out, c, "output", { matrix: factor, bias: factor }), seen };
}

function mlp(b: Builder, x: Value, c: NeuralEngineBlock): Value {
  const { layer, weights, scaling, stream } = c;
  const active = activate(b, projected(b, x, c, "gate", { matrix: unscaledInput(c), bias: 1 }), layer);
  const up = projected(b, x, c, "up", { matrix: scaling.inner * unscaledInput(c), bias: scaling.inner });
  const inner = b.op("mul", { x: active, y: up }, {}, "inner")[0] as Value;
  const factor = layer.outputNorms ? scaling.mlp : stream;
  const kernel = weights.pointwise(b, c.name("down"), factor / scaling.inner);
  const bias = layer.biases.includes("down") ? weights.bias(b, c.name("downBias"), factor) : undefined;
  return pointwise(b, inner, kernel, "down", bias);
}

/** The contribution of the tokens' vectors to the stream x, before its norm. The gate reads x as
 * stored, scaled by α. */
function perLayerInput(b: Builder, x: Value, vectors: Value, c: NeuralEngineBlock): Value {
  const { layer, weights, scaling, stream, perLayerVectors } = c;
  const gate = pointwise(b, x, weights.pointwise(b, c.name("perLayerGate"), 1 / stream), "gate");
  const inner = b.op("mul", { x: activate(b, gate, layer), y: vectors }, {}, "inner")[0] as Value;
  const factor = scaling.perLayer / perLayerVectors;
  return pointwise(b, inner, weights.pointwise(b, c.name("perLayerProjection"), factor), "output");
}
