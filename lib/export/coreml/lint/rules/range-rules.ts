/**
 * @file Numbers fp16 cannot hold: infinities, masks, tiny epsilons, squares that overflow.
 *
 * fp16: largest 65504, smallest normal 6.1e−5, smallest at all 6.0e−8; x² overflows for |x| > 255.
 */

import { itemAt } from "../../../../elements.ts";
import {
  axisOf,
  dtypeOf,
  isConstant,
  isMove,
  isProduct,
  operand,
  shapeOf,
  throughMoves,
} from "../../../../mil/function-view.ts";
import { type Operation, operandValues, type Value } from "../../../../mil/program.ts";
import { plural } from "../../../../number-text.ts";
import { constantRange, smallConstant } from "../constant-numbers.ts";
import { findOperations, programRule } from "../found.ts";
import type { Found, ProgramRule } from "../rule.ts";

const LARGEST = 65_504;
const SMALLEST_NORMAL = 2 ** -14;
const SMALLEST = 2 ** -24;
/** Apple's value for "never"; −∞ minus −∞ is not a number. */
const MASK = 40_000;

const isHalf = (v: Value | undefined): boolean => v !== undefined && dtypeOf(v) === "fp16";

const nonFinite = programRule({
  id: "range/non-finite",
  severity: "error",
  title: "Constants are finite",
  why: "An infinity or NaN in a weight, table or mask spreads: a row masked by −∞ everywhere is NaN after softmax, and the Neural Engine treats infinities unlike the CPU.",
  fix: "Mask with −40000; find the layer whose weights overflowed fp16 and rescale it.",
  source: "apple/coreai-models neural engine rules; apple/coremltools issues 2585, 2650",
  units: "any",
  check(s) {
    return s.functions.flatMap(({ fn }): Found[] => {
      const bad = fn.operations.filter((op) => (constantRange(op)?.nonFinite ?? 0) > 0);
      return bad.length === 0
        ? []
        : [
            {
              function: fn.name,
              operations: bad.map((op) => op.name),
              message: `${plural(bad.length, "constant")} with numbers that are infinite or none`,
            },
          ];
    });
  },
});

const parameterNames = ["alpha", "beta", "value", "constant_val"];

const overflow = programRule({
  id: "range/fp16-overflow",
  severity: "error",
  title: "Constants and limits fit fp16",
  why: "A number beyond 65504 becomes infinite when the device computes in fp16, whatever the file holds.",
  fix: "Scale the weight down and its output up, or choose a limit below 65504.",
  source: "IEEE 754 binary16; apple/coreai-models neural engine rules",
  units: "any",
  check(s) {
    return s.functions.flatMap(({ fn }): Found[] => {
      const bad = fn.operations.filter((op) => {
        if (op.constant) return op.constant.dtype === "fp32" && (constantRange(op)?.largest ?? 0) > LARGEST;
        if (op.type === "constexpr_blockwise_shift_scale" || op.type === "constexpr_sparse_blockwise_shift_scale")
          return decodedLimit(op) > LARGEST;
        return (
          isHalf(op.outputs[0]) &&
          parameterNames.some((name) => {
            const v = op.params[name];
            return typeof v === "number" && Math.abs(v) > LARGEST;
          })
        );
      });
      return bad.length === 0
        ? []
        : [
            {
              function: fn.name,
              operations: bad.map((op) => op.name),
              message: `${plural(bad.length, "number")} beyond ±${LARGEST}`,
            },
          ];
    });
  },
});

/** The largest number any code can stand for; 0 where codes are floats. */
function decodedLimit(op: Operation): number {
  const [data, scale] = [operand(op, "data") ?? operand(op, "nonzero_data"), operand(op, "scale")];
  if (!data || !scale?.producer || op.inputs.offset !== undefined) return 0;
  const codes = { int4: 8, uint4: 15, int8: 128, uint8: 255 }[dtypeOf(data) as string];
  return (codes ?? 0) * (constantRange(scale.producer)?.largest ?? 0);
}

/** Largest magnitude among the constants a mask is made of, looking no further than products and inputs. */
function maskMagnitude(v: Value, depth = 8): number {
  const constant = smallConstant(v);
  if (constant) return constant.reduce((m, x) => Math.max(m, Math.abs(x)), 0);
  const op = v.producer;
  if (depth === 0 || !op || isProduct(op) || op.type === "read_state" || op.type === "softmax") return 0;
  return operandValues(op).reduce((m, x) => Math.max(m, maskMagnitude(x, depth - 1)), 0);
}

