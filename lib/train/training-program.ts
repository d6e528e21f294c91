/**
 * @file Forward and backward of the whole decoder as one program.
 *
 * The loss is α · CE + β · τ² · KL(teacher ‖ student), both weighted by `tokenWeights`, which add up to 1 over the
 * positions that count. References: Hinton et al. (2015) for the temperature and its square; Muralidharan et al.
 * (Minitron, 2024) for logits alone after width pruning.
 */

import { type DecoderArchitecture, isTrained } from "../decoder/architecture.ts";
import { negativeLogLikelihood, type SequenceShape, wholeModel } from "../decoder/sequence-programs.ts";
import { weightList } from "../decoder/weights.ts";
import { itemAt, under } from "../elements.ts";
import { gradients } from "../mil/autodiff.ts";
import { Builder } from "../mil/builder.ts";
import { removeDeadCode } from "../mil/passes/dead-code.ts";
import type { MilFunction, Value } from "../mil/program.ts";
import { fp32, int32 } from "../mil/types.ts";

export interface Objective {
  /** Share of the cross-entropy with the text. */
  readonly crossEntropy: number;
  /** Share of the divergence from the teacher; 0 without a teacher. */
  readonly distillation: number;
  readonly temperature: number;
}

export const textObjective: Objective = { crossEntropy: 1, distillation: 0, temperature: 1 };

/**
 * Inputs `ids` (batch, length), `targets`, `tokenWeights` (batch · length), `teacherLogits` (batch · length, vocab)
 * when distilling, all weights, and `perLayerRows` where the model has them; outputs `loss`, `crossEntropy`, `divergence` when
 * distilling, `d_<weight>` for every trained weight.
 */
export function trainingProgram(arch: DecoderArchitecture, shape: SequenceShape, objective: Objective): MilFunction {
  const b = new Builder("training_step");
  const rows = shape.batch * shape.length;
  const model = wholeModel(b, arch, shape);
  const targets = b.input("targets", int32(rows));
  const tokenWeights = b.input("tokenWeights", fp32(rows));
  const crossEntropy = b.sum(b.mul(negativeLogLikelihood(b, model.logits, targets), tokenWeights));
  const outputs: Record<string, Value> = {};
  let loss = b.mul(crossEntropy, objective.crossEntropy);
  if (objective.distillation > 0) {
    const teacher = b.input("teacherLogits", fp32(rows, arch.vocab));
    const divergence = b.sum(b.mul(divergenceByRow(b, teacher, model.logits, objective.temperature), tokenWeights));
    loss = b.add(loss, b.mul(divergence, objective.distillation * objective.temperature ** 2));
    outputs.divergence = divergence;
  }
  const names = weightList(arch).flatMap(({ name, role }) => (isTrained(role) ? [name] : []));
  const found = gradients(
    b,
    loss,
    names.map((name) => under(model.weights, name)),
  );
  for (const [i, name] of names.entries()) outputs[`d_${name}`] = itemAt(found, i);
  return removeDeadCode(b.build({ loss, crossEntropy, ...outputs }));
}

/** Σ p (log p − log q) by row with p = softmax(teacher / τ), q = softmax(student / τ): (rows). */
export function divergenceByRow(b: Builder, teacher: Value, student: Value, temperature: number): Value {
  const cool = (z: Value): Value => (temperature === 1 ? z : b.mul(z, 1 / temperature));
  const logP = b.sub(cool(teacher), b.logSumExp(cool(teacher), [1], true));
  const logQ = b.sub(cool(student), b.logSumExp(cool(student), [1], true));
  return b.sum(b.mul(b.exp(logP), b.sub(logP, logQ)), [1]);
}
