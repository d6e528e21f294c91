/** @file Rules on a package's files: protobuf, names, arguments, blob records. Sources are named rule by rule. */

import { createHash } from "node:crypto";
import { named } from "../../../../elements.ts";
import { formAttributes } from "../../../../formats/coreml/attribute-form.ts";
import { dtypeOfMil } from "../../../../formats/coreml/element-types.ts";
import { identifier } from "../../../../formats/coreml/function-reader.ts";
import { isReserved } from "../../../../formats/coreml/function-writer.ts";
import type * as mil from "../../../../formats/coreml/generated/mil_pb.ts";
import type { PackageFiles } from "../../../../formats/coreml/package-reader.ts";
import { argumentsSince, opsetNamed, since, specificationOf, targets } from "../../../../formats/coreml/targets.ts";
import { opTable } from "../../../../mil/op.ts";
import { plural } from "../../../../number-text.ts";
import { fileRule, groupBy } from "../found.ts";
import type { FileRule, Found } from "../rule.ts";

interface RawFunction {
  readonly name: string;
  readonly fn: mil.Function;
  readonly block: mil.Block | undefined;
  readonly operations: readonly mil.Operation[];
}

export function rawFunctions({ milProgram }: PackageFiles): RawFunction[] {
  return Object.keys(milProgram.functions)
    .sort()
    .map((name) => {
      const fn = named(milProgram.functions, name);
      const block = fn.blockSpecializations[fn.opset] ?? Object.values(fn.blockSpecializations)[0];
      return { name, fn, block, operations: block?.operations ?? [] };
    });
}

const outputName = (op: mil.Operation): string => op.outputs[0]?.name ?? op.type;

/** One finding per function that has offenders. */
function perFunction(
  files: PackageFiles,
  offenders: (raw: RawFunction) => readonly string[],
  say: (names: readonly string[], raw: RawFunction) => string,
): Found[] {
  return rawFunctions(files).flatMap((raw) => {
    const names = offenders(raw);
    return names.length === 0 ? [] : [{ function: raw.name, operations: names, message: say(names, raw) }];
  });
}

function tensorOf(type: mil.ValueType | undefined): mil.TensorType | null {
  if (type?.type.case === "tensorType") return type.type.value;
  if (type?.type.case === "stateType") return tensorOf(type.type.value.wrappedType);
  return null;
}

/** Every value an operation carries: its attributes and its inline arguments. */
function valuesOf(op: mil.Operation): mil.Value[] {
  const inline = Object.values(op.inputs).flatMap((a) =>
    a.arguments.flatMap((b) => (b.binding.case === "value" ? [b.binding.value] : [])),
  );
  return [...Object.values(op.attributes), ...inline];
}

export const READABLE = fileRule({
  id: "files/readable",
  severity: "error",
  title: "The package can be read and typed",
  why: "Every blob, name, type and argument is checked by the reader; what it finds damaged, Core ML's loader refuses or misreads. What it knows nothing of is a warning: the other rules were not held against it.",
  fix: "The package is damaged or was written by a tool with a fault; export it again.",
  source: "Core ML specification (MIL.proto, blob storage v2); the milproto reader of apple/coremltools",
  units: "any",
  // The caller of the rules decides this one: the reader itself is the check.
  check: () => [],
});

const opset = fileRule({
  id: "files/opset",
  severity: "error",
  title: "The opset fits the specification",
  why: "A function's opset names the operations it may use; a specification older than the opset is refused at load, and all functions of a model share one opset.",
  fix: `Write specification ${targets.iOS18.specificationVersion} with opset ${targets.iOS18.opset}, or the pair of an older system.`,
  source: "apple/coremltools coremltools/__init__.py and mlmodel/format/Model.proto",
  units: "any",
  check(files) {
    const used = new Set(rawFunctions(files).map((r) => r.fn.opset));
    const { specificationVersion } = files.message;
    return perFunction(
      files,
      ({ name, fn }) => {
        const needed = opsetNamed(fn.opset)?.specificationVersion;
        return needed === undefined || needed > specificationVersion || used.size > 1 ? [name] : [];
      },
      (_names, { fn }) =>
        used.size > 1
          ? `functions have the opsets ${[...used].sort().join(", ")}`
          : `opset "${fn.opset}" in a model of specification ${specificationVersion}`,
    );
  },
});

const since18: ReadonlySet<string> = new Set(targets.iOS17.missingOps);
const subByte = /^(u?int[1-6])$/;

