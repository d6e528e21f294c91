/**
 * @file Reads an `.mlpackage` back into a program, checking everything on the way.
 *
 * Manifest and paths, the protobuf, the interface rules Apple's validator applies, every name, every operation through the op
 * table (arguments, inferred against declared types), every blob. Parameters that a package keeps as `const` operations
 * become parameters again. Of blobs the records are read and checked; their data is read when the program is run or a constant is
 * asked for it, so the package must stay where it is until then. Left out: model types other than ML programs, nested blocks, older opsets' attribute form.
 */
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { fromBinary } from "@bufbuild/protobuf";
import { z } from "zod";
import { EspalierError, toEspalierError } from "../../errors.ts";
import { float16Table } from "../../float16.ts";
import { checkOp, opSpec } from "../../mil/op.ts";
import "../../mil/ops/all.ts";
import type { MilFunction, Operation, ParamValue, Program, Value } from "../../mil/program.ts";
import { newData, type Tensor, type TensorData } from "../../mil/tensor.ts";
import {
  type DType,
  elementCount,
  sameShape,
  sameType,
  showType,
  stateType,
  type TensorType,
  tensorType,
  type ValueType,
} from "../../mil/types.ts";
import { BlobFile } from "./blob-file.ts";
import { dtypeOfFeature, dtypeOfMil, elementsOf, storedSizeBytes } from "./element-types.ts";
import type * as features from "./generated/feature-types_pb.ts";
import type * as mil from "./generated/mil_pb.ts";
import { type FeatureDescription, type Model, ModelSchema } from "./generated/model_pb.ts";
import { WEIGHT_FILE } from "./package-writer.ts";

export interface ReadPackage {
  readonly path: string;
  readonly program: Program;
  readonly specificationVersion: number;
  readonly shortDescription: string;
  readonly userDefined: Readonly<Record<string, string>>;
  readonly modelBytes: number;
  readonly weightBytes: number;
  readonly blobs: number;
}

/** The specification on the wire may not be larger; weights live in their own file. */
const MAX_MODEL_BYTES = 512_000_000;
const MAX_ELEMENTS = 2 ** 40;
/** The specification each opset came with. */
export const opsetSpecifications: ReadonlyMap<string, number> = new Map([
  ["CoreML5", 6],
  ["CoreML6", 7],
  ["CoreML7", 8],
  ["CoreML8", 9],
  ["CoreML9", 10],
]);
export const identifier = /^[A-Za-z_][A-Za-z0-9_@]*$/;

const bad = (what: string, cause?: unknown): EspalierError =>
  new EspalierError("format/malformed", what, {
    hint: "The package is damaged or was written by a tool with a fault; export it again.",
    ...(cause === undefined ? {} : { cause }),
  });

/** What lies in a package's files, the protobuf decoded and nothing of it believed yet. */
export interface PackageFiles {
  readonly path: string;
  readonly message: Model;
  readonly milProgram: mil.Program;
  readonly weights: BlobFile | null;
  readonly modelBytes: number;
}

/** Manifest, protobuf and blob records. Throws `format/…` or `model/missing-file`. */
export async function openPackageFiles(path: string): Promise<PackageFiles> {
  const { modelPath, weightPath } = await readManifest(path);
  const { size, isFile } = await stat(modelPath).then((s) => ({ size: s.size, isFile: s.isFile() }));
  if (!isFile) throw bad(`${modelPath} is not a file`);
  if (size > MAX_MODEL_BYTES) throw bad(`${modelPath} has ${size} bytes, more than ${MAX_MODEL_BYTES}`);
  const bytes = await readFile(modelPath);
  let message: Model;
  try {
    message = fromBinary(ModelSchema, bytes);
  } catch (cause) {
    throw bad(`${modelPath} is not a Core ML model`, cause);
  }
  if (message.type.case !== "mlProgram")
    throw new EspalierError("format/unsupported", `${modelPath} holds no ML program`, {
      hint: "Only ML programs (iOS 15 and later) are read.",
    });
  const { specificationVersion } = message;
  if (specificationVersion < 6 || specificationVersion > 10)
    throw new EspalierError(
      "format/unsupported",
      `${modelPath} has specification ${specificationVersion}, 6 to 10 are read`,
    );
  const weights = weightPath ? BlobFile.open(weightPath) : null;
  return { path, message, milProgram: message.type.value, weights, modelBytes: bytes.length };
}

