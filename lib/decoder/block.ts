/**
 * @file One decoder block as a program: RMSNorm, grouped-query attention, gated MLP, with gates.
 *
 * References: Touvron et al. (2023) for Llama; the Gemma 3 report (2025) for QK-norm and norms of outputs; `modeling_olmo2` for layers with those alone; `modeling_gemma4`
 * of transformers 5 for per-layer inputs, shared keys and values and layer scalars; Michel et al. (2019) for gates on heads.
 *
 *   n     = norm(x), or x without input norms;  q, k, v = n Wqᵀ, n Wkᵀ, n Wvᵀ, each + its bias where the layer has one, as every product below;  q, k = rope(norm(q)), rope(norm(k));  v = norm(v) in Gemma 4
 *   a_h   = softmax(s · q_h k_gᵀ + mask) v_g          g = the KV group of head h, of this layer or of `kvSource`
 *   y     = x + λ_attn · ρ post(Σ_h ξ_h a_h O_hᵀ)    ρ = the residual scale, 1 for most
 *   y    += λ_mlp · ρ post((ν ⊙ act(n' Wgateᵀ) ⊙ n' Wupᵀ) Wdownᵀ)
 *   y    += λ_ple · norm((act(y Wpgateᵀ) ⊙ e) Wpᵀ)    e = the token's vector for this layer, where there are any
 *   x     = σ y                                       σ = the layer scalar, where there is one
 *
 * Gates are ordinary inputs with a batch axis, so each sequence of a batch can have its own. All gates at 1 is the
 * model itself. A group's gate scales its values before they are shared, so it affects every layer
 * that reads them; in a layer that reads another's, it scales only this layer's copy. Not included:
 * mixture of experts, cross attention.
 */

import { dim } from "../elements.ts";
import { EspalierError } from "../errors.ts";
import { type Builder, typeOf } from "../mil/builder.ts";
import type { Value } from "../mil/program.ts";
import type { DecoderArchitecture, LayerArchitecture, LayerTensor, Projection } from "./architecture.ts";
import { activate } from "./mlp-activation.ts";
import { rotate } from "./rope.ts";

export type BlockWeights = Partial<Record<LayerTensor, Value>>;

/** Absent gates are 1. */
export interface BlockGates {
  readonly heads?: Value; // (batch, queryHeads)
  readonly groups?: Value; // (batch, kvGroups)
  readonly neurons?: Value; // (batch, neurons)
  readonly attention?: Value; // (batch)
  readonly mlp?: Value; // (batch)
  readonly perLayer?: Value; // (batch)
}

/** As queries see them: keys after norm and RoPE. */
export interface KeysAndValues {
  readonly k: Value; // (batch, kvGroups, T, headDim)
  readonly v: Value; // (batch, kvGroups, T, headDim)
}

/** Where keys and values of earlier positions live. */
export interface KvStore {
  /** Takes k and v (batch, kvGroups, S, headDim) of the new positions, gives all (batch, kvGroups, T, headDim). */
  update(k: Value, v: Value): KeysAndValues;
}

/**
 * Values inside a block that methods observe: the inputs of its linear layers, and the attention
 * probabilities. The normed stream (batch, S, hidden), the heads side by side (batch, S, queryHeads
 * · headDim), the MLP's inner activations (batch, S, neurons), and probabilities (batch,
 * queryHeads, S, T).
 */
export const blockTaps = ["attentionInput", "probabilities", "attended", "mlpInput", "inner"] as const;
export type BlockTap = (typeof blockTaps)[number];

export interface BlockContext {
  readonly arch: DecoderArchitecture;
  readonly layer: LayerArchitecture;
  readonly weights: BlockWeights;
  readonly cos: Value | null; // (S, headDim)
  readonly sin: Value | null; // (S, headDim)
  readonly mask: Value; // (S, T), 0 where seen, a large negative number elsewhere
  readonly gates?: BlockGates;
  /** Absent when the call has the whole sequence. */
  readonly kv?: KvStore | undefined;
  /** What `kvSource` computed; needed where there is one. */
  readonly sharedKv?: KeysAndValues | undefined;
  /** The tokens' vectors for this layer, (batch, S, P); needed where the model has them. */
  readonly perLayer?: Value | undefined;
  /** If given, receives the values inside the block. */
  readonly taps?: Partial<Record<BlockTap, Value>> | undefined;
}

