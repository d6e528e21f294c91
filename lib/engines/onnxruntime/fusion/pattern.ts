/**
 * @file Patterns of MIL operations that one ONNX Runtime kernel, or a cheaper sequence of them, computes.
 *
 * A fusion treats an operation as the last of its pattern and walks up. A match covers operations
 * whose results nobody outside the match reads; the last one's result is emitted in its place.
 * Later operations are tried first, so the larger of two patterns that overlap wins. What matches
 * nothing is lowered operation by operation. With fp16 rounding nothing is fused, because every
 * single result must be rounded.
 */
import type { MilFunction, Operation, Value } from "../../../mil/program.ts";
import { operandValues } from "../../../mil/program.ts";
import type { Shape } from "../../../mil/types.ts";
import type { OnnxGraph } from "../graph.ts";

export interface FusionMatch {
  /** The operations the match stands for, in any order; the last one of the pattern among them. */
  readonly covers: readonly Operation[];
  /** Emits nodes; gives back the ONNX name of the last operation's result. */
  emit(g: OnnxGraph, nameOf: (v: Value) => string): string;
}

export type Fusion = (last: Operation) => FusionMatch | null;

/** The matches of a function, by the last operation of each. */
export function findFusions(
  fn: MilFunction,
  fusions: readonly Fusion[],
): { matches: Map<Operation, FusionMatch>; covered: Set<Operation> } {
  const readers = new Map<Value, Operation[]>();
  for (const op of fn.operations) {
    for (const v of operandValues(op)) {
      const list = readers.get(v);
      if (list) list.push(op);
      else readers.set(v, [op]);
    }
  }
  const given = new Set(fn.outputs);
  const matches = new Map<Operation, FusionMatch>();
  const covered = new Set<Operation>();
  const isClosed = (last: Operation, covers: readonly Operation[]): boolean =>
    covers.every(
      (op) =>
        !covered.has(op) &&
        (op === last ||
          op.outputs.every((v) => !given.has(v) && (readers.get(v) ?? []).every((reader) => covers.includes(reader)))),
    );
  for (const op of [...fn.operations].reverse()) {
    if (covered.has(op)) continue;
    for (const fusion of fusions) {
      const match = fusion(op);
      if (!match || !isClosed(op, match.covers)) continue;
      matches.set(op, match);
      for (const c of match.covers) covered.add(c);
      break;
    }
  }
  return { matches, covered };
}

/** The operation that makes `v`, if it is of that type. */
export const madeBy = (v: Value | null, type: string): Operation | null =>
  v?.producer?.type === type ? v.producer : null;

export function operand(op: Operation, key: string): Value | null {
  const v = op.inputs[key];
  return v === undefined || isList(v) ? null : v;
}

export function operands(op: Operation, key: string): readonly Value[] {
  const v = op.inputs[key];
  return v !== undefined && isList(v) ? v : [];
}

const isList = (v: Value | readonly Value[]): v is readonly Value[] => Array.isArray(v);

/** Both orders of the operands of a commutative operation. */
export function eitherOrder(op: Operation): [Value, Value][] {
  const [x, y] = [operand(op, "x"), operand(op, "y")];
  return x && y
    ? [
        [x, y],
        [y, x],
      ]
    : [];
}

export const shapeOf = (v: Value): Shape => (v.type.kind === "tensor" ? v.type.shape : []);

export const numbers = (op: Operation, key: string): readonly number[] => {
  const p = op.params[key];
  return Array.isArray(p) ? p.map(Number) : [];
};

export const isParam = (op: Operation, key: string, value: number | boolean): boolean => op.params[key] === value;

/** The values of a constant of floats; null of anything else. */
export function constantFloats(v: Value | null): Float32Array | null {
  const data = v?.producer?.constant?.data;
  return data instanceof Float32Array ? data : null;
}