/** Throws `format/…`, `program/…` or `model/missing-file`, naming file, function, operation, expected and found. */
export const readPackage = async (path: string): Promise<ReadPackage> => readPackageFiles(await openPackageFiles(path));

export function readPackageFiles({ path, message, milProgram, weights, modelBytes }: PackageFiles): ReadPackage {
  return {
    path,
    program: readProgram(message, milProgram, weights),
    specificationVersion: message.specificationVersion,
    shortDescription: message.description?.metadata?.shortDescription ?? "",
    userDefined: { ...message.description?.metadata?.userDefined },
    modelBytes,
    weightBytes: weights?.sizeBytes ?? 0,
    blobs: weights?.records.size ?? 0,
  };
}

const item = z.object({ path: z.string(), name: z.string(), author: z.string(), description: z.string() });
const manifestSchema = z.object({
  fileFormatVersion: z.string(),
  itemInfoEntries: z.record(z.string(), item),
  rootModelIdentifier: z.string(),
});

async function readManifest(path: string): Promise<{ modelPath: string; weightPath: string | null }> {
  const manifestPath = join(path, "Manifest.json");
  const text = await readFile(manifestPath, "utf8").catch((cause: unknown) => {
    throw new EspalierError("model/missing-file", `${path} has no Manifest.json`, {
      hint: "Give the .mlpackage folder.",
      cause,
    });
  });
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw bad(`${manifestPath} is not JSON`, cause);
  }
  const manifest = manifestSchema.safeParse(json);
  if (!manifest.success)
    throw bad(`${manifestPath}: ${manifest.error.issues[0]?.path.join(".")} ${manifest.error.issues[0]?.message}`);
  if (manifest.data.fileFormatVersion !== "1.0.0")
    throw bad(`${manifestPath}: fileFormatVersion ${manifest.data.fileFormatVersion}, 1.0.0 is read`);
  const entries = manifest.data.itemInfoEntries;
  for (const entry of Object.values(entries)) {
    const parts = entry.path.split("/");
    if (entry.path.startsWith("/") || parts.some((p) => p === ".." || p === "." || p === ""))
      throw bad(`${manifestPath}: the path "${entry.path}" leaves the package`);
    await stat(join(path, "Data", ...parts)).catch((cause: unknown) => {
      throw new EspalierError("model/missing-file", `${path}: Data/${entry.path} is missing`, {
        hint: "Copy the package again.",
        cause,
      });
    });
  }
  const root = new Map(Object.entries(entries)).get(manifest.data.rootModelIdentifier);
  if (!root) throw bad(`${manifestPath}: no item is the root model`);
  const weights = Object.values(entries).find((e) => e.name === "weights");
  const weightPath = weights ? join(path, "Data", ...weights.path.split("/"), "weight.bin") : null;
  const present = weightPath ? await stat(weightPath).catch(() => null) : null;
  return { modelPath: join(path, "Data", ...root.path.split("/")), weightPath: present ? weightPath : null };
}

