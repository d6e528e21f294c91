/**
 * @file One decoder block as a program: RMSNorm, grouped-query attention, gated MLP, with gates.
 *
 * References: Touvron et al. (2023) for Llama; the Gemma 3 report (2025) for QK-norm and sandwich norms; Michel et
 * al. (2019) for gates on heads.
 *
 *   n     = norm(x);  q, k, v = n Wqᵀ, n Wkᵀ, n Wvᵀ;  q, k = rope(norm(q)), rope(norm(k))
 *   a_h   = softmax(s · q_h k_gᵀ + mask) v_g          g = the KV group of head h
 *   x    += λ_attn · post(Σ_h ξ_h a_h O_hᵀ)
 *   x    += λ_mlp · post((ν ⊙ act(n' Wgateᵀ) ⊙ n' Wupᵀ) Wdownᵀ)
 *
 * Gates are ordinary inputs with a batch axis, so each sequence of a batch can have its own. All gates at 1 is the
 * model itself. Left out: biases, mixture of experts, cross attention.
 */
import { EspalierError } from "../errors.ts";
import { type Builder, typeOf } from "../mil/builder.ts";
import type { Value } from "../mil/program.ts";
import type { DecoderArchitecture, LayerArchitecture, LayerTensor } from "./architecture.ts";
import { rotate } from "./rope.ts";

export type BlockWeights = Partial<Record<LayerTensor, Value>>;

/** Absent gates are 1. */
export interface BlockGates {
  readonly heads?: Value; // (batch, queryHeads)
  readonly groups?: Value; // (batch, kvGroups)
  readonly neurons?: Value; // (batch, neurons)
  readonly attention?: Value; // (batch)
  readonly mlp?: Value; // (batch)
}

/** Where keys and values of earlier positions live; absent when the whole sequence is at hand. */
export interface KvStore {
  /** Takes k and v (batch, kvGroups, S, headDim) of the new positions, gives all (batch, kvGroups, T, headDim). */
  update(k: Value, v: Value): { k: Value; v: Value };
}

export interface BlockContext {
  readonly arch: DecoderArchitecture;
  readonly layer: LayerArchitecture;
  readonly weights: BlockWeights;
  readonly cos: Value | null; // (S, headDim)
  readonly sin: Value | null; // (S, headDim)
  readonly mask: Value; // (S, T), 0 where seen, a large negative number elsewhere
  readonly gates?: BlockGates;
  readonly kv?: KvStore;
}

/** How far below the largest score a masked one is put; −40000 is the Neural Engine's rule for "never". */
export const MASKED = -40000;

/**
 * x · (w + offset) / √(mean x² + ε) over the last axis. In fp16 it is the "mirror" form, layer_norm of [x, −x],
 * whose mean is 0 and whose variance is mean x²: it never squares in fp16 and keeps a tiny ε exact.
 */
export function rmsNorm(b: Builder, x: Value, weight: Value, arch: DecoderArchitecture): Value {
  const { dtype, shape } = typeOf(x);
  const axis = shape.length - 1;
  const width = shape[axis] as number;
  const gain = arch.normOffset === 0 ? weight : b.add(weight, arch.normOffset);
  if (dtype === "fp16") {
    const mirrored = b.concat([x, b.neg(x)], axis);
    const normal = b.op(
      "layer_norm",
      { x: mirrored },
      { axes: [axis], epsilon: arch.normEpsilon },
      "rms_norm",
    )[0] as Value;
    return b.mul((b.split(normal, [width, width], axis) as readonly Value[])[0] as Value, gain);
  }
  return b.mul(b.mul(x, b.rsqrt(b.mean(b.square(x), [axis], true), arch.normEpsilon)), gain);
}

function weightOf(context: BlockContext, role: LayerTensor): Value {
  const w = context.weights[role];
  if (!w) throw new EspalierError("program/structure", `the block needs the weight "${role}"`);
  return w;
}

/** (batch, S, heads · headDim) to (batch, heads, S, headDim). */
function toHeads(b: Builder, x: Value, batch: number, length: number, heads: number, headDim: number): Value {
  return b.transpose(b.reshape(x, [batch, length, heads, headDim]), [0, 2, 1, 3]);
}

