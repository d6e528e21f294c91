/**
 * @file A function of a program as lint rules and cost models see it: who reads what, which values are constants, what is computed.
 */
import { numberAt } from "../elements.ts";
import { isConstantOperation, opTable } from "./op.ts";
import { type MilFunction, type Operation, operandValues, type Value } from "./program.ts";
import { type DType, dtypeBits, elementCount, type Shape } from "./types.ts";

export interface FunctionView {
  readonly fn: MilFunction;
  /** Operations the device computes: neither constants nor compressed constants. */
  readonly computed: readonly Operation[];
  readonly position: ReadonlyMap<Operation, number>;
  consumers(v: Value): readonly Operation[];
}

export function viewFunction(fn: MilFunction): FunctionView {
  const consumers = new Map<Value, Operation[]>();
  const position = new Map<Operation, number>();
  for (const [i, op] of fn.operations.entries()) {
    position.set(op, i);
    for (const v of operandValues(op)) {
      const list = consumers.get(v);
      if (!list) consumers.set(v, [op]);
      else if (list.at(-1) !== op) list.push(op);
    }
  }
  return {
    fn,
    computed: fn.operations.filter((op) => !isConstantOperation(op)),
    position,
    consumers: (v) => consumers.get(v) ?? [],
  };
}

export const shapeOf = (v: Value | undefined): Shape =>
  v === undefined ? [] : v.type.kind === "tensor" ? v.type.shape : v.type.wrapped.shape;
export const dtypeOf = (v: Value): DType => (v.type.kind === "tensor" ? v.type.dtype : v.type.wrapped.dtype);
export const elementsIn = (v: Value | undefined): number => elementCount(shapeOf(v));
export const bytesIn = (v: Value): number => (elementsIn(v) * dtypeBits[dtypeOf(v)]) / 8;
export const isConstant = (v: Value): boolean => v.producer !== null && isConstantOperation(v.producer);

/** The single value bound to an argument. */
export function operand(op: Operation, name: string): Value | undefined {
  const v = op.inputs[name];
  return v === undefined || Array.isArray(v) ? undefined : (v as Value);
}

export const axisOf = (op: Operation, rank: number): number => {
  const axis = op.params.axis;
  return typeof axis === "number" ? (axis < 0 ? axis + rank : axis) : rank - 1;
};

/** Products against a weight or between two activations. */
export const isProduct = (op: Operation): boolean => op.type === "conv" || op.type === "linear" || op.type === "matmul";

/** The constant operand of a product; null for products of two activations. */
export function weightOperand(op: Operation): Value | null {
  const candidates =
    op.type === "matmul"
      ? [operand(op, "y"), operand(op, "x")]
      : op.type === "conv" || op.type === "linear"
        ? [operand(op, "weight")]
        : [];
  return candidates.find((v) => v !== undefined && isConstant(v)) ?? null;
}

/** Extent a product sums over. */
export function contraction(op: Operation): number {
  if (op.type === "conv") return elementCount(shapeOf(operand(op, "weight")).slice(1));
  const x = shapeOf(operand(op, "x"));
  return (op.type === "matmul" && op.params.transpose_x === true ? x.at(-2) : x.at(-1)) ?? 1;
}

/** New positions a call brings: the width of token ids, or the last axis of a (B, C, 1, S) stream; 1 when neither is there. */
export function positionsPerCall(fn: MilFunction): number {
  const ids = fn.inputs.find((i) => i.type.kind === "tensor" && i.type.dtype === "int32" && i.type.shape.length === 2);
  if (ids) return shapeOf(ids)[1] ?? 1;
  const streams = fn.inputs.filter((i) => {
    const s = shapeOf(i);
    return i.type.kind === "tensor" && s.length === 4 && s[2] === 1 && numberAt(s, 1) > 1;
  });
  const widest = streams.sort((a, b) => numberAt(shapeOf(b), 1) - numberAt(shapeOf(a), 1))[0];
  return shapeOf(widest)[3] ?? 1;
}

/**
 * Positions of the cache attention reads: the longest axis a softmax runs over, without the chunk where that stands beside the
 * cache; 0 without attention.
 */
export function attendedPositions(view: FunctionView): number {
  const chunk = positionsPerCall(view.fn);
  const caches = view.fn.inputs.filter((i) => {
    const [, , height] = shapeOf(i);
    return i.type.kind === "state" || (shapeOf(i).length === 4 && height !== 1 && height !== chunk);
  });
  const lengths = new Set(caches.flatMap(shapeOf));
  return view.computed.reduce((most, op) => {
    let seen = 0;
    if (op.type === "scaled_dot_product_attention") seen = shapeOf(operand(op, "key")).at(-2) ?? 0;
    else if (op.type === "softmax") {
      const shape = shapeOf(op.outputs[0]);
      seen = shape[axisOf(op, shape.length)] ?? 0;
    }
    return Math.max(most, !lengths.has(seen) && lengths.has(seen - chunk) ? seen - chunk : seen);
  }, 0);
}

export const isMove = (op: Operation): boolean => opTable.get(op.type)?.moves === true;

/** The value an operation's value comes from through operations that only move data. */
export function throughMoves(v: Value): Value {
  let at = v;
  while (at.producer && isMove(at.producer)) {
    const x = operand(at.producer, "x");
    if (!x) break;
    at = x;
  }
  return at;
}

/** Few numbers that only say where to read or write. */
const INDEX_ELEMENTS = 16;
const indexArguments = new Set(["begin", "end", "size", "shape"]);

/** True when every result is a few integers that end as arguments of slices and reshapes. */
export function onlyIndexes(op: Operation, view: FunctionView): boolean {
  return op.outputs.every(
    (o) =>
      elementsIn(o) <= INDEX_ELEMENTS &&
      view.consumers(o).every((user) => {
        const asIndex = Object.entries(user.inputs).every(
          ([name, v]) => ![v].flat().includes(o) || indexArguments.has(name),
        );
        return asIndex || (isInteger(user) && onlyIndexes(user, view));
      }),
  );
}

export const integers: ReadonlySet<string> = new Set(["int32", "int16", "uint16", "int8", "uint8", "bool"]);
export const isInteger = (op: Operation): boolean =>
  op.outputs.length > 0 && op.outputs.every((o) => integers.has(dtypeOf(o)));
