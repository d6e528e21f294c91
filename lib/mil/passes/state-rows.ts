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
