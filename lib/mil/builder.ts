/**
 * @file Builds a MIL function, one checked operation at a time, in a notation close to the maths.
 *
 *   const b = new Builder("block");
 *   const x = b.input("x", fp32(8, 256, 288));
 *   const y = b.add(x, b.matmul(b.softmax(scores), v));
 *   const fn = b.build({ y });
 *
 * A number where a value is expected becomes a scalar constant of the other operand's type. Equal constants and
 * equal operations are built once. Nothing here computes.
 */
import { itemAt } from "../elements.ts";
import { EspalierError } from "../errors.ts";
import { toFloat16Bits } from "../float16.ts";
import "./ops/all.ts";
import { checkOp, type OpInputs } from "./op.ts";
import type { MilFunction, Operation, ParamValue, Value } from "./program.ts";
import { DeferredTensor, type Tensor, tensor } from "./tensor.ts";
import {
  type DType,
  elementCount,
  type Shape,
  showType,
  type TensorType,
  tensorType,
  type ValueType,
} from "./types.ts";

export type Operand = Value | number;
type Params = Record<string, ParamValue>;

const identifier = /^[A-Za-z_][A-Za-z0-9_@]*$/;

export class Builder {
  readonly name: string;
  private readonly operations: Operation[] = [];
  private readonly inputValues: Value[] = [];
  private readonly names = new Set<string>();
  private readonly counters = new Map<string, number>();
  private readonly known = new Map<string, readonly Value[]>();
  private readonly ids = new Map<Value, number>();
  private prefix = "";

  constructor(name: string) {
    this.name = name;
  }

  input(name: string, type: ValueType): Value {
    if (!identifier.test(name)) {
      throw new EspalierError("program/structure", `"${name}" is not a legal value name`, {
        hint: "Use letters, digits and underscores, not starting with a digit.",
      });
    }
    const value = this.newValue(name, type, null);
    this.inputValues.push(value);
    return value;
  }

  /** Runs `body` with `prefix` before the names of all it makes. */
  scope<T>(prefix: string, body: () => T): T {
    const outer = this.prefix;
    this.prefix = `${outer}${prefix}_`;
    const result = body();
    this.prefix = outer;
    return result;
  }

  /** Runs `body` without the prefixes around it: for what belongs to the whole function, such as weights. */
  outside<T>(body: () => T): T {
    const outer = this.prefix;
    this.prefix = "";
    const result = body();
    this.prefix = outer;
    return result;
  }

  constant(data: Tensor, name = "const"): Value {
    const small =
      elementCount(data.shape) <= 16 && !(data instanceof DeferredTensor)
        ? `const|${data.dtype}|${data.shape}|${data.data.join()}`
        : null;
    const before = small ? this.known.get(small)?.[0] : undefined;
    if (before) return before;
    const value = itemAt(this.emit("const", name, {}, {}, [tensorType(data.dtype, data.shape)], data), 0);
    if (small) this.known.set(small, [value]);
    return value;
  }

  scalar(value: number, dtype: DType = "fp32"): Value {
    if (dtype === "fp16") return this.constant(tensor("fp16", [], Uint16Array.of(toFloat16Bits(value))));
    if (dtype === "int32") return this.constant(tensor("int32", [], Int32Array.of(value)));
    if (dtype === "fp32") return this.constant(tensor("fp32", [], Float32Array.of(value)));
    throw new EspalierError("program/type", `a scalar constant cannot be ${dtype}`);
  }

  /** Any op of the table. Throws `program/type` when the arguments do not fit. */
  op(type: string, inputs: OpInputs, params: Params = {}, name: string = type): readonly Value[] {
    const checked = checkOp(type, inputs, params);
    for (const v of Object.values(inputs).flat()) {
      if (!this.ids.has(v)) {
        throw new EspalierError("program/structure", `${type}: value "${v.name}" belongs to another function`);
      }
    }
    const pure = type !== "read_state" && type !== "write_state";
    const key = pure ? this.keyOf(type, inputs, checked.params) : null;
    const before = key ? this.known.get(key) : undefined;
    if (before) return before;
    const outputs = this.emit(type, name, inputs, checked.params, checked.outputs);
    if (key) this.known.set(key, outputs);
    return outputs;
  }

  private one(type: string, inputs: OpInputs, params: Params = {}, name?: string): Value {
    return itemAt(this.op(type, inputs, params, name), 0);
  }

