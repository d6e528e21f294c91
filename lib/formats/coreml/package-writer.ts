/**
 * @file Writes a program as an `.mlpackage`: manifest, protobuf, one weight file that all functions share.
 *
 * Reference: Core ML's specification 9 (iOS 18, opset CoreML8). Every parameter becomes a `const` operation bound by name,
 * defaults included, because Apple's parser wants them; constants that feed only `constexpr_*` operations are inline values
 * of those. Tensors of ten elements and more go to `weight.bin`. The same program gives the same bytes. Left out: programs
 * for older systems, pipelines, flexible shapes.
 */
import { createHash } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { EspalierError } from "../../errors.ts";
import { withOutputDirectory } from "../../files/atomic.ts";
import { toFloat16Bits } from "../../float16.ts";
import { opSpec } from "../../mil/op.ts";
import {
  type MilFunction,
  type Operation,
  operandValues,
  type ParamValue,
  type Program,
  type Value,
} from "../../mil/program.ts";
import { type Tensor, tensor, zeros } from "../../mil/tensor.ts";
import { type DType, isFloat, type ValueType } from "../../mil/types.ts";
import { BlobFileWriter } from "./blob-file.ts";
import { featureDataTypes, isBlobDType, isFeatureDType, milDataTypes, storedBytes } from "./element-types.ts";
import * as features from "./generated/feature-types_pb.ts";
import * as mil from "./generated/mil_pb.ts";
import * as model from "./generated/model_pb.ts";

export const WEIGHT_FILE = "@model_path/weights/weight.bin";
const SPECIFICATION_VERSION = 9;
const OPSET = "CoreML8";
const identifier = /^[A-Za-z_][A-Za-z0-9_@]*$/;
/** Tensors with fewer elements stay in the protobuf. */
const BLOB_THRESHOLD = 10;

export interface PackageMetadata {
  readonly shortDescription: string;
  readonly author: string;
  readonly license: string;
  readonly version: string;
  /** Kept by Core ML as the model's creator-defined metadata. */
  readonly userDefined: Readonly<Record<string, string>>;
}

export interface WrittenPackage {
  /** Of all files. */
  readonly sizeBytes: number;
  readonly weightBytes: number;
  readonly modelBytes: number;
}

/** Writes `path` (which must end in `.mlpackage`), whole or not at all. Throws `export/unsupported`, `store/…`. */
export async function writePackage(
  path: string,
  program: Program,
  metadata: PackageMetadata,
  options: { replace?: boolean } = {},
): Promise<WrittenPackage> {
  if (!path.endsWith(".mlpackage")) {
    throw new EspalierError("input/invalid", `a package must be named *.mlpackage, found ${path}`, {
      hint: "Xcode knows it by that ending.",
    });
  }
  checkProgram(program);
  return withOutputDirectory(path, (folder) => writeContents(folder, program, metadata), options);
}

/** Throws `export/unsupported` or `program/structure` for what no package can say. */
function checkProgram(program: Program): void {
  if (program.opset !== OPSET)
    throw new EspalierError("export/unsupported", `the program has opset ${program.opset}, ${OPSET} is written`);
  const names = program.functions.map((f) => f.name);
  const illegal = names.find((name) => !identifier.test(name));
  if (illegal !== undefined)
    throw new EspalierError("program/structure", `"${illegal}" is no legal name for a function`);
  if (new Set(names).size !== names.length || !names.includes(program.defaultFunction)) {
    throw new EspalierError(
      "program/structure",
      `functions ${names.join(", ")} with the default ${program.defaultFunction}: names must be distinct and hold it`,
    );
  }
  for (const fn of program.functions) {
    for (const o of fn.outputs) {
      const source = o.producer?.type ?? "input";
      if (source !== "input" && source !== "const" && !source.startsWith("constexpr_")) continue;
      throw new EspalierError("export/unsupported", `${fn.name}: the output ${o.name} is itself a ${source}`, {
        hint: "Core ML wants an operation there; add an identity.",
      });
    }
  }
}

