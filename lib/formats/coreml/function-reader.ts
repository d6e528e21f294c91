/**
 * @file Reads one function of a package: every name, every operation through the op table (arguments, inferred against
 * declared types). Parameters that a package keeps as `const` operations become parameters again.
 */
import { f32At } from "../../elements.ts";
import { EspalierError, toEspalierError } from "../../errors.ts";
import { float16Table } from "../../float16.ts";
import { checkOp, opSpec } from "../../mil/op.ts";
import "../../mil/ops/all.ts";
import type { MilFunction, Operation, ParamValue, Value } from "../../mil/program.ts";
import type { Tensor } from "../../mil/tensor.ts";
import { elementCount, sameType, showType, tensorType, type ValueType } from "../../mil/types.ts";
import { packBits } from "../bit-packing.ts";
import { readAttributeForm } from "./attribute-form.ts";
import { bad, type Constant, type ConstantReader, readType, StoredTensor } from "./constant-reader.ts";
import type * as mil from "./generated/mil_pb.ts";

export const identifier = /^[A-Za-z_][A-Za-z0-9_@]*$/;
/** More than any compile-time argument has. */
const MAX_PARAMETER_VALUES = 65_536;

/** Reads one function; `attributeConstants` where its opset keeps compressed constants in attributes. */
export class FunctionReader {
  private readonly name: string;
  private readonly fn: mil.Function;
  private readonly stored: ConstantReader;
  private readonly attributeConstants: boolean;
  private readonly operations: Operation[] = [];
  /** Every name the function declares, and those given to inline constants. */
  private readonly taken: Set<string>;
  private readonly values = new Map<string, Value>();
  private readonly constants = new Map<string, Constant>();

  constructor(name: string, fn: mil.Function, stored: ConstantReader, attributeConstants: boolean) {
    this.name = name;
    this.fn = fn;
    this.stored = stored;
    this.attributeConstants = attributeConstants;
    if (!identifier.test(name)) throw bad(`"${name}" cannot be the name of a function`);
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
    if (!identifier.test(name)) throw bad(`"${name}" in ${this.name} is not a legal name`);
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
    if (this.attributeConstants && op.type.startsWith("constexpr_")) {
      this.attributeConstant(op, where);
      return;
    }
    for (const name of Object.keys(op.attributes)) {
      if (name !== "name" && !(op.type === "const" && name === "val")) throw bad(`${where} has the attribute ${name}`);
    }
    if (op.type === "const") {
      const out = op.outputs[0];
      if (!out || op.outputs.length !== 1 || Object.keys(op.inputs).length > 0)
        throw bad(`${where}: a constant has one output and no inputs`);
      this.checkNew(out.name);
      const constant = this.stored.read(op.attributes.val, where);
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

  private attributeConstant(op: mil.Operation, where: string): void {
    if (Object.keys(op.inputs).length > 0) throw bad(`${where} has inputs, before iOS 18 it has attributes`);
    const form = readAttributeForm(op, this.stored, where);
    const inputs: Record<string, Value> = {};
    for (const [name, t] of Object.entries(form.inputs))
      inputs[name] = this.makeConstant(t, this.fresh(`${op.outputs[0]?.name ?? op.type}_${name}`));
    for (const made of this.emit(op, form.type, inputs, form.params, where)) this.define(made.name, made);
    checkMask(form.type, inputs, where);
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
    const outputs = this.emit(op, op.type, inputs, params, where);
    for (const made of outputs) this.define(made.name, made);
    checkMask(op.type, inputs, where);
  }

  /** The operation under its declared names, its declared types compared with those the op table infers. */
  private emit(
    op: mil.Operation,
    opType: string,
    inputs: Record<string, Value | Value[]>,
    given: Record<string, ParamValue>,
    where: string,
  ): readonly Value[] {
    let checked: ReturnType<typeof checkOp>;
    try {
      checked = checkOp(opType, inputs, given);
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
    const operation: Operation = { type: opType, name, inputs, params: checked.params, outputs };
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
    const constant = this.stored.read(binding.binding.value, where);
    if (constant.kind === "string") throw bad(`${where} is a string`);
    return this.makeConstant(constant.tensor, this.fresh(wanted));
  }

  private fresh(wanted: string): string {
    let name = wanted;
    for (let i = 0; this.taken.has(name); i++) name = `${wanted}_${i}`;
    this.taken.add(name);
    return name;
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
    else if (binding.case === "value") constant = this.stored.read(binding.value, where);
    if (!constant) return null;
    if (constant.kind === "string") return constant.text;
    const { dtype, shape } = constant.tensor;
    if (elementCount(shape) > MAX_PARAMETER_VALUES) throw bad(`${where}: ${name} has ${elementCount(shape)} values`);
    const { data } = constant.tensor;
    const numbers = [...data].map((v) => (dtype === "fp16" ? f32At(float16Table(), v) : v));
    const values = dtype === "bool" ? numbers.map((v) => v !== 0) : numbers;
    if (shape.length === 0 && kind !== "ints" && kind !== "bools") return values[0] as ParamValue;
    return values as ParamValue;
  }
}

/** Of each operation on sparse codes, its mask and what stands at the ones. */
const masked: Readonly<Record<string, readonly [mask: string, values: string]>> = {
  constexpr_sparse_to_dense: ["mask", "nonzero_data"],
  constexpr_lut_to_sparse: ["indices_mask", "indices_nonzero_data"],
  constexpr_sparse_blockwise_shift_scale: ["data_mask", "nonzero_data"],
};

/** The mask of a sparse weight has as many ones as there are values. */
function checkMask(opType: string, inputs: Readonly<Record<string, Value | Value[]>>, where: string): void {
  const names = masked[opType];
  if (!names) return;
  const constantOf = (name: string): Tensor | undefined => [inputs[name] ?? []].flat()[0]?.producer?.constant;
  const [mask, values] = names.map(constantOf);
  if (!mask || !values) return;
  const packed = mask instanceof StoredTensor ? mask.packed() : packBits(mask.data as Uint8Array, 1);
  const ones = onesOf(packed);
  const count = elementCount(values.shape);
  if (ones !== count) throw bad(`${where}: the mask has ${ones} ones for ${count} values`);
}

/** Bits that are one. */
function onesOf(bytes: Uint8Array): number {
  let n = 0;
  for (let byte of bytes) for (; byte !== 0; byte &= byte - 1) n++;
  return n;
}