/** The value added to masked scores; −40000 is the Neural Engine's rule for "never". */
export const MASKED = -40000;

/**
 * x · (w + offset) / √(mean x² + ε) over the last axis, or x / √(mean x² + ε) without a weight. In
 * fp16 it is the "mirror" form, layer_norm of [x, −x], whose mean is 0 and whose variance is mean
 * x²: it never squares in fp16 and keeps a tiny ε exact.
 */
export function rmsNorm(b: Builder, x: Value, weight: Value | null, arch: DecoderArchitecture): Value {
  const { dtype, shape } = typeOf(x);
  const axis = shape.length - 1;
  const width = dim(shape, axis);
  const gain = weight && arch.normOffset !== 0 ? b.add(weight, arch.normOffset) : weight;
  const scaled = (normal: Value): Value => (gain ? b.mul(normal, gain) : normal);
  if (dtype === "fp16") {
    const mirrored = b.concat([x, b.neg(x)], axis);
    const normal = b.op(
      "layer_norm",
      { x: mirrored },
      { axes: [axis], epsilon: arch.normEpsilon },
      "rms_norm",
    )[0] as Value;
    return scaled((b.split(normal, [width, width], axis) as readonly Value[])[0] as Value);
  }
  return scaled(b.mul(x, b.rsqrt(b.mean(b.square(x), [axis], true), arch.normEpsilon)));
}

function weightOf(context: BlockContext, role: LayerTensor): Value {
  const w = context.weights[role];
  if (!w) throw new EspalierError("program/structure", `the block needs the weight "${role}"`);
  return w;
}

/** x Wᵀ, plus the bias where the layer has one. */
const projected = (b: Builder, x: Value, context: BlockContext, role: Projection): Value =>
  b.linear(
    x,
    weightOf(context, role),
    context.layer.biases.includes(role) ? weightOf(context, `${role}Bias`) : undefined,
  );

function sharedKv({ layer, sharedKv }: BlockContext): KeysAndValues {
  if (!sharedKv)
    throw new EspalierError("program/structure", `the block needs the keys and values of layer ${layer.kvSource}`);
  return sharedKv;
}

/** (batch, S, heads · headDim) to (batch, heads, S, headDim). */
function toHeads(b: Builder, x: Value, batch: number, length: number, heads: number, headDim: number): Value {
  return b.transpose(b.reshape(x, [batch, length, heads, headDim]), [0, 2, 1, 3]);
}

/** Whether heads of the same group are side by side, with the same number per group: this layout
 * needs no copy of k and v. */
export function isStandardGrouping(layer: LayerArchitecture): boolean {
  const perGroup = layer.queryHeads / layer.kvGroups;
  return Number.isInteger(perGroup) && layer.headToGroup.every((g, h) => g === Math.floor(h / perGroup));
}

/** Queries or keys of the positions in x, normed and turned, (batch, heads, S, headDim); and as they were projected. */
function normedHeads(
  b: Builder,
  x: Value,
  context: BlockContext,
  role: "query" | "key",
): { projection: Value; heads: Value } {
  const { arch, layer } = context;
  const [batch, length] = typeOf(x).shape as [number, number, number];
  const count = role === "query" ? layer.queryHeads : layer.kvGroups;
  const norm = (y: Value): Value => rmsNorm(b, y, weightOf(context, `${role}Norm`), arch);
  const whole = projected(b, x, context, role);
  const projection = toHeads(b, whole, batch, length, count, layer.headDim);
  const normed =
    layer.qkNorm === "projection"
      ? toHeads(b, norm(whole), batch, length, count, layer.headDim)
      : layer.qkNorm === "head"
        ? norm(projection)
        : projection;
  return { projection, heads: context.cos && context.sin ? rotate(b, normed, context.cos, context.sin) : normed };
}

