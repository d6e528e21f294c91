/** @file How weights are stored: which forms the Neural Engine decodes, which are slow, refused or wrong there. */

import { inDmaNotch } from "../../../../cost/stored-weight.ts";
import { itemAt } from "../../../../elements.ts";
import { since, specificationOf } from "../../../../formats/coreml/targets.ts";
import {
  bytesIn,
  dtypeOf,
  elementsIn,
  type FunctionView,
  isConstant,
  operand,
  shapeOf,
  weightOperand,
} from "../../../../mil/function-view.ts";
import type { Operation, Value } from "../../../../mil/program.ts";
import { elementCount } from "../../../../mil/types.ts";
import { plural } from "../../../../number-text.ts";
import { findOperations, programRule } from "../found.ts";
import type { Found, ProgramRule, ProgramSubject, Severity } from "../rule.ts";

type Verdict = boolean | Severity;

/** One finding per function and severity over its compressed or stored constants. */
function findWeights(
  s: ProgramSubject,
  concerned: (op: Operation, view: FunctionView) => boolean,
  broken: (op: Operation, view: FunctionView) => Verdict,
  say: (ops: readonly Operation[]) => string,
): Found[] | null {
  const constants: ProgramSubject = {
    ...s,
    functions: s.functions.map((view) => ({ ...view, computed: view.fn.operations })),
  };
  return findOperations(constants, concerned, broken, say);
}

const isLut = (op: Operation): boolean => op.type === "constexpr_lut_to_dense";
const isAffine = (op: Operation): boolean => op.type === "constexpr_blockwise_shift_scale";
/** Also for the nonzeros of a sparse weight. */
const hasTables = (op: Operation): boolean => isLut(op) || op.type === "constexpr_lut_to_sparse";

/** The operations that multiply with a constexpr's weight, through other constexprs. */
function users(op: Operation, view: FunctionView): Operation[] {
  return op.outputs.flatMap((o) =>
    view.consumers(o).flatMap((u) => (u.type.startsWith("constexpr_") ? users(u, view) : [u])),
  );
}

/** The output axis of a weight. */
function outputAxis(weight: Value, op: Operation): number {
  if (op.type !== "matmul") return 0;
  const rank = shapeOf(weight).length;
  if (operand(op, "y") === weight) return op.params.transpose_y === true ? rank - 2 : rank - 1;
  return op.params.transpose_x === true ? rank - 1 : rank - 2;
}

/** Only weights with integer codes: other rules check scales on a palette's output or table. */
const hasIntegerCodes = (op: Operation): boolean => {
  const data = operand(op, "data");
  return isAffine(op) && data !== undefined && dtypeOf(data).includes("int");
};
const isTable = (op: Operation, view: FunctionView): boolean =>
  op.outputs.some((o) => view.consumers(o).some((u) => isLut(u) && operand(u, "lut") === o));

const multiplied = (op: Operation, view: FunctionView): Operation[] =>
  users(op, view).filter((u) => weightOperand(u) !== null);

/** Groups per axis other than that of the outputs; for a weight only gathered there is no such axis. */
function innerGroups(op: Operation, view: FunctionView, groups: readonly number[]): number {
  const [user] = multiplied(op, view);
  if (!user) return 1;
  const out = outputAxis(itemAt(op.outputs, 0), user);
  return elementCount(groups.filter((_, axis) => axis !== out));
}

const blockScales = programRule({
  id: "weights/block-scales",
  severity: "error",
  title: "Integer weights have one scale per output channel",
  why: "The engine takes per-tensor and per-output-channel scales. Per-block int4 and int8 fall to CPU or GPU, or run with silently wrong numbers (cosine 0.367 against 0.998 on an iPhone 16 Pro Max).",
  fix: "Use int8 per channel or a palette for the Neural Engine; keep blocks for GPU and Mac.",
  source: "apple/coremltools issue 2510; apple/coreai-models issue 279",
  units: "neural engine",
  check: (s) =>
    findWeights(
      s,
      (op, view) => hasIntegerCodes(op) && !isTable(op, view) && multiplied(op, view).length > 0,
      (op, view) => {
        const scale = shapeOf(operand(op, "scale"));
        const out = outputAxis(itemAt(op.outputs, 0), itemAt(multiplied(op, view), 0));
        const rows = scale[out] ?? 1;
        return innerGroups(op, view, scale) > 1 || (rows !== 1 && rows !== shapeOf(op.outputs[0])[out]);
      },
      (ops) => `${plural(ops.length, "weight")} with a scale per block`,
    ),
});