async function writeContents(folder: string, program: Program, metadata: PackageMetadata): Promise<WrittenPackage> {
  const root = join(folder, "Data", "com.apple.CoreML");
  await mkdir(join(root, "weights"), { recursive: true });
  const blobs = await BlobFileWriter.create(join(root, "weights", "weight.bin"));
  try {
    const functions: Record<string, mil.Function> = {};
    for (const fn of [...program.functions].sort((a, b) => (a.name < b.name ? -1 : 1))) {
      functions[fn.name] = await new FunctionWriter(fn, program.opset, blobs).write();
    }
    const weights = await blobs.finish();
    const message = create(model.ModelSchema, {
      specificationVersion: SPECIFICATION_VERSION,
      description: describe(program, metadata),
      type: { case: "mlProgram", value: create(mil.ProgramSchema, { version: 1n, functions }) },
    });
    const bytes = toBinary(model.ModelSchema, message);
    await writeFile(join(root, "model.mlmodel"), bytes);
    const identity = createHash("sha256").update(bytes).update(weights.contentHash).digest("hex");
    const manifest = manifestText(identity);
    await writeFile(join(folder, "Manifest.json"), manifest);
    return {
      sizeBytes: bytes.length + weights.sizeBytes + manifest.length,
      weightBytes: weights.sizeBytes,
      modelBytes: bytes.length,
    };
  } catch (thrown) {
    await blobs.abandon();
    throw thrown;
  }
}

/** A UUID (version 5 in form) from the content, so that equal packages have equal identifiers. */
function uuidOf(text: string): string {
  const h = createHash("sha256").update(text).digest("hex");
  const variant = ((Number.parseInt(h.slice(16, 18), 16) & 0x3f) | 0x80).toString(16);
  return `${h.slice(0, 8)}-${h.slice(8, 12)}-5${h.slice(13, 16)}-${variant}${h.slice(18, 20)}-${h.slice(20, 32)}`;
}

function manifestText(identity: string): string {
  const author = "com.apple.CoreML";
  const [spec, weights] = [uuidOf(`model ${identity}`), uuidOf(`weights ${identity}`)];
  const manifest = {
    fileFormatVersion: "1.0.0",
    itemInfoEntries: {
      [spec]: {
        author,
        description: "CoreML Model Specification",
        name: "model.mlmodel",
        path: `${author}/model.mlmodel`,
      },
      [weights]: { author, description: "CoreML Model Weights", name: "weights", path: `${author}/weights` },
    },
    rootModelIdentifier: spec,
  };
  return `${JSON.stringify(manifest, null, 4)}\n`;
}

function describe(program: Program, metadata: PackageMetadata): model.ModelDescription {
  const feature = (v: Value): model.FeatureDescription =>
    create(model.FeatureDescriptionSchema, { name: v.name, type: featureType(v) });
  const parts = (fn: MilFunction) => ({
    input: fn.inputs.filter((i) => i.type.kind === "tensor").map(feature),
    output: fn.outputs.map(feature),
    state: fn.inputs.filter((i) => i.type.kind === "state").map(feature),
  });
  const userDefined = Object.fromEntries(Object.entries(metadata.userDefined).sort(([a], [b]) => (a < b ? -1 : 1)));
  const common = {
    metadata: create(model.MetadataSchema, {
      shortDescription: metadata.shortDescription,
      author: metadata.author,
      license: metadata.license,
      versionString: metadata.version,
      userDefined,
    }),
  };
  const [only, ...more] = program.functions;
  if (only && more.length === 0 && only.name === "main")
    return create(model.ModelDescriptionSchema, { ...parts(only), ...common });
  return create(model.ModelDescriptionSchema, {
    ...common,
    functions: program.functions.map((fn) => create(model.FunctionDescriptionSchema, { name: fn.name, ...parts(fn) })),
    defaultFunctionName: program.defaultFunction,
  });
}

function featureType(v: Value): features.FeatureType {
  const inner = v.type.kind === "state" ? v.type.wrapped : v.type;
  if (v.type.kind === "state" && inner.dtype !== "fp16")
    throw new EspalierError(
      "export/unsupported",
      `the state ${v.name} is ${inner.dtype}; Core ML keeps states in fp16`,
    );
  if (!isFeatureDType(inner.dtype)) {
    throw new EspalierError(
      "export/unsupported",
      `${v.name} is ${inner.dtype}; inputs and outputs are fp16, fp32 or int32`,
    );
  }
  const array = create(features.ArrayFeatureTypeSchema, {
    // A scalar crosses the boundary as one element.
    shape: (inner.shape.length === 0 ? [1] : inner.shape).map(BigInt),
    dataType: featureDataTypes[inner.dtype],
  });
  return create(features.FeatureTypeSchema, {
    type:
      v.type.kind === "state"
        ? {
            case: "stateType",
            value: create(features.StateFeatureTypeSchema, { type: { case: "arrayType", value: array } }),
          }
        : { case: "multiArrayType", value: array },
  });
}

