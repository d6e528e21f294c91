/** @file Sizes and layouts the Neural Engine cannot take, or takes badly. */
import { itemAt, numberAt } from "../../../../elements.ts";
import {
  bytesIn,
  contraction,
  dtypeOf,
  elementsIn,
  isProduct,
  operand,
  shapeOf,
  weightOperand,
} from "../../../../mil/function-view.ts";
import { type Operation, operandValues, type Value } from "../../../../mil/program.ts";
import { dtypeBits } from "../../../../mil/types.ts";
import { plural } from "../../../../number-text.ts";
import { findOperations, histogram, programRule } from "../found.ts";
import type { ProgramRule } from "../rule.ts";

const ENGINE = "apple/coreai-models neural engine rules";

const show = (v: Value | undefined): string => `[${shapeOf(v).join(", ")}]`;
const tensors = (op: Operation): readonly Value[] => op.outputs;

const rank = programRule({
  id: "shapes/rank",
  severity: "warning",
  title: "Tensors have at most four axes",
  why: "The engine's compiler takes five; four is what works: five-axis attention fails at run time or is inaccurate on iOS 26.",
  fix: "Squeeze axes of one, or fold heads into channels.",
  source: `${ENGINE}; pytorch/executorch static_attention and issue 16144`,
  units: "neural engine",
  check: (s) =>
    findOperations(
      s,
      () => true,
      (op) => {
        const most = Math.max(0, ...tensors(op).map((v) => shapeOf(v).length));
        return most > 5 ? "error" : most === 5;
      },
      (ops) =>
        `${plural(ops.length, "operation")} up to ${Math.max(...ops.flatMap(tensors).map((v) => shapeOf(v).length))} axes: ${histogram(ops)}`,
    ),
});

/** The last axis is padded to this. */
const ALIGNMENT_BYTES = 64;
const WASTE_BYTES = 1 << 20;

function waste(v: Value): number {
  const last = shapeOf(v).at(-1);
  if (last === undefined || last === 0) return 0;
  const row = (last * dtypeBits[dtypeOf(v)]) / 8;
  return (elementsIn(v) / last) * (Math.ceil(row / ALIGNMENT_BYTES) * ALIGNMENT_BYTES - row);
}

const wasteful = (op: Operation, single: boolean): boolean =>
  tensors(op).some((v) => (shapeOf(v).at(-1) === 1) === single && waste(v) > WASTE_BYTES);

const worst = (ops: readonly Operation[]): string => {
  const all = ops.flatMap(tensors).sort((a, b) => waste(b) - waste(a));
  return `${show(all[0])} takes ${(waste(itemAt(all, 0)) / 2 ** 20).toFixed(1)} MiB of padding`;
};

const lastAxisOne = programRule({
  id: "shapes/last-axis-one",
  severity: "warning",
  title: "No big tensor ends in an axis of one",
  why: "The last axis is padded to 64 bytes: one fp16 number per row costs 32 times its memory and its bandwidth.",
  fix: "Put the long axis last, or keep wide data in channels, (B, C, 1, S).",
  source: `${ENGINE}; apple/ml-ane-transformers`,
  units: "neural engine",
  check: (s) =>
    findOperations(
      s,
      () => true,
      (op) => wasteful(op, true),
      (ops) => `${plural(ops.length, "operation")}; ${worst(ops)}`,
    ),
});

const lastAxisAlignment = programRule({
  id: "shapes/last-axis-alignment",
  severity: "warning",
  title: "Last axes of big tensors fill 64 bytes",
  why: "Rows are padded to 64 bytes, 32 fp16 numbers; an odd last axis wastes memory and bandwidth on every read.",
  fix: "Choose widths, contexts and chunk lengths that are multiples of 32.",
  source: ENGINE,
  units: "neural engine",
  check: (s) =>
    findOperations(
      s,
      () => true,
      (op) => wasteful(op, false),
      (ops) => `${plural(ops.length, "operation")}; ${worst(ops)}`,
    ),
});