/** Heads that read the same group side by side, equally many each: the layout that needs no copy of k and v. */
export function isStandardGrouping(layer: LayerArchitecture): boolean {
  const perGroup = layer.queryHeads / layer.kvGroups;
  return Number.isInteger(perGroup) && layer.headToGroup.every((g, h) => g === Math.floor(h / perGroup));
}

function attention(b: Builder, x: Value, context: BlockContext): Value {
  const { arch, layer, gates } = context;
  const [batch, length] = typeOf(x).shape as [number, number, number];
  const { queryHeads: heads, kvGroups: groups, headDim } = layer;
  const project = (role: LayerTensor): Value => b.linear(x, weightOf(context, role));
  let q = toHeads(b, project("query"), batch, length, heads, headDim);
  let k = toHeads(b, project("key"), batch, length, groups, headDim);
  let v = toHeads(b, project("value"), batch, length, groups, headDim);
  if (layer.qkNorm) {
    q = rmsNorm(b, q, weightOf(context, "queryNorm"), arch);
    k = rmsNorm(b, k, weightOf(context, "keyNorm"), arch);
  }
  if (context.cos && context.sin) {
    q = rotate(b, q, context.cos, context.sin);
    k = rotate(b, k, context.cos, context.sin);
  }
  q = b.mul(q, layer.attentionScale);
  if (context.kv) ({ k, v } = context.kv.update(k, v));
  if (gates?.groups) v = b.mul(v, b.reshape(gates.groups, [batch, groups, 1, 1]));
  const total = typeOf(k).shape[2] as number;

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
  const p = b.reshape(b.softmax(b.add(scores, context.mask)), [batch, keyHeads, perGroup * length, total]);
  let out = b.reshape(b.matmul(p, v), [batch, heads, length, headDim]);
  if (gates?.heads) out = b.mul(out, b.reshape(gates.heads, [batch, heads, 1, 1]));
  const joined = b.reshape(b.transpose(out, [0, 2, 1, 3]), [batch, length, heads * headDim]);
  return b.linear(joined, weightOf(context, "output"));
}

function mlp(b: Builder, x: Value, context: BlockContext): Value {
  const { layer, gates } = context;
  const batch = typeOf(x).shape[0] as number;
  const gate = b.linear(x, weightOf(context, "gate"));
  const active = layer.activation === "silu" ? b.silu(gate) : b.gelu(gate, "TANH_APPROXIMATION");
  let inner = b.mul(active, b.linear(x, weightOf(context, "up")));
  if (gates?.neurons) inner = b.mul(inner, b.reshape(gates.neurons, [batch, 1, layer.neurons]));
  return b.linear(inner, weightOf(context, "down"));
}

/** The block on x (batch, S, hidden), giving the same shape. */
export function block(b: Builder, x: Value, context: BlockContext): Value {
  const { arch, layer, gates } = context;
  const batch = typeOf(x).shape[0] as number;
  const gated = (y: Value, gate: Value | undefined): Value => (gate ? b.mul(y, b.reshape(gate, [batch, 1, 1])) : y);
  const norm = (y: Value, role: LayerTensor): Value => rmsNorm(b, y, weightOf(context, role), arch);

  let attended = b.scope("attention", () => attention(b, norm(x, "attentionNorm"), context));
  if (layer.sandwichNorms) attended = norm(attended, "postAttentionNorm");
  const middle = b.add(x, gated(attended, gates?.attention));

  let transformed = b.scope("mlp", () => mlp(b, norm(middle, "mlpNorm"), context));
  if (layer.sandwichNorms) transformed = norm(transformed, "postMlpNorm");
  return b.add(middle, gated(transformed, gates?.mlp));
}

/** Token ids (batch, S) to the stream (batch, S, hidden). */
export function embed(b: Builder, ids: Value, table: Value, arch: DecoderArchitecture): Value {
  const rows = b.gather(table, ids, 0);
  return arch.embeddingScale === 1 ? rows : b.mul(rows, arch.embeddingScale);
}

/** The stream (rows, hidden) to logits (rows, vocab). */
export function head(b: Builder, x: Value, norm: Value, weight: Value, arch: DecoderArchitecture): Value {
  const logits = b.linear(rmsNorm(b, x, norm, arch), weight);
  if (arch.finalSoftcap === null) return logits;
  return b.mul(b.tanh(b.mul(logits, 1 / arch.finalSoftcap)), arch.finalSoftcap);
}
