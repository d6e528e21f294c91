/**
 * @file The head's forward and backward pass for some rows of the stream: the loss and its
 * gradients for the stream, the final norm and the output matrix.
 *
 * Loss Σ_t w_t (α CE_t + β τ² KL_t). References: Hinton et al. (2015) for τ and its square. The teacher comes as logits z, p =
 * softmax(z / τ), or as its k most likely tokens with log p and the mass r of all others, kept in one bucket:
 *
 *   KL = Σ_top p (log p − log q) + r (log r − log r_q),   r_q = 1 − Σ_top q
 *
 * which is never more than the whole divergence and equals it at k = vocabulary.
 */

import type { DecoderArchitecture } from "../decoder/architecture.ts";
import { head } from "../decoder/block.ts";
import { negativeLogLikelihood } from "../decoder/sequence-programs.ts";
import { itemAt } from "../elements.ts";
import { gradients } from "../mil/autodiff.ts";
import { Builder } from "../mil/builder.ts";
import { removeDeadCode } from "../mil/passes/dead-code.ts";
import type { MilFunction, Value } from "../mil/program.ts";
import { fp32, int32 } from "../mil/types.ts";
import { divergenceByRow, type Objective } from "./training-program.ts";

/** A teacher as logits over the whole vocabulary, as its `top` most likely tokens, or none. */
export type TeacherForm = "none" | "logits" | { readonly top: number };

/** Lower bound of the student's remaining mass, so that its logarithm stays finite. */
const LEAST_MASS = 1e-9;

/**
 * Inputs `x` (rows, hidden), `finalNorm`, `head`, `targets`, `tokenWeights` (rows), and of the teacher `teacherLogits` (rows,
 * vocab) or `teacherIds`, `teacherLogP` (rows, k) and `teacherRest` (rows) → `loss`, `crossEntropy`, `divergence` when
 * distilling, `dx`, `d_finalNorm`, and `d_head` when it is trained.
 */
export function headGradientProgram(
  arch: DecoderArchitecture,
  rows: number,
  objective: Objective,
  teacher: TeacherForm,
  trained: { readonly norm: boolean; readonly head: boolean },
): MilFunction {
  const b = new Builder("head_gradient");
  const x = b.input("x", fp32(rows, arch.hidden));
  const norm = b.input("finalNorm", fp32(arch.hidden));
  const matrix = b.input("head", fp32(arch.vocab, arch.hidden));
  const targets = b.input("targets", int32(rows));
  const tokenWeights = b.input("tokenWeights", fp32(rows));
  const logits = head(b, x, norm, matrix, arch);
  const crossEntropy = b.sum(b.mul(negativeLogLikelihood(b, logits, targets), tokenWeights));
  const outputs: Record<string, Value> = { crossEntropy };
  let loss = b.mul(crossEntropy, objective.crossEntropy);
  if (teacher !== "none") {
    const byRow =
      teacher === "logits"
        ? divergenceByRow(b, b.input("teacherLogits", fp32(rows, arch.vocab)), logits, objective.temperature)
        : topDivergenceByRow(b, rows, teacher.top, logits, objective.temperature);
    const divergence = b.sum(b.mul(byRow, tokenWeights));
    loss = b.add(loss, b.mul(divergence, objective.distillation * objective.temperature ** 2));
    outputs.divergence = divergence;
  }
  const asked: [string, Value][] = [["dx", x]];
  if (trained.norm) asked.push(["d_finalNorm", norm]);
  if (trained.head) asked.push(["d_head", matrix]);
  const found = gradients(
    b,
    loss,
    asked.map(([, v]) => v),
  );
  for (const [i, [name]] of asked.entries()) outputs[name] = itemAt(found, i);
  return removeDeadCode(b.build({ loss, ...outputs }));
}

/** (rows), from inputs `teacherIds`, `teacherLogP` (rows, k) and `teacherRest` (rows). */
function topDivergenceByRow(b: Builder, rows: number, top: number, logits: Value, temperature: number): Value {
  const ids = b.input("teacherIds", int32(rows, top));
  const logP = b.input("teacherLogP", fp32(rows, top));
  const rest = b.input("teacherRest", fp32(rows));
  const cool = temperature === 1 ? logits : b.mul(logits, 1 / temperature);
  const logQ = b.sub(b.gatherAlongAxis(cool, ids, 1), b.logSumExp(cool, [1], true));
  const among = b.sum(b.mul(b.exp(logP), b.sub(logP, logQ)), [1]);
  const studentRest = b.maximum(b.sub(1, b.sum(b.exp(logQ), [1])), LEAST_MASS);
  const beyond = b.mul(rest, b.sub(b.log(b.maximum(rest, LEAST_MASS)), b.log(studentRest)));
  return b.add(among, beyond);
}
