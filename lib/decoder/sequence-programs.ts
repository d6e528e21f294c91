/**
 * @file The three small programs of a decoder that sees whole sequences: embed, block, head.
 *
 * Weights and gates are inputs, so each distinct block shape is compiled once and run for every
 * layer. The head gives the loss of each position instead of the logits, which for large
 * vocabularies would not fit.
 */
import { invariant } from "../errors.ts";
import { Builder } from "../mil/builder.ts";
import { removeDeadCode } from "../mil/passes/dead-code.ts";
import type { MilFunction, Value } from "../mil/program.ts";
import { fp32, int32 } from "../mil/types.ts";
import {
  type DecoderArchitecture,
  type GlobalTensor,
  globalTensorShapes,
  isKvSource,
  isRowTable,
  type LayerArchitecture,
  type LayerTensor,
  layerTensorShapes,
} from "./architecture.ts";
import {
  attentionHalf,
  type BlockGates,
  type BlockTap,
  type BlockWeights,
  block,
  embed,
  head,
  type KeysAndValues,
  type KvStore,
  mlpHalf,
  perLayerVectors,
  residual,
  rmsNorm,
  splitByLayer,
} from "./block.ts";
import { causalMask } from "./mask.ts";
import { ropeTables } from "./rope.ts";

export const gateKinds = ["heads", "groups", "neurons", "attention", "mlp", "perLayer"] as const;
export type GateKind = (typeof gateKinds)[number];

export interface SequenceShape {
  readonly batch: number;
  readonly length: number;
}

/** The shape of a gate input: one row per sequence. */
export function gateShape(kind: GateKind, layer: LayerArchitecture, batch: number): number[] {
  if (kind === "heads") return [batch, layer.queryHeads];
  if (kind === "groups") return [batch, layer.kvGroups];
  if (kind === "neurons") return [batch, layer.neurons];
  return [batch];
}

/** Inputs for every weight of a layer, named `prefix` + role. */
export function layerInputs(
  b: Builder,
  arch: DecoderArchitecture,
  layer: LayerArchitecture,
  prefix = "",
): BlockWeights {
  const weights: BlockWeights = {};
  for (const [role, shape] of Object.entries(layerTensorShapes(arch, layer)) as [LayerTensor, number[]][]) {
    weights[role] = b.input(`${prefix}${role}`, fp32(...shape));
  }
  return weights;
}

export function gateInputs(
  b: Builder,
  layer: LayerArchitecture,
  batch: number,
  kinds: readonly GateKind[],
  prefix = "",
): BlockGates {
  return Object.fromEntries(kinds.map((k) => [k, b.input(`${prefix}gate_${k}`, fp32(...gateShape(k, layer, batch)))]));
}

/** Mask and RoPE tables as constants for sequences that start at position 0. */
export function sequenceConstants(
  b: Builder,
  layer: LayerArchitecture,
  length: number,
): { mask: Value; cos: Value | null; sin: Value | null } {
  const window = layer.window !== null && layer.window < length ? layer.window : null;
  const mask = b.constant(causalMask(length, window), window === null ? "causal_mask" : "sliding_mask");
  if (!layer.rope) return { mask, cos: null, sin: null };
  const tables = ropeTables(layer.rope, length);
  return { mask, cos: b.constant(tables.cos, "rope_cos"), sin: b.constant(tables.sin, "rope_sin") };
}

/** The rows of the per-layer table as an input: the caller reads them, so that the whole table is
 * never in memory. */
export const perLayerRowsInput = (b: Builder, arch: DecoderArchitecture, { batch, length }: SequenceShape): Value =>
  b.input("perLayerRows", fp32(batch, length, arch.layers.length * (arch.perLayer?.width ?? 0)));

/**
 * `ids` (batch, length), `embedding` → `x` (batch, length, hidden); with per-layer embeddings also their rows and
 * weights → `perLayer` (layers, batch, length, P).
 */