/** This layer's own keys and values of the positions in x. */
function keysAndValues(b: Builder, x: Value, context: BlockContext): KeysAndValues {
  const { arch, layer } = context;
  const [batch, length] = typeOf(x).shape as [number, number, number];
  const { projection, heads: k } = normedHeads(b, x, context, "key");
  const v = layer.valueIsKey
    ? projection
    : toHeads(b, projected(b, x, context, "value"), batch, length, layer.kvGroups, layer.headDim);
  return { k, v: layer.valueNorm ? rmsNorm(b, v, null, arch) : v };
}

function attention(b: Builder, x: Value, context: BlockContext): Value {
  const { layer, gates } = context;
  const [batch, length] = typeOf(x).shape as [number, number, number];
  const { queryHeads: heads, kvGroups: groups, headDim } = layer;
  let { heads: q } = normedHeads(b, x, context, "query");
  if (layer.attentionScale !== 1) q = b.mul(q, layer.attentionScale);
  let { k, v } = layer.kvSource === null ? keysAndValues(b, x, context) : sharedKv(context);
  if (gates?.groups) v = b.mul(v, b.reshape(gates.groups, [batch, groups, 1, 1]));
  if (layer.kvSource === null && context.kv) ({ k, v } = context.kv.update(k, v));
  const total = dim(typeOf(k).shape, 2);

  let perGroup = heads / groups;
  let keyHeads = groups;
  if (!isStandardGrouping(layer)) {
    const map = b.constant(
      { dtype: "int32", shape: [heads], data: Int32Array.from(layer.headToGroup) },
      "head_to_group",
    );
    k = b.gather(k, map, 1);
    v = b.gather(v, map, 1);
    perGroup = 1;
    keyHeads = heads;
  }
  // Rows of the heads of one group are stacked, so one product serves them all without copying k and v.
  const stacked = b.reshape(q, [batch, keyHeads, perGroup * length, headDim]);
  let scores = b.reshape(b.matmul(stacked, k, { transposeY: true }), [batch, heads, length, total]);
  if (layer.attentionSoftcap !== null) {
    scores = b.mul(b.tanh(b.mul(scores, 1 / layer.attentionSoftcap)), layer.attentionSoftcap);
  }
  const probabilities = b.softmax(b.add(scores, context.mask));
  const p = b.reshape(probabilities, [batch, keyHeads, perGroup * length, total]);
  let out = b.reshape(b.matmul(p, v), [batch, heads, length, headDim]);
  if (gates?.heads) out = b.mul(out, b.reshape(gates.heads, [batch, heads, 1, 1]));
  const joined = b.reshape(b.transpose(out, [0, 2, 1, 3]), [batch, length, heads * headDim]);
  if (context.taps) Object.assign(context.taps, { attentionInput: x, probabilities, attended: joined });
  return projected(b, joined, context, "output");
}

function mlp(b: Builder, x: Value, context: BlockContext): Value {
  const { layer, gates } = context;
  const batch = dim(typeOf(x).shape, 0);
  const active = activate(b, projected(b, x, context, "gate"), layer);
  let inner = b.mul(active, projected(b, x, context, "up"));
  if (gates?.neurons) inner = b.mul(inner, b.reshape(gates.neurons, [batch, 1, layer.neurons]));
  if (context.taps) Object.assign(context.taps, { mlpInput: x, inner });
  return projected(b, inner, context, "down");
}

/** The contribution to the stream, before the norm, of the tokens' vectors for this layer, (batch,
 * S, P). */
function perLayerInput(b: Builder, x: Value, context: BlockContext): Value {
  if (!context.perLayer) throw new EspalierError("program/structure", "the block needs the tokens' per-layer vectors");
  const active = activate(b, b.linear(x, weightOf(context, "perLayerGate")), context.layer);
  return b.linear(b.mul(active, context.perLayer), weightOf(context, "perLayerProjection"));
}

const gated = (b: Builder, y: Value, gate: Value | undefined): Value =>
  gate ? b.mul(y, b.reshape(gate, [dim(typeOf(y).shape, 0), 1, 1])) : y;