const EXTENT = 16_384;
const EXTENT_A16 = 65_536;

const extent = programRule({
  id: "shapes/extent",
  severity: "warning",
  title: "Height and width stay below 16384",
  why: "16384 is the limit of the last two axes up to A15, and what exporters keep to; beyond 65536 the engine's compiler gives up on any chip.",
  fix: "Split the axis: several heads, several chunks of context.",
  source: "Anemll/Anemll agent.md; maderix/ANE PR 26; arXiv 2606.22283",
  units: "neural engine",
  check: (s) =>
    findOperations(
      s,
      () => true,
      (op) => {
        const most = Math.max(0, ...tensors(op).flatMap((v) => shapeOf(v).slice(-2)));
        return most > EXTENT_A16 ? "error" : most > EXTENT;
      },
      (ops) => `${plural(ops.length, "operation")} as large as ${show(ops[0]?.outputs[0])}`,
    ),
});

const channels = programRule({
  id: "shapes/channels",
  severity: "error",
  title: "At most 65536 channels",
  why: "The engine's compiler takes no more channels; a whole vocabulary in one convolution passes that.",
  fix: "Split the head into parts and let the host join the logits.",
  source: "Anemll/Anemll agent.md; maderix/ANE PR 26",
  units: "neural engine",
  check: (s) =>
    findOperations(
      s,
      (op) => tensors(op).some((v) => shapeOf(v).length === 4),
      (op) => tensors(op).some((v) => shapeOf(v).length === 4 && numberAt(shapeOf(v), 1) > EXTENT_A16),
      (ops) => `${plural(ops.length, "operation")} as wide as ${show(ops[0]?.outputs[0])}`,
    ),
});

const outputWidth = (op: Operation): number => {
  const out = shapeOf(op.outputs[0]);
  return (op.type === "conv" ? out[1] : out.at(-1)) ?? 0;
};

const vocabulary = programRule({
  id: "shapes/vocabulary-head",
  severity: "warning",
  title: "The vocabulary head is split",
  why: "Parts of at most 16384 rows compile on every chip; whether one part is faster on A19 is one measurement (4.6 %).",
  fix: "Split the head so that no part is wider than 16384.",
  source: "Anemll/Anemll (8- and 16-way heads); john-rocky/CoreML-LLM",
  units: "neural engine",
  check: (s) =>
    findOperations(
      s,
      (op) => weightOperand(op) !== null,
      (op) => outputWidth(op) > EXTENT,
      (ops) => `${plural(ops.length, "projection")} to ${Math.max(...ops.map(outputWidth))} outputs at once`,
    ),
});

const contractionDepth = programRule({
  id: "shapes/contraction",
  severity: "warning",
  title: "Products sum over at most 16384",
  why: "A deeper contraction leaves the engine.",
  fix: "Split the inner axis into two convolutions and add.",
  source: "larql issue 312 (community probe)",
  units: "neural engine",
  check: (s) =>
    findOperations(
      s,
      isProduct,
      (op) => contraction(op) > EXTENT,
      (ops) => `${plural(ops.length, "product")} over ${Math.max(...ops.map(contraction))} elements`,
    ),
});

const scalarMoves = programRule({
  id: "shapes/scalar-moves",
  severity: "error",
  title: "Scalars are not transposed, sliced or tiled",
  why: "A tensor without axes breaks these operations in the device's parser.",
  fix: "Give it one axis first, or drop the operation.",
  source: "microsoft/onnxruntime CoreML execution provider",
  units: "any",
  check: (s) =>
    findOperations(
      s,
      (op) => ["transpose", "slice_by_index", "slice_by_size", "tile"].includes(op.type),
      (op) => shapeOf(operand(op, "x")).length === 0,
      (ops) => `${histogram(ops)} of a tensor without axes`,
    ),
});