/** Names Core ML's text form gives a meaning of its own. */
const reserved = new Set([
  "any",
  "bool",
  "program",
  "func",
  "tensor",
  "list",
  "dict",
  "tuple",
  "true",
  "false",
  "string",
  "const",
  "state",
]);
export const isReserved = (name: string): boolean => reserved.has(name) || /^(fp|int|uint|bf)\d+$/.test(name);

class FunctionWriter {
  private readonly fn: MilFunction;
  private readonly opset: string;
  private readonly blobs: BlobFileWriter;
  private readonly names = new Map<Value, string>();
  private readonly taken = new Set<string>();
  private readonly operations: mil.Operation[] = [];
  private readonly constants = new Map<string, string>();

  constructor(fn: MilFunction, opset: string, blobs: BlobFileWriter) {
    this.fn = fn;
    this.opset = opset;
    this.blobs = blobs;
    // Names at the boundary are given; all others make way for them.
    for (const v of [...fn.inputs, ...fn.outputs]) {
      if (isReserved(v.name))
        throw new EspalierError(
          "export/unsupported",
          `"${v.name}" is a reserved word of Core ML and cannot name an input or output`,
        );
      this.names.set(v, v.name);
      this.taken.add(v.name);
    }
  }

  async write(): Promise<mil.Function> {
    const inline = this.constantsOnlyForConstexprs();
    for (const op of this.fn.operations) {
      if (inline.has(op)) continue;
      if (op.type === "const") await this.writeConstant(op);
      else if (op.type.startsWith("constexpr_")) await this.writeConstexpr(op);
      else await this.writeOperation(op);
    }
    const block = create(mil.BlockSchema, {
      operations: this.operations,
      outputs: this.fn.outputs.map((o) => this.nameOf(o)),
    });
    return create(mil.FunctionSchema, {
      opset: this.opset,
      inputs: this.fn.inputs.map((i) => this.named(i)),
      blockSpecializations: { [this.opset]: block },
    });
  }

  private constantsOnlyForConstexprs(): Set<Operation> {
    const found = new Set(this.fn.operations.filter((op) => op.type === "const"));
    for (const op of this.fn.operations) {
      if (op.type.startsWith("constexpr_")) continue;
      for (const v of operandValues(op)) if (v.producer) found.delete(v.producer);
    }
    for (const o of this.fn.outputs) if (o.producer) found.delete(o.producer);
    return found;
  }

  private nameOf(v: Value): string {
    const known = this.names.get(v);
    if (known) return known;
    const name = this.fresh(v.name);
    this.names.set(v, name);
    return name;
  }

  private fresh(wanted: string): string {
    const legal = wanted.replace(/[^A-Za-z0-9_@]/g, "_").replace(/^(?=[^A-Za-z_])/, "_");
    const base = isReserved(legal) ? `${legal}_` : legal;
    let name = base;
    for (let i = 0; this.taken.has(name); i++) name = `${base}_v${i}`;
    this.taken.add(name);
    return name;
  }

  private named(v: Value): mil.NamedValueType {
    return create(mil.NamedValueTypeSchema, { name: this.nameOf(v), type: valueType(v.type) });
  }

