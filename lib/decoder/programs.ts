/**
 * @file The three small programs of a decoder that sees whole sequences: embed, block, head.
 *
 * Weights and gates are inputs, so each distinct block shape is compiled once and run for every layer. The head
 * gives the loss of each position rather than the logits, which for large vocabularies would not fit.
 */
import { Builder } from "../mil/builder.ts";
import type { MilFunction, Value } from "../mil/program.ts";
import { fp32, int32 } from "../mil/types.ts";
import {
  type DecoderArchitecture,
  type GlobalTensor,
  globalTensorShapes,
  type LayerArchitecture,
  type LayerTensor,
  layerTensorShapes,
} from "./architecture.ts";
import { type BlockGates, type BlockWeights, block, embed, head } from "./block.ts";
import { causalMask } from "./mask.ts";
import { ropeTables } from "./rope.ts";

export const gateKinds = ["heads", "groups", "neurons", "attention", "mlp"] as const;
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

/** `ids` (batch, length), `embedding` → `x` (batch, length, hidden). */
export function embedProgram(arch: DecoderArchitecture, { batch, length }: SequenceShape): MilFunction {
  const b = new Builder("embed");
  const ids = b.input("ids", int32(batch, length));
  const table = b.input("embedding", fp32(arch.vocab, arch.hidden));
  return b.build({ x: embed(b, ids, table, arch) });
}

/** `x` (batch, length, hidden), weights by role, `gate_<kind>` → `y` of the same shape. */
export function blockProgram(
  arch: DecoderArchitecture,
  layer: LayerArchitecture,
  { batch, length }: SequenceShape,
  gates: readonly GateKind[] = [],
): MilFunction {
  const b = new Builder("block");
  const x = b.input("x", fp32(batch, length, arch.hidden));
  const weights = layerInputs(b, arch, layer);
  const constants = sequenceConstants(b, layer, length);
  const y = block(b, x, { arch, layer, weights, ...constants, gates: gateInputs(b, layer, batch, gates) });
  return b.build({ y });
}

/** `x` (rows, hidden), `finalNorm`, `head` → `logits` (rows, vocab). */
export function logitsProgram(arch: DecoderArchitecture, rows: number): MilFunction {
  const b = new Builder("head");
  return b.build({ logits: headFromInputs(b, arch, rows) });
}

/** As `logitsProgram`, with `targets` (rows): → `nll` (rows) = logsumexp(z) − z[target], `top1` (rows). */
export function lossProgram(arch: DecoderArchitecture, rows: number): MilFunction {
  const b = new Builder("loss");
  const targets = b.input("targets", int32(rows));
  const logits = headFromInputs(b, arch, rows);
  return b.build({ nll: negativeLogLikelihood(b, logits, targets), top1: b.argmax(logits) });
}

/**
 * The head of a model beside the `baseLogits` (rows, vocab) of another: → `nll`, `kl` (rows) =
 * Σ p_base (log p_base − log p), `agree` (rows), 1 where both choose the same token.
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
  return b.build({ nll: negativeLogLikelihood(b, logits, targets), kl, agree });
}

function headFromInputs(b: Builder, arch: DecoderArchitecture, rows: number): Value {
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
  readonly gates: readonly BlockGates[];
}

/** The whole decoder in one function, for programs that differentiate it. */
export function wholeModel(
  b: Builder,
  arch: DecoderArchitecture,
  { batch, length }: SequenceShape,
  gates: readonly GateKind[] = [],
): WholeModel {
  const ids = b.input("ids", int32(batch, length));
  const weights = new Map<string, Value>();
  const globals = Object.entries(globalTensorShapes(arch)) as [GlobalTensor, number[]][];
  for (const [role, shape] of globals) weights.set(globalName(role), b.input(globalName(role), fp32(...shape)));
  const table = weights.get("embedding") as Value;
  let x = embed(b, ids, table, arch);
  const allGates = arch.layers.map((layer, i) => {
    const own = layerInputs(b, arch, layer, `L${i}_`);
    for (const [role, v] of Object.entries(own) as [LayerTensor, Value][]) weights.set(layerName(i, role), v);
    const layerGates = gateInputs(b, layer, batch, gates, `L${i}_`);
    x = b.scope(`L${i}`, () =>
      block(b, x, { arch, layer, weights: own, ...sequenceConstants(b, layer, length), gates: layerGates }),
    );
    return layerGates;
  });
  const rows = b.reshape(x, [batch * length, arch.hidden]);
  const logits = head(b, rows, weights.get("finalNorm") as Value, weights.get("head") ?? table, arch);
  return { ids, logits, weights, gates: allGates };
}