export function embedProgram(arch: DecoderArchitecture, shape: SequenceShape): MilFunction {
  const b = new Builder("embed");
  const ids = b.input("ids", int32(shape.batch, shape.length));
  const globals = globalTensorShapes(arch);
  const input = (role: GlobalTensor): Value => b.input(role, fp32(...(globals[role] ?? [])));
  const x = embed(b, ids, input("embedding"), arch);
  if (!arch.perLayer) return b.build({ x });
  const weights = { context: input("perLayerContext"), norm: input("perLayerContextNorm") };
  return b.build({ x, perLayer: perLayerVectors(b, x, perLayerRowsInput(b, arch, shape), weights, arch) });
}

/** The part of a block that a program holds. */
export type BlockPart = "block" | "attention" | "mlp";

const attentionRoles: readonly LayerTensor[] = [
  "attentionNorm",
  "postAttentionNorm",
  "queryNorm",
  "keyNorm",
  "query",
  "key",
  "value",
  "output",
  "queryBias",
  "keyBias",
  "valueBias",
  "outputBias",
];

/** The half of a block a tensor belongs to; per-layer embeddings follow the MLP. */
export const partOfRole = (role: LayerTensor): "attention" | "mlp" =>
  attentionRoles.includes(role) ? "attention" : "mlp";

/** A block or one half of it inside a program, with its inputs. */
export interface BlockValues {
  readonly x: Value; // (batch, length, hidden)
  readonly y: Value; // (batch, length, hidden)
  readonly weights: BlockWeights;
  readonly gates: BlockGates;
  readonly perLayer: Value | undefined; // (batch, length, P)
  /** Of the layer it reads, (batch, kvGroups, length, headDim). */
  readonly sharedKv: KeysAndValues | undefined;
  /** Its own, where it has any. */
  readonly ownKv: KeysAndValues | undefined;
  readonly taps: Partial<Record<BlockTap, Value>>;
}

/**
 * Inputs `x` (batch, length, hidden), weights by role, `gate_<kind>`; where the layer takes them `perLayer` (batch, length, P),
 * `sharedKeys` and `sharedValues` (batch, kvGroups, length, headDim) of the layer it reads. Of a half, only what it needs.
 */
export function blockValues(
  b: Builder,
  arch: DecoderArchitecture,
  index: number,
  { batch, length }: SequenceShape,
  gates: readonly GateKind[] = [],
  part: BlockPart = "block",
): BlockValues {
  const layer = arch.layers[index];
  invariant(layer, `no layer ${index}`);
  const x = b.input("x", fp32(batch, length, arch.hidden));
  const weights: BlockWeights = {};
  for (const [role, shape] of Object.entries(layerTensorShapes(arch, layer)) as [LayerTensor, number[]][])
    if (part === "block" || partOfRole(role) === part) weights[role] = b.input(role, fp32(...shape));
  const kvType = fp32(batch, layer.kvGroups, length, layer.headDim);
  const [attends, transforms] = [part !== "mlp", part !== "attention"];
  let ownKv: KeysAndValues | undefined;
  const taps: Partial<Record<BlockTap, Value>> = {};
  const perLayer =
    arch.perLayer && transforms ? b.input("perLayer", fp32(batch, length, arch.perLayer.width)) : undefined;
  const sharedKv =
    layer.kvSource === null || !attends
      ? undefined
      : { k: b.input("sharedKeys", kvType), v: b.input("sharedValues", kvType) };
  const ownGates = gateInputs(b, layer, batch, gates);
  const y = { block, attention: attentionHalf, mlp: mlpHalf }[part](b, x, {
    arch,
    layer,
    weights,
    ...sequenceConstants(b, layer, length),
    gates: ownGates,
    perLayer,
    sharedKv,
    kv: heard((kv) => {
      ownKv = kv;
    }),
    taps,
  });
  return { x, y, weights, gates: ownGates, perLayer, sharedKv, ownKv, taps };
}

/**
 * The inputs of `blockValues` → `y` (batch, length, hidden). A layer that others read also gives its `keys` and `values`;
 * the inner values that `taps` names come in addition to `y`.
 */