  private push(
    type: string,
    name: string,
    inputs: Record<string, mil.Argument>,
    outputs: mil.NamedValueType[],
    attributes: Record<string, mil.Value> = {},
  ): void {
    const sorted = <T>(record: Record<string, T>): Record<string, T> =>
      Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)));
    this.operations.push(
      create(mil.OperationSchema, {
        type,
        inputs: sorted(inputs),
        outputs,
        attributes: sorted({ name: stringValue(name), ...attributes }),
      }),
    );
  }

  private async writeConstant(op: Operation): Promise<void> {
    const out = op.outputs[0];
    if (!out || !op.constant) throw new EspalierError("internal/invariant", `internal: const ${op.name} has no data`);
    const name = this.nameOf(out);
    this.push("const", name, {}, [this.named(out)], { val: await this.tensorValue(op.constant) });
  }

  private async writeConstexpr(op: Operation): Promise<void> {
    const inputs: Record<string, mil.Argument> = {};
    for (const [name, operand] of Object.entries(op.inputs)) {
      const value = operand as Value;
      const data = value.producer?.constant;
      inputs[name] = data ? inlineBinding(await this.tensorValue(data)) : nameBinding(this.nameOf(value));
    }
    const spec = opSpec(op.type);
    for (const [name, p] of Object.entries(op.params))
      inputs[name] = inlineBinding(paramValue(p, spec.params[name]?.kind === "float" ? "fp32" : "int32"));
    this.push(
      op.type,
      op.name,
      inputs,
      op.outputs.map((o) => this.named(o)),
    );
  }

  private async writeOperation(op: Operation): Promise<void> {
    const inputs: Record<string, mil.Argument> = {};
    const float = floatParameterType(op);
    for (const [name, operand] of Object.entries(op.inputs)) {
      const values = Array.isArray(operand) ? (operand as readonly Value[]) : [operand as Value];
      inputs[name] = create(mil.ArgumentSchema, {
        arguments: values.map((v) =>
          create(mil.Argument_BindingSchema, { binding: { case: "name", value: this.nameOf(v) } }),
        ),
      });
    }
    const spec = opSpec(op.type);
    for (const [name, p] of Object.entries(op.params)) {
      // Core ML refuses the type of indices that are not returned.
      if (op.type === "topk" && name === "output_indices_dtype" && op.params.return_indices === false) continue;
      const kind = spec.params[name]?.kind;
      inputs[name] = nameBinding(this.parameter(`${op.name}_${name}`, p, kind === "float" ? float : "int32"));
    }
    if (op.type === "linear" && !("bias" in op.inputs)) inputs.bias = nameBinding(await this.zeroBias(op));
    this.push(
      op.type,
      op.name,
      inputs,
      op.outputs.map((o) => this.named(o)),
    );
  }

  /** The name of a constant with a parameter's value; equal ones are written once. */
  private parameter(wanted: string, p: ParamValue, dtype: DType): string {
    const value = paramValue(p, dtype);
    // The bytes, because JSON has one word for both infinities and NaN.
    const key = Buffer.from(toBinary(mil.ValueSchema, value)).toString("base64");
    const known = this.constants.get(key);
    if (known) return known;
    const name = this.fresh(wanted);
    this.push(
      "const",
      name,
      {},
      [create(mil.NamedValueTypeSchema, { name, ...(value.type ? { type: value.type } : {}) })],
      { val: value },
    );
    this.constants.set(key, name);
    return name;
  }

  /** `linear` has a bias in every package Apple's tools write. */
  private async zeroBias(op: Operation): Promise<string> {
    const weight = op.inputs.weight as Value;
    const type = weight.type.kind === "tensor" ? weight.type : null;
    const size = type?.shape[0] ?? 0;
    const key = `zero bias ${type?.dtype} ${size}`;
    const known = this.constants.get(key);
    if (known) return known;
    const name = this.fresh(`zero_bias_${size}`);
    const value = await this.tensorValue(zeros({ dtype: type?.dtype ?? "fp32", shape: [size] }));
    this.push(
      "const",
      name,
      {},
      [create(mil.NamedValueTypeSchema, { name, ...(value.type ? { type: value.type } : {}) })],
      { val: value },
    );
    this.constants.set(key, name);
    return name;
  }

  private async tensorValue(t: Tensor): Promise<mil.Value> {
    const type = valueType({ kind: "tensor", dtype: t.dtype, shape: t.shape });
    if (t.data.length >= BLOB_THRESHOLD && isBlobDType(t.dtype) && t.dtype !== "int32") {
      const offset = await this.blobs.add(t);
      return create(mil.ValueSchema, {
        type,
        value: {
          case: "blobFileValue",
          value: create(mil.Value_BlobFileValueSchema, { fileName: WEIGHT_FILE, offset: BigInt(offset) }),
        },
      });
    }
    return immediate(type, immediateTensor(t));
  }
}

const nameBinding = (name: string): mil.Argument =>
  create(mil.ArgumentSchema, {
    arguments: [create(mil.Argument_BindingSchema, { binding: { case: "name", value: name } })],
  });

