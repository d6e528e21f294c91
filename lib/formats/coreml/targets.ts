/**
 * @file What each system a package can be made for allows, and what came with which opset: the one home of these facts, and the
 * check of a program against them.
 *
 * Reference: coremltools' opsets (`mil/ops/defs/iOS15` … `iOS18`) and Core ML's specification 8 to 10. iOS 17 keeps compressed
 * constants in attributes: int8 with one scale or one a channel, one palette a tensor, sparse; no state, one function. iOS 18
 * brings states, functions, types of 1 to 6 bits and grouped tables. iOS 26 adds int8 at the boundary and a scale on top of a
 * palette. What the hardware makes of a legal package is a second question, asked here for one case alone: integer codes with
 * a scale per block of inputs, which the Neural Engine does not run.
 */
import { EspalierError } from "../../errors.ts";
import { argumentsOf } from "../../mil/op.ts";
import { type MilFunction, type Operation, operandValues, type Program, type Value } from "../../mil/program.ts";
import { type DType, type Shape, showType } from "../../mil/types.ts";

export interface Opset {
  readonly name: string;
  /** The system it came with. */
  readonly system: string;
  /** The oldest specification that may hold it. */
  readonly specificationVersion: number;
}

/** Opsets that are read, oldest first. */
export const opsets = [
  { name: "CoreML5", system: "iOS 15", specificationVersion: 6 },
  { name: "CoreML6", system: "iOS 16", specificationVersion: 7 },
  { name: "CoreML7", system: "iOS 17", specificationVersion: 8 },
  { name: "CoreML8", system: "iOS 18", specificationVersion: 9 },
  { name: "CoreML9", system: "iOS 26", specificationVersion: 10 },
] as const satisfies readonly Opset[];

export const opsetNamed = (name: string): Opset | null => opsets.find((o) => o.name === name) ?? null;

/** The specification that an opset needs; that of the default target where the opset is not known. */
export const specificationOf = (opset: string): number => (opsetNamed(opset) ?? targets.iOS18).specificationVersion;

/** The specification that brought what older ones do not have. */
export const since = {
  fp16Features: 7,
  functions: 9,
  states: 9,
  /** Compressed constants whose parts are inputs of the operation, and types below 8 bits. */
  constantInputs: 9,
  scaledPalettes: 10,
  int8Features: 10,
} as const;

/** Arguments that came after their operation, `topk sort`, with the specification that brought them (coremltools' iOS16, iOS17). */
export const argumentsSince: ReadonlyMap<string, number> = new Map([
  ["topk sort", 7],
  ["topk return_indices", 7],
  ...["gather", "gather_nd"].map((op): [string, number] => [`${op} batch_dims`, 7]),
  ...["gather", "gather_along_axis", "gather_nd", "scatter", "scatter_along_axis", "scatter_nd"].map(
    (op): [string, number] => [`${op} validate_indices`, 8],
  ),
  ["reduce_argmax output_dtype", 8],
  ["reduce_argmin output_dtype", 8],
]);

export const targetNames = ["iOS17", "iOS18", "iOS26"] as const;
export type TargetName = (typeof targetNames)[number];

/** Where a package is meant to run: the Neural Engine, or a GPU or CPU, which take every legal weight. */
export const computeTargets = ["neural-engine", "gpu"] as const;
export type ComputeTarget = (typeof computeTargets)[number];

export interface Target {
  readonly name: TargetName;
  readonly system: string;
  readonly specificationVersion: number;
  readonly opset: (typeof opsets)[number]["name"];
  /** Several functions, or one that is not `main`. */
  readonly functions: boolean;
  readonly states: boolean;
  /** Compressed constants keep their parts in attributes, indices and masks as packed bytes. */
  readonly attributeConstants: boolean;
  /** A constexpr may read another one; with a scale on top of a palette only where `scaledPalettes`. */
  readonly chains: boolean;
  readonly scaledPalettes: boolean;
  readonly paletteBits: readonly number[];
  /** Of inputs and outputs. */
  readonly featureDTypes: readonly DType[];
  /** Of tensors in the weight file; others stay in the protobuf. */
  readonly fileDTypes: readonly DType[];
  readonly missingOps: readonly string[];
}

