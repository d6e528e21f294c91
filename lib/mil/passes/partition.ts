/**
 * @file Cuts a program into a pipeline of programs, each with weights of at most a given size.
 *
 * Operations keep their order. A part takes operations until the next one's weights no longer fit; the cut then moves back to
 * where the fewest bytes cross it, which in a decoder is between two halves of a layer, where only the stream crosses. What
 * is cheap to compute again from the inputs (positions, masks, rotations) is computed in each part instead of passed on.
 * All functions are cut at the same weights, so that they share them in every part. A state whose rows belong to different
 * parts is divided among them (`state-rows.ts`). No layout is assumed. Not included: reordering.
 */
import { itemAt } from "../../elements.ts";
import { EspalierError } from "../../errors.ts";
import { Builder, typeOf } from "../builder.ts";
import { isConstantOperation } from "../op.ts";
import {
  type MilFunction,
  type Operation,
  operandValues,
  type ParamValue,
  type Program,
  type Value,
} from "../program.ts";
import { Rewriter } from "../rewrite.ts";
import { DeferredTensor, i32, type Tensor } from "../tensor.ts";
import { elementCount, showType, stateType, tensorType } from "../types.ts";
import { removeDeadCode } from "./dead-code.ts";
import { constantsOf, splitWeights, storedBytesOf } from "./split-weights.ts";
import { boundStretches, type Rows, stateRows } from "./state-rows.ts";

/** Constants below this share of the limit may be in several parts. */
const SMALL_SHARE = 64;
const SMALL_LEAST_BYTES = 512;
/** A weight above this share of the limit is split: tables and masks need room beside it. */
const SPLIT_SHARE = 0.75;
/** A record of the weight file and its alignment. */
const RECORD_BYTES = 128;

/** What tells two constants apart. */
type Identity = Tensor | DeferredTensor["pieces"];
const identityOf = (t: Tensor): Identity => (t instanceof DeferredTensor ? t.pieces : t);

/** Programs in the order they run. One, the program itself, when it fits. Throws `export/unsupported`. */
export function partition(program: Program, limitBytes: number): Program[] {
  const functions = program.functions.map((fn) => splitWeights(fn, Math.floor(limitBytes * SPLIT_SHARE)));
  const main = functions.find((fn) => fn.name === program.defaultFunction) ?? functions[0];
  if (!main) throw new EspalierError("program/structure", "the program has no functions");
  const smallBytes = Math.max(SMALL_LEAST_BYTES, limitBytes / SMALL_SHARE);
  const shared = sharedConstants(functions);
  const parts = cutFunction(main, limitBytes, smallBytes, shared);
  if (parts.length === 1) return [program];
  const cut = functions.map((fn) => {
    const ends = fn === main ? parts.map((p) => p.end) : cutsOf(fn, parts, smallBytes, shared);
    return new FunctionCutter(fn, ends, smallBytes).parts();
  });
  for (const i of parts.keys()) checkStates(cut.map((fn) => itemAt(fn, i)));
  return parts.map((_, i) => ({
    opset: program.opset,
    functions: cut.map((fn) => itemAt(fn, i)),
    defaultFunction: program.defaultFunction,
  }));
}

/** The operations that compute, in order. */
const computing = (fn: MilFunction): Operation[] => fn.operations.filter((op) => !isConstantOperation(op));

const weightsRead = (op: Operation): Tensor[] => operandValues(op).flatMap((v) => constantsOf(v) ?? []);

/** The functions of a part share its states, so they must mean the same rows. */
function checkStates(functions: readonly MilFunction[]): void {
  const statesOf = (fn: MilFunction): string =>
    fn.inputs
      .filter((v) => v.type.kind === "state")
      .map((v) => `${v.name} ${showType(v.type)}`)
      .join(", ");
  const [first, ...others] = functions;
  const odd = others.find((fn) => first && statesOf(fn) !== statesOf(first));
  if (first && odd)
    throw new EspalierError(
      "export/unsupported",
      `a cut leaves ${first.name} with the states ${statesOf(first) || "none"}, ${odd.name} with ${statesOf(odd) || "none"}`,
      { hint: "Raise the limit, or write the functions as packages of their own." },
    );
}

interface Part {
  /** The position among the computing operations it ends before. */
  readonly end: number;
  /** The last operation before that; functions built alike name it alike. */
  readonly lastName: string;
  /** The weights it holds that every function has. */
  readonly holds: ReadonlySet<Identity>;
}

