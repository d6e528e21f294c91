/**
 * @file The loss of every row of logits: logsumexp(z) − z[target] as −(log softmax z)[target].
 *
 * `LogSoftmax` goes through one row after the other, so that a row of a large vocabulary stays in the cache; maximum, difference,
 * exponential and sum, run one by one, each read all logits from memory, which took a quarter of the head's time.
 *
 * Matched as sub(reduce_log_sum_exp(z, 1), squeeze(gather_along_axis(z, targets, 1), 1)) of z (rows, classes), as
 * `negativeLogLikelihood` in lib/decoder/sequence-programs.ts builds it. Not included: other axes and ranks.
 */
import { dim } from "../../../elements.ts";
import { type Fusion, isParam, madeBy, numbers, operand, shapeOf } from "./pattern.ts";

export const negativeLogLikelihood: Fusion = (last) => {
  if (last.type !== "sub") return null;
  const total = madeBy(operand(last, "x"), "reduce_log_sum_exp");
  const squeezed = madeBy(operand(last, "y"), "squeeze");
  const picked = squeezed && madeBy(operand(squeezed, "x"), "gather_along_axis");
  const z = total && operand(total, "x");
  const targets = picked && operand(picked, "indices");
  if (!total || !squeezed || !picked || !z || !targets || operand(picked, "x") !== z) return null;
  const shape = shapeOf(z);
  const fits =
    shape.length === 2 &&
    shape.every((n) => n > 0) &&
    String(shapeOf(targets)) === String([shape[0], 1]) &&
    String(numbers(total, "axes")) === "1" &&
    isParam(total, "keep_dims", false) &&
    isParam(picked, "axis", 1) &&
    String(numbers(squeezed, "axes")) === "1";
  if (!fits) return null;
  return {
    covers: [last, total, squeezed, picked],
    emit: (g, nameOf) => {
      const logP = g.node("LogSoftmax", [nameOf(z)], { axis: 1 });
      const chosen = g.node("GatherElements", [logP, nameOf(targets)], { axis: 1 });
      return g.reshape(g.node("Neg", [chosen]), [dim(shape, 0)]);
    },
  };
};
