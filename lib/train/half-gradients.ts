/**
 * @file The backward pass of one half of a block: from the gradient of its output to those of its
 * input stream and weights.
 *
 * Reference: Chen et al., "Training Deep Nets with Sublinear Memory Cost" (2016). The half is computed again from the stream
 * that entered it, so the forward pass keeps only the streams at the boundaries. With y = f(x, w):
 *
 *   dx = (∂f/∂x)ᵀ dy,   dw = (∂f/∂w)ᵀ dy
 *
 * and for a matrix W = W₀ + s B A with adapters A (rank, in) and B (out, rank): dA = s Bᵀ dW, dB = s dW Aᵀ.
 */

import { type DecoderArchitecture, isKvSource, type LayerTensor } from "../decoder/architecture.ts";
import { blockValues, type GateKind, type SequenceShape } from "../decoder/sequence-programs.ts";
import { itemAt, named } from "../elements.ts";
import { gradients } from "../mil/autodiff.ts";
import { Builder } from "../mil/builder.ts";
import { removeDeadCode } from "../mil/passes/dead-code.ts";
import type { MilFunction, Value } from "../mil/program.ts";
import { fp32, type Shape } from "../mil/types.ts";

export type BlockHalf = "attention" | "mlp";

/** The gates inside each half. */
export const gatesOfHalf = {
  attention: ["heads", "groups", "attention"],
  mlp: ["neurons", "mlp", "perLayer"],
} as const satisfies Record<BlockHalf, readonly GateKind[]>;

/** The requested gradients of one half: of whole tensors, of gates, and of adapters. */
export interface WantedGradients {
  readonly tensors: readonly LayerTensor[];
  readonly gates?: readonly GateKind[] | undefined;
  /** Matrices that have adapters, their rank r and s. */
  readonly adapters: readonly LayerTensor[];
  readonly rank: number;
  readonly scale: number;
}

/**
 * Inputs of the half (`blockValues`), `dy` (batch, length, hidden), `dKeys` and `dValues` where later layers read this one's, and
 * `a_<role>`, `b_<role>` → `dx`, `d_<role>`, `d_gate_<kind>`, `da_<role>`, `db_<role>`; `dPerLayer`, `dSharedKeys` and `dSharedValues` where
 * the half reads them.
 */
export function halfGradientProgram(
  arch: DecoderArchitecture,
  index: number,
  shape: SequenceShape,
  half: BlockHalf,
  wanted: WantedGradients,
): MilFunction {
  const b = new Builder(`${half}_gradient`);
  const kinds = wanted.gates ?? [];
  const { x, y, weights, gates, perLayer, sharedKv, ownKv } = blockValues(b, arch, index, shape, kinds, half);
  const shapeOf = (v: Value): Shape => (v.type.kind === "tensor" ? v.type.shape : []);
  let loss = b.sum(b.mul(y, b.input("dy", fp32(...shapeOf(y)))));
  if (half === "attention" && isKvSource(arch, index) && ownKv) {
    for (const [name, value] of [
      ["dKeys", ownKv.k],
      ["dValues", ownKv.v],
    ] as const)
      loss = b.add(loss, b.sum(b.mul(value, b.input(name, fp32(...shapeOf(value))))));
  }
  const asked: [string, Value][] = [["dx", x]];
  if (perLayer) asked.push(["dPerLayer", perLayer]);
  if (sharedKv) asked.push(["dSharedKeys", sharedKv.k], ["dSharedValues", sharedKv.v]);
  for (const role of wanted.tensors) asked.push([`d_${role}`, named(weights, role)]);
  for (const kind of kinds) asked.push([`d_gate_${kind}`, named(gates, kind)]);
  const matrices = wanted.adapters.map((role) => named(weights, role));
  const found = gradients(b, loss, [...asked.map(([, v]) => v), ...matrices]);
  const outputs = Object.fromEntries(asked.map(([name], i) => [name, itemAt(found, i)]));
  for (const [i, role] of wanted.adapters.entries()) {
    const [rows, columns] = shapeOf(itemAt(matrices, i)) as [number, number];
    const down = b.input(`a_${role}`, fp32(wanted.rank, columns));
    const up = b.input(`b_${role}`, fp32(rows, wanted.rank));
    const d = b.mul(itemAt(found, asked.length + i), wanted.scale);
    outputs[`da_${role}`] = b.matmul(up, d, { transposeX: true });
    outputs[`db_${role}`] = b.matmul(d, down, { transposeY: true });
  }
  return removeDeadCode(b.build(outputs));
}