const paletteAxis = programRule({
  id: "weights/palette-axis",
  severity: "error",
  title: "Palettes are grouped along output channels only",
  why: "A table per block of input channels stops the engine's compiler with error −14.",
  fix: "Group rows: one table per 8 to 32 output channels.",
  source: "john-rocky/CoreML-LLM DECODE_STATE_LAYOUTS; apple/coremltools palettize_weights (channel_axis)",
  units: "neural engine",
  check: (s) =>
    findWeights(
      s,
      (op, view) => isLut(op) && multiplied(op, view).length > 0,
      (op, view) => innerGroups(op, view, shapeOf(operand(op, "lut")).slice(0, -2)) > 1,
      (ops) => `${plural(ops.length, "palette")} with tables along input channels`,
    ),
});

/** Output channels that share a table. */
function rowsPerTable(op: Operation): number {
  const tables = shapeOf(operand(op, "lut"))[0] ?? 1;
  return (shapeOf(op.outputs[0])[0] ?? 1) / tables;
}

const tableCount = programRule({
  id: "weights/table-count",
  severity: "warning",
  title: "Tables serve eight channels or more",
  why: "Below four channels a table, the number of tables and not the bytes decides the speed: OPT-1.3B on an iPhone 15 Pro takes 14.8 ms a token with one table, 15.5 with groups of 8, 17.1 of 4, 30.7 of 2, 59.1 of 1.",
  fix: "Use groups of 8 to 32 channels and spend bits instead.",
  source: "apple/coremltools docs-guides opt-opt1_3 and opt-palettization-perf",
  units: "neural engine",
  check: (s) =>
    findWeights(
      s,
      isLut,
      (op) => {
        const rows = rowsPerTable(op);
        return rows < 4 ? "warning" : rows < 8 ? "info" : false;
      },
      (ops) => `${plural(ops.length, "palette")} with a table per ${Math.min(...ops.map(rowsPerTable))} channels`,
    ),
});

const vectorPalettes = programRule({
  id: "weights/vector-palettes",
  severity: "warning",
  title: "Palettes of scalars",
  why: "Tables of vectors need newer hardware; no public result for a language model is known.",
  fix: "Use scalar palettes, cluster_dim 1.",
  source: "apple/coreai-models neural engine rules",
  units: "neural engine",
  check: (s) =>
    findWeights(
      s,
      hasTables,
      (op) => (shapeOf(operand(op, "lut")).at(-1) ?? 1) > 1,
      (ops) => `${plural(ops.length, "palette")} of vectors`,
    ),
});

const integerTables = programRule({
  id: "weights/integer-tables",
  severity: "warning",
  title: "Tables hold fp16",
  why: "Decoding int8 tables left the engine (placement fell from 92.9 to 86.7 %) and saved nothing: tables are small.",
  fix: "Store tables as fp16.",
  source: "john-rocky/CoreML-LLM",
  units: "neural engine",
  check: (s) =>
    findWeights(
      s,
      hasTables,
      (op) => {
        const lut = operand(op, "lut");
        return (
          lut !== undefined && (dtypeOf(lut).includes("int") || lut.producer?.type.startsWith("constexpr_") === true)
        );
      },
      (ops) => `${plural(ops.length, "palette")} with tables that are integers or computed`,
    ),
});

const scaledPalettes = programRule({
  id: "weights/scaled-palettes",
  severity: "error",
  title: "No scale behind a palette",
  why: "Below iOS 26 the scale must come before the table; a scale over palettized weights fails to compile (−14) or crashes at load (issue 2688).",
  fix: "Multiply the convolution's output by the scale, [1, C, 1, 1]: exact and legal everywhere.",
  source: "apple/coremltools passes canonicalize_quantized_lut_pattern; issues 2688, 2777",
  units: "neural engine",
  check: (s) =>
    specificationOf(s.program.opset) >= since.scaledPalettes
      ? null
      : findWeights(
          s,
          isAffine,
          (op) => operand(op, "data")?.producer?.type === "constexpr_lut_to_dense",
          (ops) => `${plural(ops.length, "palette")} scaled afterwards`,
        ),
});

const sparse = programRule({
  id: "weights/sparse",
  severity: "info",
  title: "Sparse weights are sparse enough",
  why: "Apple reports gains from 75 % zeros; at half zeros a mask and fp16 values are larger and slower than a 4-bit palette.",
  fix: "Prune further, remove whole channels, or palettize instead.",
  source: "apple/coremltools docs-guides opt-pruning-perf; john-rocky/CoreML-LLM (2:4 with palettes)",
  units: "neural engine",
  check: (s) =>
    findWeights(
      s,
      (op) => op.type === "constexpr_sparse_to_dense",
      (op) => elementsIn(operand(op, "nonzero_data") as Value) > elementsIn(itemAt(op.outputs, 0)) / 4,
      (ops) => `${plural(ops.length, "weight")} with more than a quarter of their values left`,
    ),
});