function readProgram(message: Model, program: mil.Program, weights: BlobFile | null): Program {
  if (program.version !== 1n) throw bad(`the program has version ${program.version}, 1 is read`);
  for (const name of Object.keys(program.attributes))
    if (name !== "buildInfo") throw bad(`the program has an unknown attribute ${name}`);
  const names = Object.keys(program.functions);
  if (names.length === 0) throw bad("the program has no functions");
  const cache = new Map<bigint, Tensor>();
  let opset = "";
  const functions = names.map((name) => {
    const fn = program.functions[name] as mil.Function;
    opset ||= fn.opset;
    const needed = opsetSpecifications.get(fn.opset);
    if (needed === undefined)
      throw new EspalierError("format/unsupported", `function ${name} has the opset "${fn.opset}"`, {
        hint: `Known are ${[...opsetSpecifications.keys()].join(", ")}.`,
      });
    if (needed > message.specificationVersion)
      throw bad(`opset ${fn.opset} needs specification ${needed}, the model has ${message.specificationVersion}`);
    if (fn.opset !== opset) throw bad(`function ${name} has opset ${fn.opset}, another has ${opset}`);
    return new FunctionReader(name, fn, weights, cache).read();
  });
  const description = message.description;
  if (!description) throw bad("the model has no description");
  const multi = description.functions.length > 0 || description.defaultFunctionName !== "";
  if (multi) {
    if (message.specificationVersion < 9)
      throw bad(`several functions need specification 9, the model has ${message.specificationVersion}`);
    if (description.input.length + description.output.length + description.state.length > 0)
      throw bad("a model with functions must not have inputs or outputs of its own");
    for (const d of description.functions) {
      const fn = functions.find((f) => f.name === d.name);
      if (!fn) throw bad(`the description names a function ${d.name} that the program lacks`);
      checkInterface(fn, d.input, d.output, d.state);
    }
    if (!functions.some((f) => f.name === description.defaultFunctionName))
      throw bad(`the default function ${description.defaultFunctionName} does not exist`);
    return { opset, functions, defaultFunction: description.defaultFunctionName };
  }
  const main = functions.find((f) => f.name === "main");
  if (!main) throw bad(`the program has no function main, but ${names.join(", ")}`);
  checkInterface(main, description.input, description.output, description.state);
  return { opset, functions, defaultFunction: "main" };
}

/** The description must say what the function is. */
function checkInterface(
  fn: MilFunction,
  inputs: FeatureDescription[],
  outputs: FeatureDescription[],
  states: FeatureDescription[],
): void {
  const tensors = fn.inputs.filter((i) => i.type.kind === "tensor");
  const kept = fn.inputs.filter((i) => i.type.kind === "state");
  for (const [what, declared, actual] of [
    ["input", inputs, tensors],
    ["output", outputs, fn.outputs],
    ["state", states, kept],
  ] as const) {
    if (declared.length !== actual.length)
      throw bad(`function ${fn.name} has ${actual.length} ${what}s, its description ${declared.length}`);
    for (const d of declared) {
      const v = actual.find((a) => a.name === d.name);
      if (!v) throw bad(`function ${fn.name} has no ${what} ${d.name}`);
      const inner = v.type.kind === "state" ? v.type.wrapped : v.type;
      const said = featureTensor(d, what === "state");
      const shape = inner.shape.length === 0 ? [1] : inner.shape;
      if (said.dtype !== inner.dtype || !sameShape(said.shape, shape)) {
        throw bad(
          `${what} ${d.name} of ${fn.name} is described as ${showType(said)}, the program has ${showType(inner)}`,
        );
      }
      if (what === "state" && inner.dtype !== "fp16") throw bad(`state ${d.name} is ${inner.dtype}; states are fp16`);
    }
  }
}

function featureTensor(d: FeatureDescription, state: boolean): TensorType {
  const type = d.type?.type;
  let array: features.ArrayFeatureType | undefined;
  if (state && type?.case === "stateType" && type.value.type.case === "arrayType") array = type.value.type.value;
  if (!state && type?.case === "multiArrayType") array = type.value;
  if (!array) throw bad(`${d.name} is described with a type that is not read here`);
  const dtype = dtypeOfFeature.get(array.dataType);
  if (!dtype) throw bad(`${d.name} has the element type ${array.dataType}`);
  if (array.shapeFlexibility.case !== undefined)
    throw new EspalierError("format/unsupported", `${d.name} has a flexible shape`);
  return tensorType(
    dtype,
    array.shape.map((n) => dimension(n, d.name)),
  );
}