export function blockProgram(
  arch: DecoderArchitecture,
  index: number,
  shape: SequenceShape,
  gates: readonly GateKind[] = [],
  part: BlockPart = "block",
  taps: readonly BlockTap[] = [],
): MilFunction {
  const b = new Builder(part);
  const { y, ownKv, taps: found } = blockValues(b, arch, index, shape, gates, part);
  const tapped = Object.fromEntries(taps.flatMap((t) => (found[t] ? [[t, found[t]] as const] : [])));
  return removeDeadCode(b.build({ y, ...(isKvSource(arch, index) ? outputsOf(ownKv) : {}), ...tapped }));
}

/** Returns a layer's keys and values unchanged, and reports them. */
const heard = (listen: (kv: KeysAndValues) => void): KvStore => ({
  update(k, v) {
    listen({ k, v });
    return { k, v };
  },
});

const outputsOf = (kv: KeysAndValues | undefined): Record<string, Value> => (kv ? { keys: kv.k, values: kv.v } : {});

/**
 * The first half of a block without some of its heads, `copies` times side by side: `x` (batch, length, hidden), `attended`
 * (batch, length, queryHeads · headDim), weights, `without` (copies · each) the heads that each copy lacks, `each` of them → `y`
 * (copies · batch, length, hidden).
 *
 *   y_c = x + ρ post(Σ_h a_h O_hᵀ − Σ_{h lacking in c} a_h O_hᵀ)    ρ = the residual scale
 *
 * Attention and its projection run once for all copies.
 */
export function withoutHeadsProgram(
  arch: DecoderArchitecture,
  index: number,
  { batch, length }: SequenceShape,
  copies: number,
  each: number,
): MilFunction {
  const layer = arch.layers[index];
  invariant(layer, `no layer ${index}`);
  const { queryHeads: heads, headDim } = layer;
  const b = new Builder("without_heads");
  const x = b.input("x", fp32(batch, length, arch.hidden));
  const attended = b.input("attended", fp32(batch, length, heads * headDim));
  const without = b.input("without", int32(copies * each));
  const output = b.input("output", fp32(arch.hidden, heads * headDim));
  const whole = b.linear(attended, output);
  const byHead = (v: Value, rows: number): Value =>
    b.gather(b.transpose(b.reshape(v, [rows, heads, headDim]), [1, 0, 2]), without, 0);
  const parts = b.matmul(byHead(attended, batch * length), byHead(output, arch.hidden), { transposeY: true });
  const grouped = b.reshape(parts, [copies, each, batch, length, arch.hidden]);
  const lacking = each === 1 ? b.squeeze(grouped, [1]) : b.sum(grouped, [1]);
  let left = b.sub(whole, lacking);
  if (layer.outputNorms) left = rmsNorm(b, left, b.input("postAttentionNorm", fp32(arch.hidden)), arch);
  return b.build({ y: b.reshape(b.add(x, residual(b, left, layer)), [copies * batch, length, arch.hidden]) });
}

/** `x` (rows, hidden), `finalNorm`, `head` → `logits` (rows, vocab). */
export function logitsProgram(arch: DecoderArchitecture, rows: number): MilFunction {
  const b = new Builder("head");
  return b.build({ logits: headFromInputs(b, arch, rows) });
}

/** `x` (rows, hidden), `finalNorm` → `n` (rows, hidden), the input of the head's product. */
export function headInputProgram(arch: DecoderArchitecture, rows: number): MilFunction {
  const b = new Builder("head_input");
  const x = b.input("x", fp32(rows, arch.hidden));
  return b.build({ n: rmsNorm(b, x, b.input("finalNorm", fp32(arch.hidden)), arch) });
}

/** As `logitsProgram`, with `targets` (rows): → `nll` (rows) = logsumexp(z) − z[target], and `top1`
 * (rows) on request. */
export function lossProgram(arch: DecoderArchitecture, rows: number, choice = true): MilFunction {
  const b = new Builder("loss");
  const targets = b.input("targets", int32(rows));
  const logits = headFromInputs(b, arch, rows);
  const nll = negativeLogLikelihood(b, logits, targets);
  return b.build(choice ? { nll, top1: b.argmax(logits) } : { nll });
}

/**
 * The head of a model compared with the `baseLogits` (rows, vocab) of another: → `nll`, `baseNll`,
 * `kl` (rows) = Σ p_base (log p_base − log p), `agree` (rows), 1 where both choose the same token.
 */