const availability = fileRule({
  id: "files/operation-availability",
  severity: "error",
  title: "Operations exist in the opset",
  why: "States, slice_update, fused attention, the input form of compressed constants and sub-byte types came with iOS 18; an older opset does not know them.",
  fix: "Export for iOS 18, or without states and grouped palettes for an older system.",
  source: "apple/coremltools converters/mil/mil/ops/defs/iOS18; docs-guides opt-whats-new",
  units: "any",
  check: (files) =>
    perFunction(
      files,
      ({ fn, operations }) =>
        specificationOf(fn.opset) >= since.constantInputs
          ? []
          : operations
              .filter(
                (op) =>
                  since18.has(op.type) ||
                  (op.type.startsWith("constexpr_") && Object.keys(op.inputs).length > 0) ||
                  op.outputs.some((o) => subByte.test(dtypeOfMil.get(tensorOf(o.type)?.dataType ?? 0) ?? "")),
              )
              .map(outputName),
      (names, { fn }) => `${plural(names.length, "operation")} newer than opset ${fn.opset}`,
    ),
});

const fixedShapes = fileRule({
  id: "files/fixed-shapes",
  severity: "warning",
  title: "Every shape is fixed",
  why: "A flexible dimension takes the whole function off the Neural Engine, and nothing here can execute it.",
  fix: "Write one function per length and context over the same weights.",
  source: "apple/coreai-models neural engine rules; apple/coremltools issues 2548, 1761",
  units: "any",
  check(files) {
    const open = (type: mil.ValueType | undefined): boolean =>
      tensorOf(type)?.dimensions.some((d) => d.dimension.case === "unknown") ?? false;
    return perFunction(
      files,
      ({ fn, operations }) => [
        ...fn.inputs.filter((i) => open(i.type)).map((i) => i.name),
        ...operations.filter((op) => op.outputs.some((o) => open(o.type))).map(outputName),
      ],
      (names) => `${plural(names.length, "value")} with a dimension that is not fixed`,
    );
  },
});

const controlFlow = fileRule({
  id: "files/control-flow",
  severity: "warning",
  title: "No conditions and loops",
  why: "cond and while_loop never run on the Neural Engine and split the program around them; this reader does not execute them either.",
  fix: "Unroll the loop, or compute both sides and blend them with a mask from the host.",
  source: "smpanaro/more-ane-transformers notes; apple/coreai-models neural engine rules",
  units: "any",
  check: (files) =>
    perFunction(
      files,
      ({ operations }) => operations.filter((op) => op.blocks.length > 0).map(outputName),
      (names) => `${plural(names.length, "operation")} with a block of its own`,
    ),
});

/** Of topk, and legal only when it returns indices. */
const ONLY_WITH_INDICES = "output_indices_dtype";

const argumentsPresent = fileRule({
  id: "files/arguments-present",
  severity: "error",
  title: "Every argument with a default is written out",
  why: "Apple's parser on the device rejects operations that leave out arguments the documentation calls optional (keep_dims, transpose_x, pad_type, epsilon …), although coremltools fills them in.",
  fix: "Bind every argument that has a default other than none; the writer here does.",
  source: "microsoft/onnxruntime CoreML execution provider; rustnn; the corpus of coremltools-written programs",
  units: "any",
  check(files) {
    const missing = (op: mil.Operation, specification: number): string[] =>
      Object.entries(opTable.get(op.type)?.params ?? {})
        .filter(([name, p]) => p.default !== null && !(name in op.inputs) && name !== ONLY_WITH_INDICES)
        // In the older form of a constant they are attributes.
        .filter(([name]) => !(name in op.attributes))
        .filter(([name]) => (argumentsSince.get(`${op.type} ${name}`) ?? 0) <= specification)
        .map(([name]) => name);
    const lacking = new Map<string, string>();
    return perFunction(
      files,
      ({ fn, operations }) =>
        operations.flatMap((op) => {
          const names = missing(op, specificationOf(fn.opset));
          if (names.length === 0) return [];
          lacking.set(outputName(op), `${op.type} lacks ${names.join(", ")}`);
          return [outputName(op)];
        }),
      (names) => `${plural(names.length, "operation")}: ${lacking.get(names[0] ?? "")}`,
    );
  },
});

const sameTypes = new Set(
  "add sub mul real_div maximum minimum pow floor_div mod equal not_equal less less_equal greater greater_equal matmul".split(
    " ",
  ),
);

