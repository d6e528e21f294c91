/** @file Element types the Neural Engine does not compute in. */
import { dtypeOf, type FunctionView, integers, isInteger, onlyIndexes } from "../../../../mil/function-view.ts";
import type { Operation, Value } from "../../../../mil/program.ts";
import { operandValues } from "../../../../mil/program.ts";
import { plural } from "../../../../number-text.ts";
import { findOperations, histogram, programRule } from "../found.ts";
import type { ProgramRule } from "../rule.ts";

const ENGINE = "apple/coreai-models neural engine rules; hollance/neural-engine";

const touches = (op: Operation, is: (v: Value) => boolean): boolean => [...operandValues(op), ...op.outputs].some(is);

/** A conversion at the function's edge, which the interface rule speaks of. */
const isEdgeCast = (op: Operation, view: FunctionView): boolean =>
  op.type === "cast" &&
  (op.outputs.some((o) => view.fn.outputs.includes(o)) || operandValues(op).every((v) => v.producer === null));

const fp32 = programRule({
  id: "precision/fp32",
  severity: "warning",
  title: "Computes in fp16",
  why: "The Neural Engine computes in fp16. One fp32 operand, a scalar constant even, moves its operation to CPU or GPU and cuts the program in two there.",
  fix: "Write every constant as fp16 and drop the casts to fp32; where range is the reason, rescale instead.",
  source: ENGINE,
  units: "neural engine",
  check: (s) =>
    findOperations(
      s,
      () => true,
      (op, view) => !isEdgeCast(op, view) && touches(op, (v) => dtypeOf(v) === "fp32"),
      (ops) => `${plural(ops.length, "operation")} on fp32: ${histogram(ops)}`,
    ),
});

/** Operations that take or return an index; the placement rules cover them. */
const indexed = new Set(
  "gather gather_along_axis gather_nd slice_by_index slice_by_size slice_update topk argsort reduce_argmax reduce_argmin".split(
    " ",
  ),
);

const integer = programRule({
  id: "precision/integer-compute",
  severity: "warning",
  title: "No integer or boolean arithmetic",
  why: "Comparisons, logic and int32 arithmetic sit on the CPU; a causal mask made of them is a hand-over in front of every attention. Short index sums for begin and end are harmless.",
  fix: "Compute masks on the host and pass them in as fp16.",
  source: "smpanaro/more-ane-transformers notes; john-rocky/CoreML-LLM audit; roboflow/rf-detr PR 1495",
  units: "neural engine",
  check: (s) =>
    findOperations(
      s,
      (op) =>
        !indexed.has(op.type) &&
        op.type !== "quantize" &&
        op.type !== "dequantize" &&
        touches(op, (v) => integers.has(dtypeOf(v))),
      (op, view) => !(isInteger(op) && onlyIndexes(op, view)),
      (ops) => `${plural(ops.length, "operation")} on integers or booleans: ${histogram(ops)}`,
    ),
});

const interfaceTypes = programRule({
  id: "precision/interface",
  severity: "info",
  title: "Floats cross the interface as fp16",
  why: "An fp32 input or output is converted and copied on the CPU at every call; fp16 backed by an IOSurface is not.",
  fix: "Declare float inputs and outputs as fp16 (specification 7 and later).",
  source: "apple/ml-ane-transformers; smpanaro/coreml-llm-cli",
  units: "neural engine",
  check: (s) =>
    s.functions.flatMap(({ fn }) => {
      const wide = [...fn.inputs, ...fn.outputs].filter((v) => dtypeOf(v) === "fp32").map((v) => v.name);
      return wide.length === 0
        ? []
        : [{ function: fn.name, operations: wide, message: `${wide.join(", ")} cross as fp32` }];
    }),
});

export const precisionRules: readonly ProgramRule[] = [fp32, integer, interfaceTypes];