/** Constants that all functions read: the weights. Tables and masks are each function's own. */
function sharedConstants(functions: readonly MilFunction[]): ReadonlySet<Identity> {
  const sets = functions.map((fn) => new Set(computing(fn).flatMap(weightsRead).map(identityOf)));
  return new Set([...(sets[0] ?? [])].filter((t) => sets.every((s) => s.has(t))));
}

/** The parts of one function, which the others follow. */
function cutFunction(fn: MilFunction, limitBytes: number, smallBytes: number, shared: ReadonlySet<Identity>): Part[] {
  const operations = computing(fn);
  const crossing = new Crossing(fn, smallBytes);
  const lastWeight = operations.findLastIndex((op) => weightsRead(op).some((t) => shared.has(identityOf(t))));
  const parts: Part[] = [];
  let start = 0;
  while (start < operations.length) {
    const held = new Set<Identity>();
    let bytes = 0;
    let end = start;
    let half = start;
    let firstWeight = start;
    for (; end < operations.length; end++) {
      const added = weightsRead(itemAt(operations, end)).filter((t) => !held.has(identityOf(t)));
      const more = added.reduce((n, t) => n + storedBytesOf(t) + RECORD_BYTES, 0);
      if (bytes + more > limitBytes && [...held].some((t) => shared.has(t))) break;
      if (more > limitBytes)
        throw new EspalierError(
          "export/unsupported",
          `${fn.name}: the constants of ${operations[end]?.name} take ${more} bytes, a package may hold ${limitBytes}`,
          { hint: "Raise the limit." },
        );
      const begins = ![...held].some((t) => shared.has(t));
      for (const t of added) held.add(identityOf(t));
      // A part without a weight of its own would be empty in functions that compute its rest elsewhere.
      if (begins && added.some((t) => shared.has(identityOf(t)))) firstWeight = end;
      bytes += more;
      if (bytes <= limitBytes / 2) half = end + 1;
    }
    // What follows the last weight belongs to it.
    const at = end > lastWeight ? operations.length : crossing.best(Math.max(firstWeight + 1, half), end);
    const read = operations.slice(start, at).flatMap(weightsRead).map(identityOf);
    parts.push({
      end: at,
      lastName: operations[at - 1]?.name ?? "",
      holds: new Set(read.filter((t) => shared.has(t))),
    });
    start = at;
  }
  return parts;
}

/** The operations each part of a function ends before, such that it needs only the weights of that part. */
function cutsOf(fn: MilFunction, parts: readonly Part[], smallBytes: number, shared: ReadonlySet<Identity>): number[] {
  const operations = computing(fn);
  const crossing = new Crossing(fn, smallBytes);
  const cuts: number[] = [];
  let part = 0;
  let lastNeeded = 0;
  operations.forEach((op, i) => {
    const needed = weightsRead(op)
      .map(identityOf)
      .filter((t) => shared.has(t));
    if (needed.length === 0) return;
    const holds = (p: number): boolean => needed.every((t) => parts[p]?.holds.has(t));
    while (part < parts.length && !holds(part)) {
      const from = Math.max(lastNeeded, cuts.at(-1) ?? 0);
      const alike = operations.findIndex((o) => o.name === parts[part]?.lastName) + 1;
      cuts.push(alike >= from && alike <= i && alike > 0 ? alike : crossing.best(from, i));
      part++;
    }
    if (part === parts.length)
      throw new EspalierError(
        "export/unsupported",
        `${fn.name}: ${op.name} reads weights in another order than the others`,
        {
          hint: "Write the functions as packages of their own.",
        },
      );
    lastNeeded = i + 1;
  });
  while (cuts.length < parts.length) cuts.push(operations.length);
  return cuts;
}

/** What crosses a cut, and what is computed again instead. */
class Crossing {
  private readonly operations: Operation[];
  private readonly made = new Map<Value, number>();
  private readonly lastUse = new Map<Value, number>();
  private readonly cheap: (v: Value) => boolean;
  private readonly bound: ReturnType<typeof boundStretches>;

  constructor(fn: MilFunction, smallBytes: number) {
    this.operations = computing(fn);
    this.cheap = recomputable(smallBytes);
    this.bound = boundStretches(this.operations);
    this.operations.forEach((op, i) => {
      for (const o of op.outputs) this.made.set(o, i);
      for (const v of operandValues(op)) this.lastUse.set(v, i);
    });
  }

  /** The position in [from, to] with the fewest bytes across it; the last of equals. */
  best(from: number, to: number): number {
    let best = to;
    let least = Number.POSITIVE_INFINITY;
    for (let at = to; at >= from; at--) {
      const bytes = this.bytesAt(at);
      // Where nothing crosses, nothing of use was computed before.
      if (bytes > 0 && bytes < least) [best, least] = [at, bytes];
    }
    return best;
  }