const operandTypes = fileRule({
  id: "files/operand-types",
  severity: "error",
  title: "Both operands have one element type",
  why: "The device's parser wants exactly the same element type on both sides: an fp16 tensor times an fp32 −1.0 is refused.",
  fix: "Write the constant in the other operand's type.",
  source: "microsoft/onnxruntime CoreML execution provider; apple/coremltools MIL operator documentation",
  units: "any",
  check: (files) =>
    perFunction(
      files,
      ({ fn, operations }) => {
        const types = new Map<string, number>();
        for (const v of [...fn.inputs, ...operations.flatMap((op) => op.outputs)])
          types.set(v.name, tensorOf(v.type)?.dataType ?? 0);
        const side = (op: mil.Operation, name: string): number | undefined => {
          const binding = op.inputs[name]?.arguments[0]?.binding;
          if (binding?.case === "name") return types.get(binding.value);
          return binding?.case === "value" ? tensorOf(binding.value.type)?.dataType : undefined;
        };
        return operations
          .filter((op) => {
            if (!sameTypes.has(op.type)) return false;
            const [x, y] = [side(op, "x"), side(op, "y")];
            return x !== undefined && y !== undefined && x !== y;
          })
          .map(outputName);
      },
      (names) => `${plural(names.length, "operation")} on two element types`,
    ),
});

const namesOf = ({ fn, operations }: RawFunction): string[] => [
  ...fn.inputs.map((i) => i.name),
  ...operations.flatMap((op) => op.outputs.map((o) => o.name)),
];

const legalNames = fileRule({
  id: "files/names-legal",
  severity: "error",
  title: "Names are identifiers",
  why: "Names of functions, inputs, outputs and values are letters, digits, _ and @, not starting with a digit; others fail in the text form the device compiles.",
  fix: "Replace dots, slashes and dashes by underscores.",
  source: "apple/coremltools mlmodel/format/MIL.proto",
  units: "any",
  check: (files) =>
    perFunction(
      files,
      (raw) => [raw.name, ...namesOf(raw)].filter((n) => !identifier.test(n)),
      (names) => `"${names[0]}" is not a legal name`,
    ),
});

const reservedNames = fileRule({
  id: "files/names-reserved",
  severity: "error",
  title: "No name is a word of the language",
  why: "A value called tensor, bool or fp16 breaks the text form the device compiles.",
  fix: "Rename the value.",
  source: "microsoft/onnxruntime CoreML execution provider (reserved names)",
  units: "any",
  check: (files) =>
    perFunction(
      files,
      (raw) => namesOf(raw).filter(isReserved),
      (names) => `"${names[0]}" is a reserved word`,
    ),
});

const uniqueNames = fileRule({
  id: "files/names-unique",
  severity: "error",
  title: "Names are made once",
  why: "A program is in single assignment: a second value of the same name makes readers of either undefined.",
  fix: "Give one of them another name.",
  source: "apple/coremltools mlmodel/format/MIL.proto",
  units: "any",
  check: (files) =>
    perFunction(
      files,
      (raw) => {
        const names = namesOf(raw);
        return [...new Set(names.filter((n, i) => names.indexOf(n) !== i))];
      },
      (names) => `${names[0]} is made more than once`,
    ),
});

/** Attributes that are the form of an operation, its name aside. */
function attributesOf(op: mil.Operation, fn: mil.Function): readonly string[] {
  if (op.type === "const") return ["val"];
  const isOld = specificationOf(fn.opset) < since.constantInputs;
  return isOld ? (formAttributes.get(op.type) ?? []) : [];
}

const strayFields = fileRule({
  id: "files/stray-fields",
  severity: "error",
  title: "No fields the loader refuses",
  why: "Apple's reader rejects documentation strings in values, attributes other than `name` on operations, any on functions and blocks, and a program version other than 1. Constants have their value as an attribute, and before iOS 18 compressed constants all their parts.",
  fix: "Leave these fields empty; put provenance into the model's user-defined metadata.",
  source: "apple/coremltools converters/mil/frontend/milproto/load.py",
  units: "any",
  check(files) {
    const program: Found[] =
      files.milProgram.version === 1n && Object.keys(files.milProgram.attributes).every((k) => k === "buildInfo")
        ? []
        : [
            {
              function: null,
              operations: [],
              message: `program version ${files.milProgram.version}, attributes ${Object.keys(files.milProgram.attributes).join(", ") || "none"}`,
            },
          ];
    return [
      ...program,
      ...perFunction(
        files,
        ({ name, fn, block, operations }) => [
          ...(Object.keys(fn.attributes).length + Object.keys(block?.attributes ?? {}).length > 0 ? [name] : []),
          ...operations
            .filter(
              (op) =>
                Object.keys(op.attributes).some((k) => k !== "name" && !attributesOf(op, fn).includes(k)) ||
                valuesOf(op).some((v) => v.docString !== ""),
            )
            .map(outputName),
        ],
        (names) => `${plural(names.length, "place")} with attributes or documentation`,
      ),
    ];
  },
});