/** The masks added in front of a softmax: operands of the additions that hold no product. */
function masksOf(softmax: Operation): Value[] {
  const masks: Value[] = [];
  const reachesProduct = (v: Value, depth: number): boolean =>
    v.producer !== null &&
    (isProduct(v.producer) || (depth > 0 && operandValues(v.producer).some((x) => reachesProduct(x, depth - 1))));
  let at: Value | undefined = operand(softmax, "x");
  while (at) {
    const op: Operation | null = throughMoves(at).producer;
    if (op?.type !== "add" && op?.type !== "sub") break;
    const sides = [operand(op, "x"), operand(op, "y")].flatMap((v) => v ?? []);
    const [scores, ...rest] = sides.sort((a, b) => Number(reachesProduct(b, 6)) - Number(reachesProduct(a, 6)));
    masks.push(...rest);
    at = scores;
  }
  return masks;
}

const maskValue = programRule({
  id: "range/mask",
  severity: "warning",
  title: "Masks stay above −65504",
  why: "A mask below −40000, or two that add up below −65504, becomes −∞ in fp16; a row that is all −∞ is NaN.",
  fix: "Use −40000 for one mask and −10000 where masks add up.",
  source: "apple/coreai-models neural engine rules (mask −40000, −1e4 when masks add up)",
  units: "any",
  check: (s) =>
    findOperations(
      s,
      (op) => op.type === "softmax" && masksOf(op).length > 0,
      (op) => {
        const sizes = masksOf(op).map((m) => maskMagnitude(m));
        const sum = sizes.reduce((n, m) => n + m, 0);
        return (
          sizes.some((m) => m > MASK * 1.001 && Number.isFinite(m)) ||
          (sizes.length > 1 && sum > LARGEST && Number.isFinite(sum))
        );
      },
      (ops) =>
        `${plural(ops.length, "softmax")} behind masks of ${masksOf(itemAt(ops, 0))
          .map((m) => -maskMagnitude(m))
          .join(" and ")}`.replace("softmaxs", "softmaxes"),
    ),
});

const withEpsilon = new Set(["rsqrt", "log", "inverse", "layer_norm", "l2_norm"]);

const epsilon = programRule({
  id: "range/epsilon",
  severity: "warning",
  title: "Epsilons survive fp16",
  why: "The defaults of rsqrt (1e−12), log (1e−45) and an added 1e−6 round to zero or to a subnormal the engine may flush: 1/√0 is infinite. layer_norm keeps its epsilon wide.",
  fix: "Use layer_norm of [x, −x] for RMSNorm, or an epsilon of at least 6.1e−5.",
  source: "apple/coremltools MIL operator documentation; issue 2821; Anemll/Anemll 0.3.4",
  units: "any",
  check: (s) =>
    findOperations(
      s,
      (op) => isHalf(op.outputs[0]) && (withEpsilon.has(op.type) || op.type === "add"),
      (op) => {
        if (op.type === "add")
          return [operand(op, "x"), operand(op, "y")].some((v) => {
            const numbers = v && shapeOf(v).length === 0 ? smallConstant(v) : null;
            return numbers?.every((n) => n !== 0 && Math.abs(n) < SMALLEST_NORMAL);
          });
        const eps = Number(op.params.epsilon);
        return op.type === "layer_norm" || op.type === "l2_norm" ? eps === 0 : eps < SMALLEST;
      },
      (ops) => `${plural(ops.length, "operation")} whose epsilon vanishes in fp16`,
    ),
});

const sameValue = (op: Operation): boolean => op.type === "mul" && op.inputs.x === op.inputs.y;
const isSquare = (op: Operation): boolean =>
  op.type === "square" || sameValue(op) || (op.type === "pow" && smallConstant(operand(op, "y"))?.[0] === 2);
const sums = new Set(["reduce_mean", "reduce_sum", "reduce_sum_square"]);

/** Divided by its own largest magnitude first: then squares are at most 1. */
const isRescaled = (v: Value | undefined): boolean => {
  const op = v ? throughMoves(v).producer : null;
  return (
    op?.type === "real_div" || (op?.type === "mul" && operandValues(op).some((x) => x.producer?.type === "inverse"))
  );
};

