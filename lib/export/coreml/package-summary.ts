/** @file What is in a package: functions, their interfaces, operations by type, weights by scheme. */
import { storedBytes } from "../../cost/stored-weight.ts";
import { invariant } from "../../errors.ts";
import type { ReadPackage } from "../../formats/coreml/package-reader.ts";
import type { MilFunction, Operation, Value } from "../../mil/program.ts";
import { elementCount, showType } from "../../mil/types.ts";

export interface WeightScheme {
  readonly scheme: string;
  readonly tensors: number;
  readonly elements: number;
  readonly sizeBytes: number;
}

export interface PackageSummary {
  readonly specificationVersion: number;
  readonly opset: string;
  readonly functions: {
    name: string;
    inputs: string[];
    outputs: string[];
    states: string[];
    operations: Record<string, number>;
  }[];
  readonly weights: WeightScheme[];
  readonly weightElements: number;
  readonly weightBytes: number;
  readonly modelBytes: number;
  /** All bytes of the weight file over the number of elements they encode. */
  readonly bitsPerWeight: number;
}

/** Constants below this are parameters and tables, not weights. */
const WEIGHT_ELEMENTS = 64;

const shapeOf = (v: Value): readonly number[] => (v.type.kind === "tensor" ? v.type.shape : []);

function schemeOf(op: Operation): string | null {
  const out = op.outputs[0];
  if (out?.type.kind !== "tensor") return null;
  const operand = (name: string): Value | undefined => op.inputs[name] as Value | undefined;
  const dtype = (name: string): string => {
    const type = operand(name)?.type;
    return type?.kind === "tensor" ? type.dtype : "";
  };
  if (op.type === "constexpr_lut_to_dense") return `palette ${dtype("indices").replace("uint", "")} bit`;
  if (op.type === "constexpr_blockwise_shift_scale") return `affine ${dtype("data")}`;
  if (op.type === "constexpr_sparse_to_dense") {
    const codes = operand("nonzero_data")?.producer;
    return codes?.type.startsWith("constexpr_") ? `sparse ${schemeOf(codes)}` : "sparse";
  }
  if (op.type === "constexpr_lut_to_sparse") return `palette ${dtype("indices_nonzero_data").replace("uint", "")} bit`;
  if (op.type === "constexpr_sparse_blockwise_shift_scale") return `affine ${dtype("nonzero_data")}`;
  if (
    op.type === "const" &&
    op.constant &&
    elementCount(shapeOf(out)) >= WEIGHT_ELEMENTS &&
    op.constant.dtype !== "int32"
  )
    return `dense ${op.constant.dtype}`;
  return null;
}

function weightsOf(fn: MilFunction): WeightScheme[] {
  const compressed = new Set(
    fn.operations.filter((op) => op.type.startsWith("constexpr_")).flatMap((op) => Object.values(op.inputs).flat()),
  );
  const found = new Map<string, WeightScheme>();
  for (const op of fn.operations) {
    const out = op.outputs[0];
    const scheme = schemeOf(op);
    if (!out || !scheme || op.outputs.some((o) => compressed.has(o))) continue;
    const sizeBytes = storedBytes(out);
    const before = found.get(scheme) ?? { scheme, tensors: 0, elements: 0, sizeBytes: 0 };
    found.set(scheme, {
      scheme,
      tensors: before.tensors + 1,
      elements: before.elements + elementCount(shapeOf(out)),
      sizeBytes: before.sizeBytes + sizeBytes,
    });
  }
  return [...found.values()].sort((a, b) => b.sizeBytes - a.sizeBytes);
}

export function summarizePackage(read: ReadPackage): PackageSummary {
  const { program } = read;
  const main = program.functions.find((f) => f.name === program.defaultFunction) ?? program.functions[0];
  const weights = main ? weightsOf(main) : [];
  const weightElements = weights.reduce((n, w) => n + w.elements, 0);
  return {
    specificationVersion: read.specificationVersion,
    opset: program.opset,
    functions: program.functions.map((fn) => {
      const operations: Record<string, number> = {};
      for (const op of fn.operations) operations[op.type] = (operations[op.type] ?? 0) + 1;
      const line = (v: Value): string => `${v.name}: ${showType(v.type)}`;
      return {
        name: fn.name,
        inputs: fn.inputs.filter((i) => i.type.kind === "tensor").map(line),
        outputs: fn.outputs.map(line),
        states: fn.inputs.filter((i) => i.type.kind === "state").map(line),
        operations,
      };
    }),
    weights,
    weightElements,
    weightBytes: read.weightBytes,
    modelBytes: read.modelBytes,
    bitsPerWeight: weightElements > 0 ? (8 * read.weightBytes) / weightElements : 0,
  };
}

/** Several packages as one: all functions by name, weights and bytes added up. */
export function summarizeFiles(reads: readonly ReadPackage[]): PackageSummary {
  const all = reads.map(summarizePackage);
  const [first] = all;
  invariant(first, "a summary of no packages");
  if (all.length === 1) return first;
  const schemes = new Map<string, WeightScheme>();
  for (const w of all.flatMap((s) => s.weights)) {
    const before = schemes.get(w.scheme) ?? { scheme: w.scheme, tensors: 0, elements: 0, sizeBytes: 0 };
    schemes.set(w.scheme, {
      scheme: w.scheme,
      tensors: before.tensors + w.tensors,
      elements: before.elements + w.elements,
      sizeBytes: before.sizeBytes + w.sizeBytes,
    });
  }
  const sum = (of: (s: PackageSummary) => number): number => all.reduce((n, s) => n + of(s), 0);
  const weightElements = sum((s) => s.weightElements);
  const weightBytes = sum((s) => s.weightBytes);
  return {
    ...first,
    functions: all.flatMap((s) => s.functions),
    weights: [...schemes.values()].sort((a, b) => b.sizeBytes - a.sizeBytes),
    weightElements,
    weightBytes,
    modelBytes: sum((s) => s.modelBytes),
    bitsPerWeight: weightElements > 0 ? (8 * weightBytes) / weightElements : 0,
  };
}