const INLINE_BYTES = 65_536;

const largeInline = fileRule({
  id: "files/large-inline",
  severity: "warning",
  title: "Big constants lie in the weight file",
  why: "The protobuf is held in memory whole, may not pass 2 GiB, and shares nothing between functions.",
  fix: "Move constants of ten elements and more to weights/weight.bin.",
  source: "apple/coremltools backend/mil/helper.py; protobuf's message limit",
  units: "any",
  check: (files) =>
    perFunction(
      files,
      ({ operations }) =>
        operations
          .filter((op) =>
            valuesOf(op).some((v) => {
              const inner = v.value.case === "immediateValue" ? v.value.value.value : undefined;
              const t = inner?.case === "tensor" ? inner.value.value : undefined;
              return t?.case !== undefined && t.value.values.length > INLINE_BYTES;
            }),
          )
          .map(outputName),
      (names) => `${plural(names.length, "constant")} of more than ${INLINE_BYTES} elements or bytes in the protobuf`,
    ),
});

const unusedBlobs = fileRule({
  id: "files/unused-blobs",
  severity: "warning",
  title: "Every blob is used",
  why: "A blob no value points at is shipped, hashed and downloaded for nothing.",
  fix: "Export again; an older export's blobs were left in the file.",
  source: "Core ML blob storage v2",
  units: "any",
  check(files) {
    if (!files.weights) return null;
    const used = new Set<number>();
    for (const { operations } of rawFunctions(files))
      for (const op of operations)
        for (const v of valuesOf(op)) if (v.value.case === "blobFileValue") used.add(Number(v.value.value.offset));
    const idle = [...files.weights.records.values()].filter((r) => !used.has(r.offset));
    if (idle.length === 0) return [];
    const sizeBytes = idle.reduce((n, r) => n + r.sizeBytes, 0);
    return [
      {
        function: null,
        operations: idle.map((r) => `blob@${r.offset}`),
        message: `${plural(idle.length, "blob")} of ${sizeBytes} bytes that nothing reads`,
      },
    ];
  },
});

/** Smaller duplicates are not worth a look. */
const DUPLICATE_BYTES = 4096;

const duplicateBlobs = fileRule({
  id: "files/duplicate-blobs",
  severity: "warning",
  title: "Equal weights are stored once",
  why: "Functions share a weight when their values point at one blob; a second copy doubles the download and the memory.",
  fix: "Write equal blobs once, by content; the writer here does.",
  source: "apple/coremltools save_multifunction (shares by content hash)",
  units: "any",
  check(files) {
    const { weights } = files;
    if (!weights) return null;
    const hash = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
    const big = [...weights.records.values()].filter((r) => r.sizeBytes >= DUPLICATE_BYTES);
    // Only blobs that begin alike are read whole.
    const alike = groupBy(big, (r) => `${r.dtype} ${r.sizeBytes} ${hash(weights.readStored(r, DUPLICATE_BYTES))}`);
    const copies = [...alike.values()]
      .filter((group) => group.length > 1)
      .flatMap((group) => [...groupBy(group, (r) => hash(weights.readStored(r))).values()])
      .flatMap((equal) => equal.slice(1));
    if (copies.length === 0) return [];
    return [
      {
        function: null,
        operations: copies.map((r) => `blob@${r.offset}`),
        message: `${plural(copies.length, "blob")}, ${copies.reduce((n, r) => n + r.sizeBytes, 0)} bytes, stored a second time`,
      },
    ];
  },
});

const metadata = fileRule({
  id: "files/provenance",
  severity: "info",
  title: "The package says where it comes from",
  why: "A report from a phone is joined to its package by these fields; without them a measured number belongs to nothing.",
  fix: "Write a short description and user-defined metadata naming model, context and recipe.",
  source: "Core ML Metadata message; swift-transformers' co.huggingface.exporters.name convention",
  units: "any",
  check({ message }) {
    const m = message.description?.metadata;
    const lacking = [
      ...(m?.shortDescription ? [] : ["a short description"]),
      ...(Object.keys(m?.userDefined ?? {}).length > 0 ? [] : ["user-defined fields"]),
    ];
    return lacking.length === 0
      ? []
      : [{ function: null, operations: [], message: `without ${lacking.join(" and ")}` }];
  },
});

export const fileRules: readonly FileRule[] = [
  READABLE,
  opset,
  availability,
  fixedShapes,
  controlFlow,
  argumentsPresent,
  operandTypes,
  legalNames,
  reservedNames,
  uniqueNames,
  strayFields,
  largeInline,
  unusedBlobs,
  duplicateBlobs,
  metadata,
];
