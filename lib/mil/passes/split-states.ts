/**
 * @file Divides a state whose rows are used apart from each other into one state for each run of rows.
 *
 * A cache for many layers is one state. An engine that copies a state at every write would copy the caches of all layers for
 * every layer. Where every access is a slice with constant bounds along one axis, and all axes before it have one entry, the runs of
 * rows that are used together are states of their own, contiguous in memory. Values are the same, bit for bit. A state is
 * read once, at the beginning, and written once, at the end. Not included: states with any other access; they stay whole.
 */
import { itemAt } from "../../elements.ts";
import { invariant } from "../../errors.ts";
import { checkOp } from "../op.ts";
import type { MilFunction, Operation, ParamValue, Value } from "../program.ts";
import { i32, type Tensor } from "../tensor.ts";
import { type Shape, stateType } from "../types.ts";
import { type Rows, rowsTouched } from "./state-rows.ts";

/** A run of rows of a state, and the state that takes its place. */
export interface StatePart extends Rows {
  readonly name: string;
}

export interface SplitFunction {
  readonly fn: MilFunction;
  /** By the name of a state that was divided: its parts in order, rows that no operation touches left out. */
  readonly parts: ReadonlyMap<string, { readonly axis: number; readonly parts: readonly StatePart[] }>;
}

interface Division {
  readonly axis: number;
  readonly runs: readonly Rows[];
}

type Inputs = Operation["inputs"];

export function splitStates(fn: MilFunction): SplitFunction {
  const divisions = new Map<Value, Division>();
  for (const input of fn.inputs) {
    if (input.type.kind !== "state") continue;
    const division = divide(fn, input, input.type.wrapped.shape);
    if (division) divisions.set(input, division);
  }
  if (divisions.size === 0) return { fn, parts: new Map() };
  return new StateSplitter(fn, divisions).split();
}

/** The runs of rows along the first axis longer than one, if there are several and all accesses are known. */
function divide(fn: MilFunction, state: Value, shape: Shape): Division | null {
  const axis = shape.findIndex((d) => d > 1);
  if (axis < 0) return null;
  const whole = new Set<Value>();
  const touched: Rows[] = [];
  for (const op of fn.operations) {
    const [result] = op.outputs;
    if (op.type === "read_state" && op.inputs.input === state && result) {
      whole.add(result);
      continue;
    }
    if (op.type === "write_state" && op.inputs.input === state) {
      if (!whole.has(op.inputs.data as Value)) return null;
      continue;
    }
    const reads = Object.entries(op.inputs).filter(([, v]) => [v].flat().some((x) => whole.has(x as Value)));
    if (reads.length === 0) continue;
    const rows = reads.length === 1 && reads[0]?.[0] === "x" ? rowsTouched(op, axis) : null;
    if (!rows || "squeeze_mask" in op.params) return null;
    touched.push(rows);
    if (op.type === "slice_update" && result) whole.add(result);
  }
  if (fn.outputs.some((o) => whole.has(o))) return null;
  const runs: Rows[] = [];
  for (const rows of touched.sort((a, b) => a.from - b.from)) {
    const last = runs.at(-1);
    if (last && rows.from < last.to) runs[runs.length - 1] = { from: last.from, to: Math.max(last.to, rows.to) };
    else runs.push({ from: rows.from, to: rows.to });
  }
  return runs.length > 1 ? { axis, runs } : null;
}

class StateSplitter {
  private readonly fn: MilFunction;
  private readonly divisions: ReadonlyMap<Value, Division>;
  private readonly operations: Operation[] = [];
  private readonly inputs: Value[] = [];
  /** What takes the place of a value of the function. */
  private readonly renewed = new Map<Value, Value>();
  /** The parts of a value that stands for a whole state. */
  private readonly versions = new Map<Value, { readonly state: Value; readonly values: readonly Value[] }>();
  /** The parts a state has after the operations so far. */
  private readonly current = new Map<Value, readonly Value[]>();
  private counter = 0;

  constructor(fn: MilFunction, divisions: ReadonlyMap<Value, Division>) {
    this.fn = fn;
    this.divisions = divisions;
  }

  split(): SplitFunction {
    const { fn, divisions } = this;
    const states = new Map<Value, Value[]>();
    const parts = new Map<string, { axis: number; parts: StatePart[] }>();
    for (const input of fn.inputs) {
      const division = divisions.get(input);
      if (!division || input.type.kind !== "state") {
        this.inputs.push(input);
        continue;
      }
      const { axis, runs } = division;
      const { wrapped } = input.type;
      const named = runs.map((rows): StatePart => ({ ...rows, name: `${input.name}.${rows.from}` }));
      const own = named.map(({ name, from, to }): Value => {
        const type = stateType({ ...wrapped, shape: wrapped.shape.map((d, a) => (a === axis ? to - from : d)) });
        return { name, type, producer: null };
      });
      this.inputs.push(...own);
      states.set(input, own);
      parts.set(input.name, { axis, parts: named });
      this.current.set(
        input,
        own.map((state) => this.emit("read_state", state.name, { input: state }, {})),
      );
    }
    const before = new Map(this.current);
    for (const op of fn.operations) this.take(op);
    for (const [state, own] of states) {
      const [first, last] = [before.get(state), this.current.get(state)];
      for (const [i, part] of own.entries()) {
        const data = last?.[i];
        if (data && data !== first?.[i]) this.push("write_state", part.name, { input: part, data }, {});
      }
    }
    const outputs = fn.outputs.map((o) => this.renewed.get(o) ?? o);
    return { fn: { ...fn, inputs: this.inputs, operations: this.operations, outputs }, parts };
  }