  private bytesAt(at: number): number {
    // Rows that are written and read again belong to one part, however little crosses between.
    if (this.bound.some(({ first, last }) => first < at && at <= last)) return Number.POSITIVE_INFINITY;
    let bytes = 0;
    for (const [v, made] of this.made) {
      const crosses = made < at && (this.lastUse.get(v) ?? -1) >= at && !this.cheap(v);
      if (!crosses || v.type.kind !== "tensor") continue;
      // What cannot be an input or an output makes a cut impossible; what a state gave is read again.
      if (v.producer?.type === "read_state") return Number.POSITIVE_INFINITY;
      if (!["fp16", "fp32", "int32"].includes(v.type.dtype)) return Number.POSITIVE_INFINITY;
      bytes += 4 + elementCount(v.type.shape) * 2;
    }
    return bytes;
  }
}

/** Whether a value depends on inputs and small constants alone. */
function recomputable(smallBytes: number): (v: Value) => boolean {
  const known = new Map<Value, boolean>();
  const test = (v: Value): boolean => {
    const op = v.producer;
    if (!op) return v.type.kind === "tensor";
    const before = known.get(v);
    if (before !== undefined) return before;
    const constants = constantsOf(v);
    const result = constants
      ? op.type === "const" && constants.every((t) => storedBytesOf(t) < smallBytes)
      : op.type !== "read_state" && op.type !== "write_state" && operandValues(op).every(test);
    known.set(v, result);
    return result;
  };
  return test;
}

interface DividedState {
  readonly value: Value;
  readonly axis: number;
  /** For each part; null where the part does not use the state. */
  readonly rows: readonly (Rows | null)[];
}

class FunctionCutter {
  private readonly fn: MilFunction;
  private readonly pieces: Operation[][] = [];
  private readonly cheap: (v: Value) => boolean;
  private readonly states: DividedState[];

  constructor(fn: MilFunction, cuts: readonly number[], smallBytes: number) {
    this.fn = fn;
    this.cheap = recomputable(smallBytes);
    const operations = computing(fn);
    let start = 0;
    for (const end of cuts) {
      this.pieces.push(operations.slice(start, end));
      start = end;
    }
    this.states = fn.inputs.filter((v) => v.type.kind === "state").map((v) => this.divide(v));
  }

  /** Throws `export/unsupported` when parts would need the same rows, or rows that are not constant. */
  private divide(state: Value): DividedState {
    const rank = state.type.kind === "state" ? state.type.wrapped.shape.length : 0;
    const uses = this.pieces.map((ops) => ops.some((op) => op.inputs.input === state));
    for (let axis = 0; axis < rank; axis++) {
      const rows = this.pieces.map((ops, i) => (uses[i] ? stateRows(ops, state, axis) : null));
      const known = rows.every((r, i) => !uses[i] || r !== null);
      const sorted = rows.filter((r) => r !== null).sort((a, b) => a.from - b.from);
      const apart = sorted.every((r, i) => i === 0 || itemAt(sorted, i - 1).to <= r.from);
      if (known && apart) return { value: state, axis, rows };
    }
    throw new EspalierError(
      "export/unsupported",
      `${this.fn.name}: the state ${state.name} ${showType(state.type)} cannot be divided among ${this.pieces.length} packages`,
      {
        hint: "Its rows must be read and written in slices with constant bounds, or the cache passed as inputs and outputs.",
      },
    );
  }

  parts(): MilFunction[] {
    const madeIn = new Map<Value, number>();
    this.pieces.forEach((ops, i) => {
      for (const op of ops) for (const o of op.outputs) madeIn.set(o, i);
    });
    // Values that leave the part they are made in.
    const leaving = new Map<Value, number>();
    this.pieces.forEach((ops, i) => {
      for (const op of ops)
        for (const v of this.neededBy(op)) if ((madeIn.get(v) ?? i) < i) leaving.set(v, madeIn.get(v) ?? 0);
    });
    const state = [...leaving.keys()].find((v) => v.producer?.type === "read_state");
    if (state)
      throw new EspalierError(
        "export/unsupported",
        `${this.fn.name}: a cut falls between reading a state and using it (${state.name})`,
        {
          hint: "Raise the limit.",
        },
      );
    return this.pieces.map((ops, i) =>
      this.build(
        ops,
        i,
        [...leaving].filter(([, made]) => made === i).map(([v]) => v),
      ),
    );
  }