const inlineBinding = (value: mil.Value): mil.Argument =>
  create(mil.ArgumentSchema, {
    arguments: [create(mil.Argument_BindingSchema, { binding: { case: "value", value } })],
  });

function valueType(type: ValueType): mil.ValueType {
  if (type.kind === "state") {
    return create(mil.ValueTypeSchema, {
      type: { case: "stateType", value: create(mil.StateTypeSchema, { wrappedType: valueType(type.wrapped) }) },
    });
  }
  const dimensions = type.shape.map((d) =>
    create(mil.DimensionSchema, {
      dimension: { case: "constant", value: create(mil.Dimension_ConstantSchema, { size: BigInt(d) }) },
    }),
  );
  const value = create(mil.TensorTypeSchema, {
    dataType: milDataTypes[type.dtype],
    rank: BigInt(type.shape.length),
    dimensions,
  });
  return create(mil.ValueTypeSchema, { type: { case: "tensorType", value } });
}

const immediate = (type: mil.ValueType, value: mil.TensorValue): mil.Value =>
  create(mil.ValueSchema, {
    type,
    value: {
      case: "immediateValue",
      value: create(mil.Value_ImmediateValueSchema, { value: { case: "tensor", value } }),
    },
  });

function immediateTensor(t: Tensor): mil.TensorValue {
  const numbers = [...t.data];
  if (t.dtype === "fp32")
    return create(mil.TensorValueSchema, {
      value: { case: "floats", value: create(mil.TensorValue_RepeatedFloatsSchema, { values: numbers }) },
    });
  if (t.dtype === "bool") {
    const values = numbers.map((v) => v !== 0);
    return create(mil.TensorValueSchema, {
      value: { case: "bools", value: create(mil.TensorValue_RepeatedBoolsSchema, { values }) },
    });
  }
  if (t.dtype === "int32" || t.dtype === "int16" || t.dtype === "uint16") {
    return create(mil.TensorValueSchema, {
      value: { case: "ints", value: create(mil.TensorValue_RepeatedIntsSchema, { values: numbers }) },
    });
  }
  return create(mil.TensorValueSchema, {
    value: { case: "bytes", value: create(mil.TensorValue_RepeatedBytesSchema, { values: storedBytes(t).slice() }) },
  });
}

const stringValue = (text: string): mil.Value => paramValue(text, "string");

/** MIL wants floating-point parameters in the type of the result, or of the operands where that is none. */
function floatParameterType(op: Operation): DType {
  for (const v of [...op.outputs, ...operandValues(op)])
    if (v.type.kind === "tensor" && isFloat(v.type.dtype)) return v.type.dtype;
  return "fp32";
}

/** A parameter as an immediate value; numbers take the type `dtype`. */
function paramValue(p: ParamValue, dtype: DType): mil.Value {
  const items = Array.isArray(p) ? (p as readonly (number | boolean)[]) : [p];
  const shape = Array.isArray(p) ? [items.length] : [];
  if (typeof p === "string") {
    const value = create(mil.TensorValueSchema, {
      value: { case: "strings", value: create(mil.TensorValue_RepeatedStringsSchema, { values: [p] }) },
    });
    return immediate(valueType({ kind: "tensor", dtype: "string", shape: [] }), value);
  }
  if (items.some((v) => typeof v === "boolean")) {
    return immediate(
      valueType({ kind: "tensor", dtype: "bool", shape }),
      immediateTensor(tensor("bool", shape, Uint8Array.from(items, Number))),
    );
  }
  const numbers = items.map(Number);
  const beyond = dtype === "fp16" ? numbers.find((v) => Number.isFinite(v) && Math.abs(v) >= 65520) : undefined;
  if (beyond !== undefined)
    throw new EspalierError("program/type", `the parameter ${beyond} is beyond fp16's 65504`, {
      hint: "Choose a smaller bound, or compute this operation in fp32.",
    });
  const data =
    dtype === "fp16"
      ? tensor("fp16", shape, Uint16Array.from(numbers, toFloat16Bits))
      : dtype === "fp32"
        ? tensor("fp32", shape, Float32Array.from(numbers))
        : tensor("int32", shape, Int32Array.from(numbers));
  return immediate(valueType({ kind: "tensor", dtype: data.dtype, shape }), immediateTensor(data));
}