function dimension(n: bigint, where: string): number {
  if (n < 0n || n > BigInt(MAX_ELEMENTS)) throw bad(`${where} has the dimension ${n}`);
  return Number(n);
}

function readType(type: mil.ValueType | undefined, where: string): ValueType {
  const t = type?.type;
  if (t?.case === "stateType") {
    if (t.value.wrappedType?.type.case !== "tensorType") throw bad(`${where} is a state of no tensor`);
    const wrapped = readType(t.value.wrappedType, where);
    if (wrapped.kind === "tensor") return stateType(wrapped);
  }
  if (t?.case !== "tensorType") throw bad(`${where} has no tensor type`);
  const dtype = dtypeOfMil.get(t.value.dataType);
  if (!dtype) throw new EspalierError("format/unsupported", `${where} has the element type ${t.value.dataType}`);
  const shape = t.value.dimensions.map((d) => {
    if (d.dimension.case !== "constant")
      throw new EspalierError("format/unsupported", `${where} has a dimension that is not fixed`);
    return dimension(d.dimension.value.size, where);
  });
  if (Number(t.value.rank) !== shape.length)
    throw bad(`${where} has rank ${t.value.rank} and ${shape.length} dimensions`);
  // Also true of NaN, an overflow times zero.
  if (!(elementCount(shape) <= MAX_ELEMENTS)) throw bad(`${where} has ${elementCount(shape)} elements`);
  return tensorType(dtype, shape);
}

type Constant =
  | { readonly kind: "tensor"; readonly tensor: Tensor }
  | { readonly kind: "string"; readonly text: string };

class FunctionReader {
  private readonly name: string;
  private readonly fn: mil.Function;
  private readonly weights: BlobFile | null;
  private readonly cache: Map<bigint, Tensor>;
  private readonly operations: Operation[] = [];
  /** Every name the function declares, and those given to inline constants. */
  private readonly taken: Set<string>;
  private readonly values = new Map<string, Value>();
  private readonly constants = new Map<string, Constant>();

  constructor(name: string, fn: mil.Function, weights: BlobFile | null, cache: Map<bigint, Tensor>) {
    this.name = name;
    this.fn = fn;
    this.weights = weights;
    this.cache = cache;
    if (!identifier.test(name)) throw bad(`"${name}" is no name for a function`);
    const block = fn.blockSpecializations[fn.opset];
    const declared = block?.operations.flatMap((op) => op.outputs) ?? [];
    this.taken = new Set([...fn.inputs, ...declared].map((v) => v.name));
  }

  read(): MilFunction {
    if (Object.keys(this.fn.attributes).length > 0) throw bad(`function ${this.name} has attributes`);
    const block = this.fn.blockSpecializations[this.fn.opset];
    if (!block) throw bad(`function ${this.name} has no block for its opset ${this.fn.opset}`);
    if (block.inputs.length > 0 || Object.keys(block.attributes).length > 0)
      throw bad(`the block of ${this.name} has inputs or attributes`);
    const inputs = this.fn.inputs.map(({ name, type }): Value => {
      return { name, type: readType(type, `${this.name}: input ${name}`), producer: null };
    });
    for (const input of inputs) this.define(input.name, input);
    for (const op of block.operations) this.operation(op);
    const outputs = block.outputs.map((name) => this.value(name, `the outputs of ${this.name}`));
    if (outputs.length === 0) throw bad(`function ${this.name} has no outputs`);
    if (new Set(outputs).size !== outputs.length) throw bad(`function ${this.name} gives one output twice`);
    return { name: this.name, inputs, operations: this.operations, outputs };
  }