  /** The operands of an operation, those that are computed again replaced by what they need: nothing but inputs. */
  private neededBy(op: Operation): Value[] {
    return operandValues(op).filter((v) => !this.cheap(v));
  }

  private build(operations: readonly Operation[], part: number, leaving: readonly Value[]): MilFunction {
    const b = new Builder(this.fn.name);
    // What another part has made already is made again where it is cheap.
    const into: Rewriter = new Rewriter(b, (v) => {
      if (!v.producer)
        throw new EspalierError("internal/invariant", `internal: part ${part} lacks the input ${v.name}`);
      copy(v.producer);
      return into.get(v);
    });
    const own = new Set(operations);
    const outputs = this.fn.outputs.filter((o) => o.producer && own.has(o.producer));
    this.declareInputs(into, operations, part);
    const shifts = new Map<Value, { axis: number; by: number }>();
    const copy = (op: Operation): void => {
      const moved = op.constant ? null : this.moved(into, op, shifts);
      into.copy(op, moved?.inputs, moved?.params);
    };
    for (const op of operations) {
      const state = this.states.find((s) => s.value === op.inputs.input);
      if (state && op.type === "read_state" && op.outputs[0])
        shifts.set(op.outputs[0], { axis: state.axis, by: state.rows[part]?.from ?? 0 });
      if (op.outputs.length > 0 && op.outputs.every((o) => into.has(o))) continue;
      copy(op);
    }
    const named = [...leaving, ...outputs].map((v) => [v.name, into.get(v)] as const);
    return removeDeadCode(b.build(Object.fromEntries(named)));
  }

  private declareInputs(into: Rewriter, operations: readonly Operation[], part: number): void {
    const own = new Set(operations);
    const used = new Set<Value>();
    const visit = (v: Value): void => {
      if (used.has(v)) return;
      used.add(v);
      if (v.producer && !own.has(v.producer) && (this.cheap(v) || isConstantOperation(v.producer)))
        operandValues(v.producer).forEach(visit);
    };
    for (const op of operations) operandValues(op).forEach(visit);
    for (const input of this.fn.inputs) {
      if (!used.has(input)) continue;
      const state = this.states.find((s) => s.value === input);
      const rows = state?.rows[part];
      if (state && rows && input.type.kind === "state") {
        const { dtype, shape } = input.type.wrapped;
        const kept = shape.map((d, axis) => (axis === state.axis ? rows.to - rows.from : d));
        into.set(input, into.b.input(input.name, stateType(tensorType(dtype, kept))));
      } else into.set(input, into.b.input(input.name, input.type));
    }
    for (const v of used) {
      const foreign = v.producer && !own.has(v.producer) && !this.cheap(v) && !isConstantOperation(v.producer);
      if (foreign) into.set(v, into.b.input(v.name, typeOf(v)));
    }
  }

  /** The arguments of an operation in the part, bounds of slices of a divided state moved to its rows. */
  private moved(
    { b, get }: Rewriter,
    op: Operation,
    shifts: Map<Value, { axis: number; by: number }>,
  ): { inputs: Record<string, Value | readonly Value[]>; params: Record<string, ParamValue> } {
    const inputs: Record<string, Value | readonly Value[]> = {};
    const params: Record<string, ParamValue> = { ...op.params };
    const shift = shifts.get(op.inputs.x as Value);
    const [result] = op.outputs;
    if (shift && op.type === "slice_update" && result) shifts.set(result, shift);
    for (const [name, v] of Object.entries(op.inputs)) {
      if (shift && (name === "begin" || name === "end")) inputs[name] = movedBound(b, v as Value, shift, get);
      else inputs[name] = Array.isArray(v) ? v.map(get) : get(v as Value);
    }
    for (const name of ["begin", "end"]) {
      const param = params[name];
      if (shift && Array.isArray(param))
        params[name] = param.map((n: number | boolean, axis) =>
          axis === shift.axis ? Number(n) - shift.by : Number(n),
        );
    }
    return { inputs, params };
  }
}

function movedBound(b: Builder, v: Value, { axis, by }: { axis: number; by: number }, get: (v: Value) => Value): Value {
  if (by === 0) return get(v);
  const op = v.producer;
  if (op?.type === "concat") {
    const values = (op.inputs.values as readonly Value[]).map((part, i) => {
      if (i !== axis) return get(part);
      return b.constant(i32([1], [Number(part.producer?.constant?.data[0]) - by]));
    });
    return b.concat(values, 0);
  }
  const data = [...(op?.constant?.data ?? [])];
  return b.constant(
    i32(
      [data.length],
      data.map((n, i) => (i === axis ? n - by : n)),
    ),
  );
}