const constantOutputs = programRule({
  id: "weights/constant-outputs",
  severity: "error",
  title: "No constant is an output",
  why: "A constant or compressed constant that is itself an output fails at run time.",
  fix: "Put an identity behind it, or drop the output.",
  source: "apple/coremltools (rdar 108274019, converters/mil/backend/mil/passes)",
  units: "any",
  check: (s) =>
    s.functions.flatMap(({ fn }) => {
      const names = fn.outputs.filter(isConstant).map((v) => v.name);
      return names.length === 0
        ? []
        : [{ function: fn.name, operations: names, message: `${names.join(", ")} is a constant` }];
    }),
});

/** Smaller weights are norms, tables and biases. */
const WEIGHT_ELEMENTS = 65_536;

const uncompressed = programRule({
  id: "weights/uncompressed",
  severity: "info",
  title: "Every big weight is compressed, or none",
  why: "A tensor that a recipe skipped in silence (an indivisible group, an unknown operation) improves the quality figures and hides in the size.",
  fix: "Look at the coverage: compress it, or say that it stays.",
  source: "apple/coreai-optimization (silent skips); apple/coremltools issue 2777",
  units: "any",
  check(s) {
    const compressed = s.functions.some((v) => v.fn.operations.some((op) => op.type.startsWith("constexpr_")));
    if (!compressed) return null;
    return findWeights(
      s,
      (op, view) =>
        op.type === "const" && op.outputs.some((o) => view.consumers(o).some((u) => weightOperand(u) === o)),
      (op) => elementsIn(itemAt(op.outputs, 0)) >= WEIGHT_ELEMENTS,
      (ops) =>
        `${plural(ops.length, "weight")}, ${ops.reduce((n, op) => n + bytesIn(itemAt(op.outputs, 0)), 0)} bytes, left uncompressed`,
    );
  },
});

const dmaNotch = programRule({
  id: "weights/dma-notch",
  severity: "info",
  title: "No core streams a whole number of MiB",
  why: "Where each core's share of an fp16 weight lies within 16 KiB of a multiple of 1 MiB, streaming dropped from 45–60 to 17–19 GB/s. Measured on M4 for fp16; not verified for iPhones, unknown for compressed weights.",
  fix: "Split the inner axis of that projection in two and add the results.",
  source: "kasper0406/stablehlo-coreml PR 110 (citing E. Yoon)",
  units: "neural engine",
  check: (s) =>
    findOperations(
      s,
      (op) => op.type === "conv" || op.type === "linear",
      (op) => {
        const w = weightOperand(op);
        return w !== null && inDmaNotch(shapeOf(w)) && (w.producer?.type === "const" ? "warning" : "info");
      },
      (ops) =>
        `${plural(ops.length, "projection")}, the first of [${shapeOf(weightOperand(itemAt(ops, 0)) ?? undefined).join(", ")}]`,
    ),
});

const FILE_WARNING = 950e6;
const FILE_ERROR = 2e9;

const fileSize = programRule({
  id: "weights/file-size",
  severity: "warning",
  title: "The weight file is below 950 MB",
  why: "Above about 1 GB a model falls to the GPU in silence or is killed while loading; Apple's guidance for iOS ends at 2 GB.",
  fix: "Compress further, leave the embedding outside, or split the layers over several packages.",
  source: "Anemll/Anemll (950 MB); john-rocky/CoreML-LLM (1.0–1.4 GB); apple/coreai-models (2 GB)",
  units: "neural engine",
  check(s) {
    if (s.weightBytes === null) return null;
    if (s.weightBytes <= FILE_WARNING) return [];
    return [
      {
        function: null,
        operations: [],
        message: `${(s.weightBytes / 1e6).toFixed(0)} MB of weights in one package`,
        ...(s.weightBytes > FILE_ERROR ? { severity: "error" as const } : {}),
      },
    ];
  },
});

const activations = programRule({
  id: "weights/quantized-activations",
  severity: "warning",
  title: "Activations stay fp16",
  why: "int8 activations double the engine's arithmetic from A17 Pro on, but language models failed to compile or lost their accuracy (cosine 0.57 with smoothing); decoding is bound by bandwidth anyway.",
  fix: "Quantize weights only.",
  source: "apple/coremltools docs-guides opt-quantization-perf; john-rocky/CoreML-LLM",
  units: "neural engine",
  check: (s) =>
    findOperations(
      s,
      () => true,
      (op) => op.type === "quantize" || op.type === "dequantize",
      (ops) => `${plural(ops.length, "conversion")} to or from int8 activations`,
    ),
});

export const weightRules: readonly ProgramRule[] = [
  blockScales,
  paletteAxis,
  tableCount,
  vectorPalettes,
  integerTables,
  scaledPalettes,
  sparse,
  constantOutputs,
  uncompressed,
  dmaNotch,
  fileSize,
  activations,
];