  private keyOf(type: string, inputs: OpInputs, params: Params): string {
    const ins = Object.keys(inputs)
      .sort()
      .map((k) => `${k}=${[inputs[k] as Value | Value[]].flat().map((v) => this.ids.get(v))}`);
    const pars = Object.keys(params)
      .sort()
      .map((k) => `${k}=${JSON.stringify(params[k])}`);
    return `${type}(${ins.join(";")}|${pars.join(";")})`;
  }

  private emit(
    type: string,
    name: string,
    inputs: OpInputs,
    params: Params,
    types: readonly ValueType[],
    constant?: Tensor,
  ) {
    const outputs: Value[] = [];
    const opName = this.freshName(`${this.prefix}${name}`);
    const operation: Operation = { type, name: opName, inputs, params, outputs, ...(constant ? { constant } : {}) };
    types.forEach((t, i) => {
      outputs.push(this.newValue(i === 0 ? opName : this.freshName(`${opName}_${i}`), t, operation, true));
    });
    this.operations.push(operation);
    return outputs as readonly Value[];
  }

  private freshName(base: string): string {
    let name = base;
    while (this.names.has(name)) {
      const n = this.counters.get(base) ?? 0;
      this.counters.set(base, n + 1);
      name = `${base}_${n}`;
    }
    this.names.add(name);
    return name;
  }

  private newValue(name: string, type: ValueType, producer: Operation | null, reserved = false): Value {
    if (!reserved) {
      if (this.names.has(name)) throw new EspalierError("program/structure", `the name "${name}" is taken`);
      this.names.add(name);
    }
    const value: Value = { name, type, producer };
    this.ids.set(value, this.ids.size);
    return value;
  }

  private operand(x: Operand, like: Operand): Value {
    if (typeof x !== "number") return x;
    const dtype = typeof like === "number" ? "fp32" : typeOf(like).dtype;
    return this.scalar(x, dtype);
  }

  private binary(type: string, x: Operand, y: Operand): Value {
    return this.one(type, { x: this.operand(x, y), y: this.operand(y, x) });
  }

  private reduce(type: string, x: Value, axes: readonly number[] | undefined, keepDims: boolean): Value {
    const all = typeOf(x).shape.map((_, i) => i);
    return this.one(type, { x }, { axes: axes ?? all, keep_dims: keepDims });
  }

  // Elementwise
  add = (x: Operand, y: Operand): Value => this.binary("add", x, y);
  sub = (x: Operand, y: Operand): Value => this.binary("sub", x, y);
  mul = (x: Operand, y: Operand): Value => this.binary("mul", x, y);
  div = (x: Operand, y: Operand): Value => this.binary("real_div", x, y);
  pow = (x: Operand, y: Operand): Value => this.binary("pow", x, y);
  maximum = (x: Operand, y: Operand): Value => this.binary("maximum", x, y);
  minimum = (x: Operand, y: Operand): Value => this.binary("minimum", x, y);
  equal = (x: Operand, y: Operand): Value => this.binary("equal", x, y);
  less = (x: Operand, y: Operand): Value => this.binary("less", x, y);
  greater = (x: Operand, y: Operand): Value => this.binary("greater", x, y);
  greaterEqual = (x: Operand, y: Operand): Value => this.binary("greater_equal", x, y);
  lessEqual = (x: Operand, y: Operand): Value => this.binary("less_equal", x, y);
  neg = (x: Value): Value => this.mul(x, -1);
  exp = (x: Value): Value => this.one("exp", { x });
  sqrt = (x: Value): Value => this.one("sqrt", { x });
  square = (x: Value): Value => this.one("square", { x });
  tanh = (x: Value): Value => this.one("tanh", { x });
  sigmoid = (x: Value): Value => this.one("sigmoid", { x });
  silu = (x: Value): Value => this.one("silu", { x });
  erf = (x: Value): Value => this.one("erf", { x });
  sin = (x: Value): Value => this.one("sin", { x });
  cos = (x: Value): Value => this.one("cos", { x });
  sign = (x: Value): Value => this.one("sign", { x });
  log = (x: Value, epsilon = 0): Value => this.one("log", { x }, { epsilon });
  rsqrt = (x: Value, epsilon = 0): Value => this.one("rsqrt", { x }, { epsilon });
  inverse = (x: Value, epsilon = 0): Value => this.one("inverse", { x }, { epsilon });
  gelu = (x: Value, mode: "EXACT" | "TANH_APPROXIMATION" | "SIGMOID_APPROXIMATION" = "EXACT"): Value =>
    this.one("gelu", { x }, { mode });
  cast = (x: Value, dtype: DType): Value => (typeOf(x).dtype === dtype ? x : this.one("cast", { x }, { dtype }));
  select = (cond: Value, a: Operand, b: Operand): Value =>
    this.one("select", { cond, a: this.operand(a, b), b: this.operand(b, a) });