/** What a half adds to the stream, scaled as its layer scales it. */
export const residual = (b: Builder, y: Value, layer: LayerArchitecture): Value =>
  layer.residualScale === 1 ? y : b.mul(y, layer.residualScale);

/** The first half of the block: x + attention, (batch, S, hidden). */
export function attentionHalf(b: Builder, x: Value, context: BlockContext): Value {
  const { arch, layer, gates } = context;
  const norm = (y: Value, role: LayerTensor): Value => rmsNorm(b, y, weightOf(context, role), arch);
  let attended = b.scope("attention", () => attention(b, layer.inputNorms ? norm(x, "attentionNorm") : x, context));
  if (layer.outputNorms) attended = norm(attended, "postAttentionNorm");
  return b.add(x, gated(b, residual(b, attended, layer), gates?.attention));
}

/** The second half: the first half's output + MLP, and the steps after it, (batch, S, hidden). */
export function mlpHalf(b: Builder, middle: Value, context: BlockContext): Value {
  const { arch, layer, gates } = context;
  const norm = (y: Value, role: LayerTensor): Value => rmsNorm(b, y, weightOf(context, role), arch);
  let transformed = b.scope("mlp", () => mlp(b, layer.inputNorms ? norm(middle, "mlpNorm") : middle, context));
  if (layer.outputNorms) transformed = norm(transformed, "postMlpNorm");
  let y = b.add(middle, gated(b, residual(b, transformed, layer), gates?.mlp));
  if (arch.perLayer) {
    const given = b.scope("per_layer", () => perLayerInput(b, y, context));
    y = b.add(y, gated(b, norm(given, "perLayerNorm"), gates?.perLayer));
  }
  return layer.layerScalar ? b.mul(y, weightOf(context, "layerScalar")) : y;
}

/** The block on x (batch, S, hidden), giving the same shape. */
export const block = (b: Builder, x: Value, context: BlockContext): Value =>
  mlpHalf(b, attentionHalf(b, x, context), context);

/** Token ids (batch, S) to the stream (batch, S, hidden). */
export function embed(b: Builder, ids: Value, table: Value, arch: DecoderArchitecture): Value {
  const rows = b.gather(table, ids, 0);
  return arch.embeddingScale === 1 ? rows : b.mul(rows, arch.embeddingScale);
}

/**
 * Every token's vectors for all layers, (layers, batch, S, P), from its embedding x (batch, S, hidden) and its rows
 * (batch, S, layers · P) of the per-layer table: (norm(x Wᵀ / √hidden) + √P · row) / √2.
 */
export function perLayerVectors(
  b: Builder,
  x: Value,
  rows: Value,
  weights: { context: Value; norm: Value },
  arch: DecoderArchitecture,
): Value {
  const [batch, length] = typeOf(x).shape as [number, number, number];
  const width = arch.perLayer?.width ?? 0;
  const split = (y: Value): Value => b.reshape(y, [batch, length, arch.layers.length, width]);
  const projected = b.mul(b.linear(x, weights.context), arch.hidden ** -0.5);
  const fromContext = rmsNorm(b, split(projected), weights.norm, arch);
  const both = b.add(fromContext, b.mul(split(rows), Math.sqrt(width)));
  return b.transpose(b.mul(both, Math.SQRT1_2), [2, 0, 1, 3]);
}

/** The vectors of each layer, (batch, S, P), of `perLayerVectors`. */
export function splitByLayer(b: Builder, vectors: Value): Value[] {
  const [layers, ...rest] = typeOf(vectors).shape as [number, number, number, number];
  return b.split(vectors, new Array(layers).fill(1), 0).map((v) => b.reshape(v, rest));
}

/** The stream (rows, hidden) to logits (rows, vocab). */
export function head(b: Builder, x: Value, norm: Value, weight: Value, arch: DecoderArchitecture): Value {
  const product = b.linear(rmsNorm(b, x, norm, arch), weight);
  const logits = arch.logitScale === 1 ? product : b.mul(product, arch.logitScale);
  if (arch.finalSoftcap === null) return logits;
  return b.mul(b.tanh(b.mul(logits, 1 / arch.finalSoftcap)), arch.finalSoftcap);
}