  private define(name: string, value: Value): void {
    this.checkNew(name);
    this.values.set(name, value);
  }

  private checkNew(name: string): void {
    if (!identifier.test(name)) throw bad(`"${name}" in ${this.name} is no legal name`);
    if (this.values.has(name) || this.constants.has(name)) throw bad(`the name ${name} is made twice in ${this.name}`);
  }

  /** A value by name; a constant becomes one when it is first needed as a tensor. */
  private value(name: string, where: string): Value {
    const known = this.values.get(name);
    if (known) return known;
    const constant = this.constants.get(name);
    if (constant?.kind === "tensor") {
      const value = this.makeConstant(constant.tensor, name);
      this.values.set(name, value);
      return value;
    }
    throw bad(`${where} reads ${name}, which is ${constant ? "a string" : "not made before it"}`);
  }

  private operation(op: mil.Operation): void {
    const where = `${this.name}: ${op.type} ${op.outputs[0]?.name ?? ""}`.trim();
    if (op.blocks.length > 0) throw new EspalierError("format/unsupported", `${where} has nested blocks`);
    for (const name of Object.keys(op.attributes)) {
      if (name !== "name" && !(op.type === "const" && name === "val")) throw bad(`${where} has the attribute ${name}`);
    }
    if (op.type === "const") {
      const out = op.outputs[0];
      if (!out || op.outputs.length !== 1 || Object.keys(op.inputs).length > 0)
        throw bad(`${where}: a constant has one output and no inputs`);
      this.checkNew(out.name);
      const constant = this.constant(op.attributes.val, where);
      const declared = readType(out.type, where);
      const actual: ValueType =
        constant.kind === "string"
          ? tensorType("string", [])
          : { kind: "tensor", dtype: constant.tensor.dtype, shape: constant.tensor.shape };
      if (!sameType(declared, actual))
        throw bad(`${where} is declared ${showType(declared)}, its value is ${showType(actual)}`);
      this.constants.set(out.name, constant);
      return;
    }
    this.computed(op, where);
  }

  private computed(op: mil.Operation, where: string): void {
    const spec = opSpec(op.type);
    const inputs: Record<string, Value | Value[]> = {};
    const params: Record<string, ParamValue> = {};
    if (op.type === "split") this.checkSplit(op, where);
    for (const [name, argument] of Object.entries(op.inputs)) {
      if (!Object.hasOwn(spec.inputs, name) && !Object.hasOwn(spec.params, name))
        throw new EspalierError("program/type", `${where} has no argument ${name}`);
      const bindings = argument.arguments;
      const asParam = name in spec.params ? this.parameter(bindings, where, name, spec.params[name]?.kind) : null;
      if (asParam !== null) params[name] = asParam;
      else {
        const values = bindings.map((b) =>
          this.bound(b, `${where}: ${name}`, `${op.outputs[0]?.name ?? op.type}_${name}`),
        );
        const [only] = values;
        if (spec.inputs[name]?.variadic) inputs[name] = values;
        else if (only && values.length === 1) inputs[name] = only;
        else throw bad(`${where}: ${name} has ${values.length} values`);
      }
    }
    const outputs = this.emit(op, inputs, params, where);
    for (const made of outputs) this.define(made.name, made);
    if (op.type === "constexpr_sparse_to_dense") checkMask(inputs, where);
  }