  // Linear algebra and normalization
  matmul = (x: Value, y: Value, options: { transposeX?: boolean; transposeY?: boolean } = {}): Value =>
    this.one(
      "matmul",
      { x, y },
      { transpose_x: options.transposeX ?? false, transpose_y: options.transposeY ?? false },
    );
  linear = (x: Value, weight: Value, bias?: Value): Value =>
    this.one("linear", { x, weight, ...(bias ? { bias } : {}) });
  softmax = (x: Value, axis = -1): Value => this.one("softmax", { x }, { axis });

  // Reductions
  sum = (x: Value, axes?: readonly number[], keepDims = false): Value => this.reduce("reduce_sum", x, axes, keepDims);
  mean = (x: Value, axes?: readonly number[], keepDims = false): Value => this.reduce("reduce_mean", x, axes, keepDims);
  max = (x: Value, axes?: readonly number[], keepDims = false): Value => this.reduce("reduce_max", x, axes, keepDims);
  logSumExp = (x: Value, axes?: readonly number[], keepDims = false): Value =>
    this.reduce("reduce_log_sum_exp", x, axes, keepDims);
  argmax = (x: Value, axis = -1): Value => this.one("reduce_argmax", { x }, { axis });

  // Shape and movement
  reshape = (x: Value, shape: Shape): Value => this.one("reshape", { x }, { shape: [...shape] });
  transpose = (x: Value, perm: readonly number[]): Value => this.one("transpose", { x }, { perm });
  expandDims = (x: Value, axes: readonly number[]): Value => this.one("expand_dims", { x }, { axes });
  squeeze = (x: Value, axes: readonly number[]): Value => this.one("squeeze", { x }, { axes });
  concat = (values: readonly Value[], axis: number): Value => this.one("concat", { values }, { axis });
  split = (x: Value, sizes: readonly number[], axis: number): readonly Value[] =>
    this.op("split", { x }, { split_sizes: sizes, axis });
  tile = (x: Value, reps: readonly number[]): Value => this.one("tile", { x }, { reps });
  /** `x[begin:end]` along every axis, all bounds given. */
  slice = (x: Value, begin: readonly number[], end: readonly number[]): Value =>
    this.one("slice_by_index", { x }, { begin, end });
  sliceUpdate = (
    x: Value,
    update: Value,
    begin: Value,
    end: Value,
    masks: { begin: boolean[]; end: boolean[] },
  ): Value => this.one("slice_update", { x, update, begin, end }, { begin_mask: masks.begin, end_mask: masks.end });
  gather = (x: Value, indices: Value, axis = 0): Value => this.one("gather", { x, indices }, { axis });
  gatherAlongAxis = (x: Value, indices: Value, axis = 0): Value =>
    this.one("gather_along_axis", { x, indices }, { axis });
  scatterAdd = (data: Value, indices: Value, updates: Value, axis = 0): Value =>
    this.one("scatter", { data, indices, updates }, { axis, mode: "add" });
  fill = (shape: Shape, value: number): Value => this.one("fill", {}, { shape: [...shape], value });

  // State
  readState = (input: Value): Value => this.one("read_state", { input });
  writeState = (input: Value, data: Value): void => {
    this.op("write_state", { input, data });
  };

  /** Ends the function. Output names are the keys; a value named otherwise gets that name where it is free. */
  build(outputs: Record<string, Value>): MilFunction {
    const values: Value[] = [];
    for (const [name, value] of Object.entries(outputs)) {
      if (!identifier.test(name)) throw new EspalierError("program/structure", `"${name}" is not a legal output name`);
      if (value.name === name) {
        values.push(value);
        continue;
      }
      if (this.names.has(name)) throw new EspalierError("program/structure", `the output name "${name}" is taken`);
      if (value.producer === null || values.includes(value) || value.producer.type === "const") {
        const copy = itemAt(this.emit("identity", name, { x: value }, {}, [value.type]), 0);
        values.push(copy);
      } else {
        this.names.add(name);
        value.name = name;
        values.push(value);
      }
    }
    return { name: this.name, inputs: [...this.inputValues], operations: [...this.operations], outputs: values };
  }
}

/** The tensor type of a value; throws `program/type` for a state. */
export function typeOf(v: Value): TensorType {
  if (v.type.kind === "tensor") return v.type;
  throw new EspalierError("program/type", `"${v.name}" is ${showType(v.type)}, a tensor was expected`);
}
