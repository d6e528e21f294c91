/**
 * @file The facts about each operation in the table of MIL operations: arguments, type inference,
 * gradient, cost.
 *
 * Reference: Apple's MIL operator documentation for iOS 18 (opset CoreML8). One entry per op in `lib/mil/ops`;
 * engines lower from the same entries, packages are written and read from them, and the conformance suite
 * walks them. An op is refused when it is built, naming the op, the parameter, what was expected and found.
 */
import { EspalierError } from "../errors.ts";
import type { Builder } from "./builder.ts";
import type { Operation, ParamValue, Value } from "./program.ts";
import { type DType, elementCount, type Shape, showType, type TensorType, type ValueType } from "./types.ts";

export interface InputSpec {
  readonly dtypes: readonly DType[] | "any" | "state";
  readonly optional?: true;
  readonly variadic?: true;
}

export interface ParamSpec {
  readonly kind: "int" | "float" | "bool" | "string" | "ints" | "bools";
  /** Absent for a required parameter; `null` for an optional one that is left out of packages when not given. */
  readonly default?: ParamValue | null;
  readonly choices?: readonly string[];
}

/** Thunks for the gradients of inputs; only those asked for are built. Absent keys are not differentiable. */
export type InputGradients = Record<string, (() => Value) | (() => (Value | null)[])>;

export interface GradientContext {
  readonly b: Builder;
  readonly op: OpArguments;
  readonly outputs: readonly Value[];
  /** The gradient of output `i`; zeros are made when the output does not reach the loss. */
  dy(i?: number): Value;
  readonly hasGradient: readonly boolean[];
}

export interface OpSpec {
  readonly type: string;
  readonly inputs: Readonly<Record<string, InputSpec>>;
  readonly params: Readonly<Record<string, ParamSpec>>;
  /** Every element of the result is an element of an operand, a bound that all types hold, or a whole number: nothing to round. */
  readonly exact?: true;
  /** The result is the operand `x` in another order, shape or selection. */
  readonly moves?: true;
  /** Made of constants alone, before the program runs. */
  readonly constant?: true;
  readonly stateful?: "read" | "write";
  infer(op: OpArguments): ValueType[];
  gradient?(context: GradientContext): InputGradients;
  /** Floating point operations; defaults to one per output element. */
  flops?(op: OpArguments, outputs: readonly ValueType[]): number;
}

export type OpInputs = Readonly<Record<string, Value | readonly Value[]>>;

/** The arguments of one operation, with accessors that check what they return. */
export class OpArguments {
  readonly type: string;
  readonly inputs: OpInputs;
  readonly params: Readonly<Record<string, ParamValue>>;

  constructor(type: string, inputs: OpInputs, params: Readonly<Record<string, ParamValue>>) {
    this.type = type;
    this.inputs = inputs;
    this.params = params;
  }

  has(name: string): boolean {
    return name in this.inputs || name in this.params;
  }
  value(name: string): Value {
    const v = this.inputs[name];
    if (v === undefined || isValues(v)) return this.fail(name, "one value", v === undefined ? "nothing" : "a list");
    return v;
  }
  optional(name: string): Value | null {
    return name in this.inputs ? this.value(name) : null;
  }
  values(name: string): readonly Value[] {
    const v = this.inputs[name];
    if (v === undefined || !isValues(v))
      return this.fail(name, "a list of values", v === undefined ? "nothing" : "one value");
    return v;
  }
  tensor(name: string): TensorType {
    const { type } = this.value(name);
    return type.kind === "tensor" ? type : this.fail(name, "a tensor", showType(type));
  }
  shape(name: string): Shape {
    return this.tensor(name).shape;
  }
  int(name: string): number {
    const v = this.params[name];
    return typeof v === "number" ? v : this.fail(name, "an integer", show(v));
  }
  float(name: string): number {
    return this.int(name);
  }
  bool(name: string): boolean {
    const v = this.params[name];
    return typeof v === "boolean" ? v : this.fail(name, "a boolean", show(v));
  }
  string(name: string): string {
    const v = this.params[name];
    return typeof v === "string" ? v : this.fail(name, "a string", show(v));
  }
  ints(name: string): readonly number[] {
    const v = this.params[name];
    if (!Array.isArray(v)) return this.fail(name, "a list of integers", show(v));
    return v.map((item: unknown) => (typeof item === "number" ? item : this.fail(name, "a list of integers", show(v))));
  }
  bools(name: string): readonly boolean[] {
    const v = this.params[name];
    if (!Array.isArray(v)) return this.fail(name, "a list of booleans", show(v));
    return v.map((item: unknown) =>
      typeof item === "boolean" ? item : this.fail(name, "a list of booleans", show(v)),
    );
  }
  /** `axis` counted from the front; refuses one outside the rank. */
  axis(name: string, rank: number): number {
    return normalAxis(this, name, this.int(name), rank);
  }
  /** `axes` counted from the front, sorted, unique. */
  axes(name: string, rank: number): number[] {
    const axes = this.ints(name).map((a) => normalAxis(this, name, a, rank));
    if (new Set(axes).size !== axes.length) this.fail(name, "distinct axes", show(axes));
    return axes.sort((x, y) => x - y);
  }
  fail(parameter: string, expected: string, found: string): never {
    throw new EspalierError("program/type", `${this.type}: ${parameter} must be ${expected}, found ${found}`, {
      hint: `See the entry for ${this.type} in lib/mil/ops.`,
    });
  }
}