  private take(op: Operation): void {
    const state = op.inputs.input as Value | undefined;
    const now = state && this.current.get(state);
    const [result] = op.outputs;
    if (state && now) {
      if (op.type === "read_state" && result) this.versions.set(result, { state, values: now });
      if (op.type === "write_state") {
        const version = this.versions.get(op.inputs.data as Value);
        if (version) this.current.set(state, version.values);
      }
      return;
    }
    const inputs = this.renew(op.inputs);
    const version = this.versions.get(op.inputs.x as Value);
    const division = version && this.divisions.get(version.state);
    const rows = division && rowsTouched(op, division.axis);
    if (!version || !division || !rows || !result) {
      this.copy(op, inputs);
      return;
    }
    const part = division.runs.findIndex((r) => r.from <= rows.from && rows.to <= r.to);
    const shift = itemAt(division.runs, part).from;
    const params: Record<string, ParamValue> = { ...op.params };
    const moved: Record<string, Value | readonly Value[]> = { ...inputs, x: itemAt(version.values, part) };
    for (const bound of ["begin", "end"] as const) {
      const param = params[bound];
      if (Array.isArray(param))
        params[bound] = param.map((v: unknown, a) => (a === division.axis ? Number(v) - shift : Number(v)));
      else if (moved[bound]) moved[bound] = this.shifted(moved[bound] as Value, division.axis, shift);
    }
    const value = this.emit(op.type, op.name, moved, params);
    if (op.type !== "slice_update") {
      this.renewed.set(result, value);
      return;
    }
    const values = version.values.map((v, i) => (i === part ? value : v));
    this.versions.set(result, { state: version.state, values });
  }

  /** A bound, constant along the axis, less `shift` there. */
  private shifted(bound: Value, axis: number, shift: number): Value {
    const constant = bound.producer?.constant;
    if (constant) return this.constant(less(constant, axis, shift));
    const values = (bound.producer?.inputs.values ?? []) as readonly Value[];
    const own = values[axis]?.producer?.constant;
    invariant(own, "the bound of a slice with known rows is constant along their axis");
    const rows = this.constant(less(own, 0, shift));
    return this.emit(
      "concat",
      bound.name,
      { values: values.map((v, a) => (a === axis ? rows : v)) },
      bound.producer?.params ?? {},
    );
  }

  private renew(inputs: Inputs): Inputs {
    const of = (v: Value): Value => this.renewed.get(v) ?? v;
    return Object.fromEntries(
      Object.entries(inputs).map(([key, v]) => [key, Array.isArray(v) ? v.map(of) : of(v as Value)]),
    );
  }

  /** The operation itself where none of its operands changed. */
  private copy(op: Operation, inputs: Inputs): void {
    const changed = Object.entries(inputs).some(([key, v]) => {
      const old = op.inputs[key];
      return Array.isArray(v) ? v.some((x, i) => x !== (old as readonly Value[])[i]) : v !== old;
    });
    if (!changed) {
      this.operations.push(op);
      return;
    }
    const outputs: Value[] = [];
    const made: Operation = { ...op, inputs, outputs };
    for (const old of op.outputs) {
      const value: Value = { name: old.name, type: old.type, producer: made };
      outputs.push(value);
      this.renewed.set(old, value);
    }
    this.operations.push(made);
  }

  private constant(constant: Tensor): Value {
    const outputs: Value[] = [];
    const op: Operation = { type: "const", name: this.fresh("rows"), inputs: {}, params: {}, outputs, constant };
    const value: Value = {
      name: op.name,
      type: { kind: "tensor", dtype: constant.dtype, shape: constant.shape },
      producer: op,
    };
    outputs.push(value);
    this.operations.push(op);
    return value;
  }

  private push(type: string, name: string, inputs: Inputs, params: Record<string, ParamValue>): Operation {
    const checked = checkOp(type, inputs, params);
    const outputs: Value[] = [];
    const op: Operation = { type, name: this.fresh(name), inputs, params: checked.params, outputs };
    outputs.push(...checked.outputs.map((t): Value => ({ name: op.name, type: t, producer: op })));
    this.operations.push(op);
    return op;
  }

  private emit(type: string, name: string, inputs: Inputs, params: Record<string, ParamValue>): Value {
    return itemAt(this.push(type, name, inputs, params).outputs, 0);
  }

  /** A name with a dot, which no value of a program has. */
  private fresh(base: string): string {
    return `${base}.part${this.counter++}`;
  }
}

const less = (t: Tensor, at: number, shift: number): Tensor =>
  i32(
    t.shape,
    Int32Array.from(t.data, (v, i) => (i === at ? v - shift : v)),
  );