const unsafeNorm = programRule({
  id: "range/unsafe-norm",
  severity: "warning",
  title: "Norms do not square in fp16",
  why: "x² overflows for |x| > 255, which residual streams pass; the mean of squares is then infinite and the norm gives zeros.",
  fix: "Write RMSNorm as layer_norm of [x, −x], or divide by the largest magnitude before squaring.",
  source: "Anemll/Anemll 0.3.4; pytorch/executorch issue 8641; apple/coremltools issue 2821",
  units: "any",
  check: (s) =>
    findOperations(
      s,
      (op) => sums.has(op.type) && isHalf(op.outputs[0]),
      (op) => {
        if (op.type === "reduce_sum_square") return !isRescaled(operand(op, "x"));
        const square = operand(op, "x")?.producer;
        return square !== null && square !== undefined && isSquare(square) && !isRescaled(operand(square, "x"));
      },
      (ops) => `${plural(ops.length, "sum")} of fp16 squares that were not scaled down first`,
    ),
});

const REDUCTION = 2048;

const reductionDepth = programRule({
  id: "range/reduction-depth",
  severity: "info",
  title: "Short sums",
  why: "Sums over more than 2048 fp16 elements were found inexact on the engine; products accumulate wider.",
  fix: "Express the sum as a product with ones, or sum in parts.",
  source: "aneforge/ane-rooflines (community probes); apple/coreai-torch issues 104–106",
  units: "neural engine",
  check: (s) =>
    findOperations(
      s,
      (op) => (op.type === "reduce_sum" || op.type === "reduce_mean") && isHalf(op.outputs[0]),
      (op) => {
        const shape = shapeOf(operand(op, "x"));
        const axes = Array.isArray(op.params.axes) ? (op.params.axes as number[]) : [];
        return axes.reduce((n, a) => n * (shape[a < 0 ? a + shape.length : a] ?? 1), 1) > REDUCTION;
      },
      (ops) => `${plural(ops.length, "sum")} over more than ${REDUCTION} elements`,
    ),
});

const bareExp = programRule({
  id: "range/bare-exp",
  severity: "warning",
  title: "Exponentials are taken below their largest",
  why: "exp overflows fp16 above 11.1; softmax subtracts the largest first, an exp written out does not.",
  fix: "Use softmax, or subtract reduce_max first.",
  source: "apple/coreai-torch issues 104–106 (softplus, logsumexp)",
  units: "any",
  check: (s) =>
    findOperations(
      s,
      (op) => (op.type === "exp" || op.type === "exp2") && isHalf(op.outputs[0]),
      (op) => {
        const from = operand(op, "x")?.producer;
        return from?.type !== "sub" || throughMoves(operand(from, "y") as Value).producer?.type !== "reduce_max";
      },
      (ops) => `${plural(ops.length, "exponential")} of unbounded fp16 numbers`,
    ),
});

const softcap = programRule({
  id: "range/soft-cap",
  severity: "info",
  title: "Soft cap on logits",
  why: "c · tanh(z / c) after the head ran on the CPU in one audit: 8 operations, 0.5 to 2 ms a token. It does not change the greedy token.",
  fix: "Leave the cap to the host, which needs it only for sampling.",
  source: "john-rocky/CoreML-LLM audit",
  units: "neural engine",
  check: (s) =>
    findOperations(
      s,
      (op) => op.type === "tanh",
      (op, view) => {
        const reachesOutput = (v: Value): boolean =>
          view.fn.outputs.includes(v) ||
          view
            .consumers(v)
            .some(
              (u) =>
                (isMove(u) || (u.type === "mul" && operandValues(u).some(isConstant))) && u.outputs.some(reachesOutput),
            );
        return op.outputs.some(reachesOutput);
      },
      () => "the logits pass through tanh",
    ),
});

const softmaxAxis = programRule({
  id: "range/softmax-axis",
  severity: "warning",
  title: "Softmax runs over keys",
  why: "A softmax over an axis of one element is all ones, over the batch axis mixes nothing: either is an axis that was meant otherwise.",
  fix: "Name the axis the keys lie on.",
  source: "apple/coreai-models neural engine rules (softmax over the key axis)",
  units: "any",
  check: (s) =>
    findOperations(
      s,
      (op) => op.type === "softmax",
      (op) => {
        const shape = shapeOf(op.outputs[0]);
        const axis = axisOf(op, shape.length);
        return shape[axis] === 1 || (axis === 0 && shape.length > 2);
      },
      (ops) => `softmax over axis ${ops[0]?.params.axis} of [${shapeOf(ops[0]?.outputs[0]).join(", ")}]`,
    ),
});

export const rangeRules: readonly ProgramRule[] = [
  nonFinite,
  overflow,
  maskValue,
  epsilon,
  unsafeNorm,
  reductionDepth,
  bareExp,
  softcap,
  softmaxAxis,
];