  /** The operation under its declared names, its declared types compared with those the op table infers. */
  private emit(
    op: mil.Operation,
    inputs: Record<string, Value | Value[]>,
    given: Record<string, ParamValue>,
    where: string,
  ): readonly Value[] {
    let checked: ReturnType<typeof checkOp>;
    try {
      checked = checkOp(op.type, inputs, given);
    } catch (thrown) {
      const { code, message, hint } = toEspalierError(thrown);
      throw new EspalierError(code, `${where}: ${message}`, { cause: thrown, ...(hint ? { hint } : {}) });
    }
    if (checked.outputs.length !== op.outputs.length)
      throw bad(`${where} gives ${checked.outputs.length} values, ${op.outputs.length} are declared`);
    const types = op.outputs.map((declared, i) => {
      const type = readType(declared.type, where);
      const inferred = checked.outputs[i];
      if (inferred && sameType(type, inferred)) return type;
      throw new EspalierError(
        "program/type",
        `${where} is declared ${showType(type)}, inference gives ${inferred ? showType(inferred) : "nothing"}`,
      );
    });
    const outputs: Value[] = [];
    const name = op.outputs[0]?.name ?? op.type;
    const operation: Operation = { type: op.type, name, inputs, params: checked.params, outputs };
    types.forEach((type, i) => {
      outputs.push({ name: op.outputs[i]?.name ?? name, type, producer: operation });
    });
    this.operations.push(operation);
    return outputs;
  }

  /** Inference makes as many types as are asked for; a damaged number must not ask for millions. */
  private checkSplit(op: mil.Operation, where: string): void {
    const parts = op.inputs.num_splits
      ? this.parameter(op.inputs.num_splits.arguments, where, "num_splits", "int")
      : null;
    if (parts !== null && parts !== op.outputs.length)
      throw bad(`${where} splits in ${parts}, ${op.outputs.length} outputs are declared`);
  }

  private makeConstant(constant: Tensor, name: string): Value {
    const outputs: Value[] = [];
    const operation: Operation = { type: "const", name, inputs: {}, params: {}, outputs, constant };
    const value: Value = {
      name,
      type: { kind: "tensor", dtype: constant.dtype, shape: constant.shape },
      producer: operation,
    };
    outputs.push(value);
    this.operations.push(operation);
    return value;
  }

  private bound(binding: mil.Argument_Binding, where: string, wanted: string): Value {
    if (binding.binding.case === "name") return this.value(binding.binding.value, where);
    if (binding.binding.case !== "value") throw bad(`${where} is bound to nothing`);
    const constant = this.constant(binding.binding.value, where);
    if (constant.kind === "string") throw bad(`${where} is a string`);
    let name = wanted;
    for (let i = 0; this.taken.has(name); i++) name = `${wanted}_${i}`;
    this.taken.add(name);
    return this.makeConstant(constant.tensor, name);
  }

  /** A parameter's value when it is known now; null when it is computed at run time. */
  private parameter(
    bindings: mil.Argument_Binding[],
    where: string,
    name: string,
    kind: string | undefined,
  ): ParamValue | null {
    const binding = bindings[0]?.binding;
    if (bindings.length !== 1 || binding === undefined) throw bad(`${where}: ${name} has ${bindings.length} values`);
    let constant: Constant | undefined;
    if (binding.case === "name") constant = this.constants.get(binding.value);
    else if (binding.case === "value") constant = this.constant(binding.value, where);
    if (!constant) return null;
    if (constant.kind === "string") return constant.text;
    const { dtype, shape, data } = constant.tensor;
    const numbers = [...data].map((v) => (dtype === "fp16" ? (float16Table()[v] as number) : v));
    const values = dtype === "bool" ? numbers.map((v) => v !== 0) : numbers;
    if (shape.length === 0 && kind !== "ints" && kind !== "bools") return values[0] as ParamValue;
    return values as ParamValue;
  }

  private constant(value: mil.Value | undefined, where: string): Constant {
    if (!value) throw bad(`${where} has no value`);
    if (value.docString !== "") throw bad(`${where} has a doc string`);
    const type = readType(value.type, where);
    if (type.kind !== "tensor") throw bad(`${where} is a state`);
    if (value.value.case === "blobFileValue")
      return { kind: "tensor", tensor: this.blob(value.value.value, type, where) };
    if (value.value.case !== "immediateValue" || value.value.value.value.case !== "tensor")
      throw bad(`${where} has a value of a kind that is not read here`);
    return immediateConstant(value.value.value.value.value, type, where);
  }