export function comparisonProgram(arch: DecoderArchitecture, rows: number): MilFunction {
  const b = new Builder("comparison");
  const targets = b.input("targets", int32(rows));
  const base = b.input("baseLogits", fp32(rows, arch.vocab));
  const logits = headFromInputs(b, arch, rows);
  const logP = b.sub(logits, b.logSumExp(logits, [1], true));
  const logBase = b.sub(base, b.logSumExp(base, [1], true));
  const kl = b.sum(b.mul(b.exp(logBase), b.sub(logBase, logP)), [1]);
  const agree = b.cast(b.equal(b.argmax(logits), b.argmax(base)), "int32");
  const [nll, baseNll] = [negativeLogLikelihood(b, logits, targets), negativeLogLikelihood(b, base, targets)];
  return b.build({ nll, baseNll, kl, agree });
}

/** The logits of `x` (rows, hidden), from the inputs `finalNorm` and `head` (vocab, hidden). */
export function headFromInputs(b: Builder, arch: DecoderArchitecture, rows: number): Value {
  const x = b.input("x", fp32(rows, arch.hidden));
  const norm = b.input("finalNorm", fp32(arch.hidden));
  const weight = b.input("head", fp32(arch.vocab, arch.hidden));
  return head(b, x, norm, weight, arch);
}

/** logsumexp(z) − z[target] by row: (rows, vocab), (rows) → (rows). */
export function negativeLogLikelihood(b: Builder, logits: Value, targets: Value): Value {
  const picked = b.squeeze(b.gatherAlongAxis(logits, b.expandDims(targets, [1]), 1), [1]);
  return b.sub(b.logSumExp(logits, [1]), picked);
}

/** Inputs of the whole model, by the flat names `globalName` and `layerName` give. */
export const globalName = (role: GlobalTensor): string => role;
export const layerName = (index: number, role: LayerTensor): string => `L${index}_${role}`;

export interface WholeModel {
  readonly ids: Value; // (batch, length)
  readonly logits: Value; // (batch * length, vocab)
  readonly weights: Map<string, Value>;
}

/**
 * The whole decoder in one function, for programs that differentiate it. The per-layer table is not among the weights:
 * its rows are the input `perLayerRows`.
 */
export function wholeModel(b: Builder, arch: DecoderArchitecture, { batch, length }: SequenceShape): WholeModel {
  const ids = b.input("ids", int32(batch, length));
  const weights = new Map<string, Value>();
  const globals = Object.entries(globalTensorShapes(arch)) as [GlobalTensor, number[]][];
  for (const [role, shape] of globals) {
    if (!isRowTable(role)) weights.set(globalName(role), b.input(globalName(role), fp32(...shape)));
  }
  const global = (role: GlobalTensor): Value => weights.get(role) as Value;
  const table = global("embedding");
  let x = embed(b, ids, table, arch);
  const vectors = arch.perLayer
    ? splitByLayer(
        b,
        perLayerVectors(
          b,
          x,
          perLayerRowsInput(b, arch, { batch, length }),
          { context: global("perLayerContext"), norm: global("perLayerContextNorm") },
          arch,
        ),
      )
    : [];
  const kvOf: KeysAndValues[] = [];
  for (const [i, layer] of arch.layers.entries()) {
    const own = layerInputs(b, arch, layer, `L${i}_`);
    for (const [role, v] of Object.entries(own) as [LayerTensor, Value][]) weights.set(layerName(i, role), v);
    x = b.scope(`L${i}`, () =>
      block(b, x, {
        arch,
        layer,
        weights: own,
        ...sequenceConstants(b, layer, length),
        perLayer: vectors[i],
        sharedKv: layer.kvSource === null ? undefined : kvOf[layer.kvSource],
        kv: heard((kv) => {
          kvOf[i] = kv;
        }),
      }),
    );
  }
  const rows = b.reshape(x, [batch * length, arch.hidden]);
  const logits = head(b, rows, global("finalNorm"), weights.get("head") ?? table, arch);
  return { ids, logits, weights };
}