const bytesAndFloats: readonly DType[] = ["fp16", "fp32", "uint8", "int8"];
const everyFileType: readonly DType[] = [
  ...bytesAndFloats,
  "int16",
  "uint16",
  "int4",
  "uint1",
  "uint2",
  "uint3",
  "uint4",
  "uint6",
];

const writtenAs = (opset: Target["opset"]): Pick<Target, "opset" | "system" | "specificationVersion"> => {
  const { system, specificationVersion } = opsets.find((o) => o.name === opset) ?? opsets[0];
  return { opset, system, specificationVersion };
};

export const targets: Readonly<Record<TargetName, Target>> = {
  iOS17: {
    name: "iOS17",
    ...writtenAs("CoreML7"),
    functions: false,
    states: false,
    attributeConstants: true,
    chains: false,
    scaledPalettes: false,
    paletteBits: [1, 2, 4, 6, 8],
    featureDTypes: ["fp16", "fp32", "int32"],
    fileDTypes: bytesAndFloats,
    missingOps: ["read_state", "write_state", "slice_update", "scaled_dot_product_attention"],
  },
  iOS18: {
    name: "iOS18",
    ...writtenAs("CoreML8"),
    functions: true,
    states: true,
    attributeConstants: false,
    chains: true,
    scaledPalettes: false,
    paletteBits: [1, 2, 3, 4, 6, 8],
    featureDTypes: ["fp16", "fp32", "int32"],
    fileDTypes: everyFileType,
    missingOps: [],
  },
  iOS26: {
    name: "iOS26",
    ...writtenAs("CoreML9"),
    functions: true,
    states: true,
    attributeConstants: false,
    chains: true,
    scaledPalettes: true,
    paletteBits: [1, 2, 3, 4, 6, 8],
    featureDTypes: ["fp16", "fp32", "int32", "int8"],
    fileDTypes: everyFileType,
    missingOps: [],
  },
};

/** The target whose opset a program has. Throws `export/unsupported`. */
export function targetOf(program: Program): Target {
  const found = Object.values(targets).find((t) => t.opset === program.opset);
  if (found) return found;
  const written = Object.values(targets).map((t) => `${t.opset} (${t.system})`);
  throw new EspalierError("export/unsupported", `the program has opset ${program.opset}, which is not written`, {
    hint: `Written are ${written.join(", ")}.`,
  });
}

const refuse = (where: string, what: string, target: Target, hint: string): EspalierError =>
  new EspalierError("export/unsupported", `${where}: ${what} (target ${target.system})`, { hint });

/** Throws `export/unsupported` naming the function, the operation or weight, the target and what to do instead. */
export function checkTarget(program: Program, target: Target, compute: ComputeTarget): void {
  const [only, ...more] = program.functions;
  if (!target.functions && (more.length > 0 || only?.name !== "main"))
    throw refuse(
      `functions ${program.functions.map((f) => f.name).join(", ")}`,
      "a package holds one function, main",
      target,
      "Write a package for each function, or target iOS 18.",
    );
  for (const fn of program.functions) {
    for (const v of [...fn.inputs, ...fn.outputs]) checkFeature(fn, v, target);
    for (const op of fn.operations) checkOperation(fn, op, target, compute);
  }
}

function checkFeature(fn: MilFunction, v: Value, target: Target): void {
  const where = `${fn.name}: ${v.name}`;
  if (v.type.kind === "state") {
    if (!target.states)
      throw refuse(where, "a state", target, "Pass the cache as inputs and outputs, or target iOS 18.");
    if (v.type.wrapped.dtype !== "fp16")
      throw refuse(where, `is ${showType(v.type)}; Core ML keeps states in fp16`, target, "Make the state fp16.");
  } else if (!target.featureDTypes.includes(v.type.dtype)) {
    throw refuse(
      where,
      `is ${v.type.dtype}; inputs and outputs are ${target.featureDTypes.join(", ")}`,
      target,
      v.type.dtype === "int8" ? "Target iOS 26, or cast inside the program." : "Cast inside the program.",
    );
  }
}