  private blob(reference: mil.Value_BlobFileValue, type: TensorType, where: string): Tensor {
    if (reference.fileName !== WEIGHT_FILE) throw bad(`${where} lies in ${reference.fileName}`);
    const { weights } = this;
    const record = weights?.records.get(Number(reference.offset));
    if (!weights || !record) throw bad(`${where}: no blob begins at byte ${reference.offset} of the weight file`);
    const count = elementCount(type.shape);
    if (record.dtype !== type.dtype || record.elements !== count) {
      throw bad(
        `${where} is ${showType(type)}, the blob at byte ${reference.offset} holds ${record.elements} elements of ${record.dtype}`,
      );
    }
    const known = this.cache.get(reference.offset);
    if (known && sameShape(known.shape, type.shape)) return known;
    const made = new BlobTensor(type, () => known?.data ?? weights.read(record));
    this.cache.set(reference.offset, made);
    return made;
  }
}

/** A tensor whose data is read from the weight file when somebody asks for it, once. */
class BlobTensor implements Tensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  private readonly read: () => TensorData;
  private known: TensorData | null = null;

  constructor(type: TensorType, read: () => TensorData) {
    this.dtype = type.dtype;
    this.shape = type.shape;
    this.read = read;
  }

  get data(): TensorData {
    this.known ??= this.read();
    return this.known;
  }

  /** The data, not kept: for whoever looks at every weight once. */
  peek(): TensorData {
    return this.known ?? this.read();
  }
}

/** The data of a constant without keeping what has to be read from a file. */
export const peekData = (t: Tensor): TensorData => (t instanceof BlobTensor ? t.peek() : t.data);

/** The mask of a sparse weight has as many ones as there are values. */
function checkMask(inputs: Readonly<Record<string, Value | Value[]>>, where: string): void {
  const constantOf = (name: string): Tensor | undefined => [inputs[name] ?? []].flat()[0]?.producer?.constant;
  const [mask, values] = [constantOf("mask"), constantOf("nonzero_data")];
  if (!mask || !values) return;
  let ones = 0;
  for (const bit of mask.data) ones += bit;
  const count = elementCount(values.shape);
  if (ones !== count) throw bad(`${where}: the mask has ${ones} ones for ${count} values`);
}

function immediateConstant(value: mil.TensorValue, type: TensorType, where: string): Constant {
  const count = elementCount(type.shape);
  const sized = <T>(values: T[]): T[] => {
    if (values.length !== count) throw bad(`${where} is ${showType(type)} with ${values.length} values`);
    return values;
  };
  const v = value.value;
  const { dtype } = type;
  if (dtype === "string") {
    if (v.case !== "strings" || v.value.values.length !== 1) throw bad(`${where} is not one string`);
    return { kind: "string", text: v.value.values[0] ?? "" };
  }
  if (count > 1_000_000) throw bad(`${where} keeps ${count} elements outside the weight file`);
  const data = newData(dtype, count);
  if (dtype === "fp32" && v.case === "floats") data.set(sized(v.value.values));
  else if (dtype === "bool" && v.case === "bools") data.set(sized(v.value.values).map(Number));
  else if ((dtype === "int32" || dtype === "int16" || dtype === "uint16") && v.case === "ints")
    data.set(sized(v.value.values));
  else if (v.case === "bytes") {
    const expected = storedSizeBytes(dtype, count);
    if (v.value.values.length !== expected)
      throw bad(`${where} is ${showType(type)} in ${v.value.values.length} bytes, ${expected} are needed`);
    return { kind: "tensor", tensor: { dtype, shape: type.shape, data: elementsOf(v.value.values, dtype, count) } };
  } else throw bad(`${where} is ${showType(type)} but its value is of the kind ${v.case}`);
  return { kind: "tensor", tensor: { dtype, shape: type.shape, data } };
}