const vectorProducts = programRule({
  id: "shapes/vector-products",
  severity: "warning",
  title: "Products have two axes at least",
  why: "Products of one-axis tensors are wrong or refused (coremltools issue 2263), and two-axis products were off by 4 % on the engine where the four-axis form was right.",
  fix: "Reshape to (1, C, 1, S) and use a 1×1 convolution.",
  source: "apple/coremltools issue 2263; apple/coreai-torch issue 51",
  units: "any",
  check: (s) =>
    findOperations(
      s,
      isProduct,
      (op) => operandValues(op).some((v) => v !== operand(op, "bias") && shapeOf(v).length < 2),
      (ops) => `${plural(ops.length, "product")} with a one-axis operand`,
    ),
});

const projections = programRule({
  id: "shapes/projection-form",
  severity: "warning",
  title: "Projections are 1×1 convolutions",
  why: "Over (B, C, 1, S) a 1×1 convolution is the engine's native product. linear and matmul with a weight reach it on some systems and not on others.",
  fix: "Export with the Neural Engine layout.",
  source:
    "apple/ml-ane-transformers; apple/coreai-models neural engine rules; stablehlo-coreml PR 110 for the contrary",
  units: "neural engine",
  check: (s) =>
    findOperations(
      s,
      (op) => weightOperand(op) !== null,
      (op) => op.type !== "conv",
      (ops) => `${plural(ops.length, "projection")} as ${histogram(ops)}`,
    ),
});

const factors = (n: number): boolean => {
  let rest = n;
  for (const p of [2, 3]) while (rest % p === 0) rest /= p;
  return rest === 1;
};
const numbersOf = (op: Operation, name: string): readonly number[] =>
  Array.isArray(op.params[name]) ? (op.params[name] as readonly number[]) : [];

const convolutions = programRule({
  id: "shapes/convolution-form",
  severity: "warning",
  title: "Convolutions have plain strides and no dilation",
  why: "The engine takes strides made of 2 and 3 and small kernels; dilated and odd-strided ones are rewritten or leave it.",
  fix: "Factor the kernel or the dilation.",
  source: "apple/coreai-models neural engine rules (convolutions)",
  units: "neural engine",
  check: (s) =>
    findOperations(
      s,
      (op) => op.type === "conv",
      (op) =>
        numbersOf(op, "strides").some((n) => !factors(n)) ||
        numbersOf(op, "dilations").some((n) => n > 1) ||
        shapeOf(operand(op, "weight"))
          .slice(2)
          .some((k) => k > 13),
      (ops) => `${plural(ops.length, "convolution")} with such a stride, dilation or kernel`,
    ),
});

const MOVED_BYTES = 65_536;

const lastAxisMoves = programRule({
  id: "shapes/last-axis-moves",
  severity: "info",
  title: "The last axis stays where it is",
  why: "A transpose or reshape across the last axis copies the tensor.",
  fix: "Keep one layout from projection to projection.",
  source: "apple/coreai-models neural engine rules; apple/ml-ane-transformers",
  units: "neural engine",
  check: (s) =>
    findOperations(
      s,
      (op) => op.type === "transpose" || op.type === "reshape",
      (op) => {
        const [from, to] = [operand(op, "x"), op.outputs[0]];
        if (!from || !to || bytesIn(to) < MOVED_BYTES) return false;
        if (op.type === "reshape") return shapeOf(from).at(-1) !== shapeOf(to).at(-1);
        return numbersOf(op, "perm").at(-1) !== shapeOf(to).length - 1;
      },
      (ops) => `${plural(ops.length, "copy", "copies")} across the last axis: ${histogram(ops)}`,
    ),
});

export const shapeRules: readonly ProgramRule[] = [
  rank,
  lastAxisOne,
  lastAxisAlignment,
  extent,
  channels,
  vocabulary,
  contractionDepth,
  scalarMoves,
  vectorProducts,
  projections,
  convolutions,
  lastAxisMoves,
];
