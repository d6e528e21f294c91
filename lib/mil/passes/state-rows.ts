/**
 * @file Which rows of a state a part of a program touches, so that the part can hold those rows alone.
 *
 * A cache for many layers is one state whose rows along some axis belong to layers. When every access is a slice with constant
 * bounds along that axis, the rows a set of operations needs are known, and the operations can be moved to a smaller state.
 */
import type { Operation, Value } from "../program.ts";

export interface Rows {
  readonly from: number;
  readonly to: number;
}

/** The constant bound along `axis` of a slice argument, given as a parameter or as a concat of constants; null if unknown. */
function bound(op: Operation, name: "begin" | "end", axis: number): number | null {
  const masks = op.params[`${name}_mask`];
  if (Array.isArray(masks) && masks[axis] === true) return null;
  const param = op.params[name];
  if (Array.isArray(param)) return Number(param[axis]);
  const given = op.inputs[name] as Value | undefined;
  const one = given?.producer?.type === "concat" ? (given.producer.inputs.values as readonly Value[])[axis] : undefined;
  const constant = (one ?? given)?.producer?.constant;
  if (!constant) return null;
  const value = constant.data[one ? 0 : axis];
  return value === undefined ? null : value;
}

/** The rows along `axis` that one operation touches of the state value it reads; null when that is not known. */
export function rowsTouched(op: Operation, axis: number): Rows | null {
  if (op.type !== "slice_by_index" && op.type !== "slice_update") return null;
  const stride = op.params.stride;
  if (Array.isArray(stride) && stride[axis] !== 1) return null;
  const [from, to] = [bound(op, "begin", axis), bound(op, "end", axis)];
  return from === null || to === null || from < 0 || to <= from ? null : { from, to };
}

/**
 * The rows of `state` that `operations` touch along `axis`; null when an access is not a slice with constant bounds.
 * What `read_state` gives may only be sliced, or updated and written back.
 */
export function stateRows(operations: readonly Operation[], state: Value, axis: number): Rows | null {
  const whole = new Set<Value>();
  let rows: Rows | null = null;
  for (const op of operations) {
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
    const touched = reads.length === 1 && reads[0]?.[0] === "x" ? rowsTouched(op, axis) : null;
    if (!touched) return null;
    rows = rows ? { from: Math.min(rows.from, touched.from), to: Math.max(rows.to, touched.to) } : touched;
    if (op.type === "slice_update" && result) whole.add(result);
  }
  return rows;
}

interface Access {
  readonly at: number;
  readonly state: Value;
  /** By axis; null where the rows are not known. */
  readonly rows: readonly (Rows | null)[];
}

/**
 * From the first to the last operation, by position, that touch the same rows of a state: a cut between them would leave
 * the rows in two parts.
 */
export function boundStretches(operations: readonly Operation[]): { readonly first: number; readonly last: number }[] {
  const stateOf = new Map<Value, Value>();
  const updated = new Map<Value, Access["rows"]>();
  const accesses: Access[] = [];
  for (const [at, op] of operations.entries()) {
    const [result] = op.outputs;
    const state = op.inputs.input as Value | undefined;
    if (op.type === "read_state" && state && result) stateOf.set(result, state);
    if (op.type === "write_state" && state) {
      const rows = updated.get(op.inputs.data as Value);
      if (rows) accesses.push({ at, state, rows });
    }
    const source = op.inputs.x as Value | undefined;
    const read = source && stateOf.get(source);
    if (read?.type.kind !== "state") continue;
    const rows = read.type.wrapped.shape.map((_, axis) => rowsTouched(op, axis));
    accesses.push({ at, state: read, rows });
    if (op.type !== "slice_update" || !result) continue;
    stateOf.set(result, read);
    updated.set(result, rows);
  }
  const apart = (a: Rows | null | undefined, b: Rows | null | undefined): boolean =>
    a != null && b != null && (a.to <= b.from || b.to <= a.from);
  return accesses.flatMap((first, i) => {
    const last = accesses.findLast(
      (a) => a.state === first.state && !first.rows.some((r, axis) => apart(r, a.rows[axis])),
    );
    return last && accesses.indexOf(last) > i ? [{ first: first.at, last: last.at }] : [];
  });
}