function checkOperation(fn: MilFunction, op: Operation, target: Target, compute: ComputeTarget): void {
  const where = `${fn.name}: ${op.type} ${op.name}`;
  if (target.missingOps.includes(op.type))
    throw refuse(where, "there is no such operation", target, "Target iOS 18, or build the program without a state.");
  if (!op.type.startsWith("constexpr_")) return;
  if (target.attributeConstants && sparseCodes.includes(op.type))
    throw refuse(
      where,
      "there is no such operation",
      target,
      "Keep floats or one byte for each nonzero, or target iOS 18.",
    );
  const reads = operandValues(op).find((v) => v.producer?.type.startsWith("constexpr_"));
  if (reads && !target.chains)
    throw refuse(where, `it reads the compressed constant ${reads.name}`, target, "Compress once, or target iOS 18.");
  if (op.type === "constexpr_blockwise_shift_scale") checkAffine(where, op, target, compute);
  if (op.type === "constexpr_lut_to_dense") checkPalette(where, op, target);
  if (op.type === "constexpr_sparse_to_dense" && target.attributeConstants) {
    const { dtype } = argumentsOf(op).tensor("nonzero_data");
    if (!bytesAndFloats.includes(dtype))
      throw refuse(where, `its values are ${dtype}`, target, "Keep int8, uint8 or fp16 values, or target iOS 18.");
  }
}

/** Operations on the codes of a sparse weight, which came with iOS 18. */
const sparseCodes: readonly string[] = ["constexpr_lut_to_sparse", "constexpr_sparse_blockwise_shift_scale"];

/** The axes along which a scale or table changes. */
const varyingAxes = (shape: Shape): number[] => shape.flatMap((d, axis) => (d > 1 ? [axis] : []));

function checkAffine(where: string, op: Operation, target: Target, compute: ComputeTarget): void {
  const args = argumentsOf(op);
  const [data, scale] = [args.tensor("data"), args.tensor("scale")];
  const axes = varyingAxes(scale.shape);
  const whole = axes.every((axis) => scale.shape[axis] === data.shape[axis]);
  const perChannel = axes.length <= 1 && whole;
  if (args.value("data").producer?.type === "constexpr_lut_to_dense" && !target.scaledPalettes)
    throw refuse(
      where,
      "a scale on top of a palette",
      target,
      "Multiply the output of the operation that reads the weight instead, or target iOS 26.",
    );
  if (target.attributeConstants) {
    if (data.dtype !== "int8" && data.dtype !== "uint8")
      throw refuse(where, `its codes are ${data.dtype}`, target, "Use int8 codes, or target iOS 18.");
    if (!perChannel)
      throw refuse(
        where,
        `its scales are ${showType(scale)} for ${showType(data)}`,
        target,
        "Use one scale a tensor or one a channel (no group size), or target iOS 18.",
      );
  }
  if (compute === "neural-engine" && !perChannel)
    throw refuse(
      where,
      `a scale for every block, ${showType(scale)} for ${showType(data)}, does not run on the Neural Engine, which takes one a tensor or one a channel: elsewhere it falls to the GPU, at worst the numbers are wrong (apple/coremltools#2510, apple/coreai-models#279)`,
      target,
      "Use a palette or a scale per channel (no group size), or export for the GPU with --layout plain.",
    );
}

function checkPalette(where: string, op: Operation, target: Target): void {
  const args = argumentsOf(op);
  const [indices, lut] = [args.tensor("indices"), args.tensor("lut")];
  const rank = indices.shape.length;
  const bits = Math.log2(lut.shape[rank] ?? 2);
  const groups = lut.shape.slice(0, rank);
  if (!target.paletteBits.includes(bits))
    throw refuse(
      where,
      `a palette of ${bits} bits`,
      target,
      `Use ${target.paletteBits.join(", ")} bits, or target iOS 18.`,
    );
  if (!target.attributeConstants) return;
  if (groups.some((g) => g !== 1))
    throw refuse(
      where,
      `${groups.reduce((n, g) => n * g, 1)} tables for one weight`,
      target,
      "Use one table a tensor (as many rows a table as the tensor has), or target iOS 18.",
    );
  if (lut.shape[rank + 1] !== 1)
    throw refuse(where, "a palette of vectors", target, "Use a palette of single values, or target iOS 18.");
}