const show = (v: unknown): string => (v === undefined ? "nothing" : JSON.stringify(v));
const isValues = (v: Value | readonly Value[]): v is readonly Value[] => Array.isArray(v);

function normalAxis(op: OpArguments, name: string, axis: number, rank: number): number {
  const a = axis < 0 ? axis + rank : axis;
  if (!Number.isInteger(a) || a < 0 || a >= rank) op.fail(name, `an axis of a rank-${rank} tensor`, String(axis));
  return a;
}

const table = new Map<string, OpSpec>();

export function defineOp(spec: OpSpec): void {
  table.set(spec.type, spec);
}

/** Every op by its MIL name. Importing `lib/mil/ops/all.ts` fills it. */
export const opTable: ReadonlyMap<string, OpSpec> = table;

export function opSpec(type: string): OpSpec {
  const spec = table.get(type);
  if (!spec) throw new EspalierError("program/unsupported-op", `there is no op "${type}" in the table`);
  return spec;
}

/** Whether an operation is a constant, or makes one of constants. */
export const isConstantOperation = ({ type }: Operation): boolean => table.get(type)?.constant === true;

/** The arguments of an existing operation. */
export const argumentsOf = (op: Operation): OpArguments => new OpArguments(op.type, op.inputs, op.params);

/**
 * Checks arguments against the table, fills in default parameters and infers the output types.
 * Throws `program/type` or `program/unsupported-op`.
 */
export function checkOp(
  type: string,
  inputs: OpInputs,
  given: Readonly<Record<string, ParamValue>>,
): { params: Record<string, ParamValue>; outputs: ValueType[] } {
  const spec = opSpec(type);
  const params: Record<string, ParamValue> = {};
  const probe = new OpArguments(type, inputs, given);
  for (const name of Object.keys(given))
    if (!(name in spec.params)) probe.fail(name, "a known parameter", show(given[name]));
  for (const [name, p] of Object.entries(spec.params)) {
    const v = given[name] ?? (p.default === null ? undefined : p.default);
    if (v === undefined) {
      if (p.default === undefined && !(name in inputs)) probe.fail(name, `given (${p.kind})`, "nothing");
      continue;
    }
    if (name in inputs) continue;
    if (!matchesKind(v, p.kind)) probe.fail(name, p.kind, show(v));
    if (p.choices && !p.choices.includes(String(v))) probe.fail(name, `one of ${p.choices.join(", ")}`, show(v));
    params[name] = v;
  }
  for (const name of Object.keys(inputs)) if (!(name in spec.inputs)) probe.fail(name, "a known input", "a value");
  for (const [name, i] of Object.entries(spec.inputs)) {
    const v = inputs[name];
    if (v === undefined) {
      if (!i.optional) probe.fail(name, "given", "nothing");
      continue;
    }
    const list = isValues(v) ? v : [v];
    if (isValues(v) !== (i.variadic ?? false))
      probe.fail(name, i.variadic ? "a list of values" : "one value", "the other");
    for (const item of list) {
      if (i.dtypes === "state") {
        if (item.type.kind !== "state") probe.fail(name, "a state", showType(item.type));
      } else if (item.type.kind !== "tensor") {
        probe.fail(name, "a tensor", showType(item.type));
      } else if (i.dtypes !== "any" && !i.dtypes.includes(item.type.dtype)) {
        probe.fail(name, i.dtypes.join(" or "), showType(item.type));
      }
    }
  }
  const op = new OpArguments(type, inputs, params);
  return { params, outputs: spec.infer(op) };
}

function matchesKind(v: ParamValue, kind: ParamSpec["kind"]): boolean {
  if (kind === "int") return typeof v === "number" && Number.isInteger(v);
  if (kind === "float") return typeof v === "number";
  if (kind === "bool") return typeof v === "boolean";
  if (kind === "string") return typeof v === "string";
  if (!Array.isArray(v)) return false;
  return v.every((item: unknown) => (kind === "ints" ? Number.isInteger(item) : typeof item === "boolean"));
}

/** Floating point operations and bytes touched (inputs read, outputs written) by one operation. */
export function opCost(op: Operation): { flops: number; sizeBytes: number } {
  const spec = opSpec(op.type);
  const types = op.outputs.map((o) => o.type);
  const flops = spec.flops
    ? spec.flops(argumentsOf(op), types)
    : types.reduce((n, t) => n + (t.kind === "tensor" ? elementCount(t.shape) : 0), 0);
  const operands = Object.values(op.inputs).flat();
  const sizeBytes = [...operands.map((v) => v.type), ...types].reduce((n, t) => n + typeBytes(t), 0);
  return { flops, sizeBytes };
}

const typeBytes = (t: ValueType): number => {
  const inner = t.kind === "state" ? t.wrapped : t;
  const bits = {
    fp32: 32,
    int32: 32,
    fp16: 16,
    int16: 16,
    uint16: 16,
    int4: 4,
    uint4: 4,
    uint1: 1,
    uint2: 2,
    uint3: 3,
    uint6: 6,
  };
  const width = inner.dtype in bits ? bits[inner.dtype as keyof typeof bits] : 8;
  return Math.ceil((elementCount(inner.shape) * width) / 8);
};
