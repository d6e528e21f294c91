/**
 * @file Memory a function holds: weights as stored, states, and the most activations alive at once.
 *
 * The order of the program decides what is alive; a value dies after its last reader. This is a
 * model: Core ML reuses buffers in its own way, and on some chips weights are reported to be
 * expanded in the engine's memory. Not included: the runtime, the host's buffers.
 */
import { bytesIn, type FunctionView, isConstant } from "../mil/function-view.ts";
import { operandValues, type Value } from "../mil/program.ts";

export interface MemoryUse {
  readonly stateBytes: number;
  readonly activationBytes: number;
}

export function memoryUse(view: FunctionView): MemoryUse {
  const lastUse = new Map<Value, number>();
  for (const [i, op] of view.computed.entries())
    for (const v of [...op.outputs, ...operandValues(op)]) lastUse.set(v, i);
  const dying = new Map<number, Value[]>();
  for (const [v, i] of lastUse) {
    if (v.type.kind === "state" || isConstant(v) || view.fn.outputs.includes(v)) continue;
    dying.set(i, [...(dying.get(i) ?? []), v]);
  }
  const states = view.fn.inputs.filter((v) => v.type.kind === "state");
  let alive = view.fn.inputs.filter((v) => v.type.kind === "tensor").reduce((n, v) => n + bytesIn(v), 0);
  let most = alive;
  for (const [i, op] of view.computed.entries()) {
    // Reading a state or updating what was read happens in place.
    const inPlace = op.type === "read_state" || op.type === "slice_update";
    if (!inPlace) alive += op.outputs.reduce((n, o) => n + bytesIn(o), 0);
    most = Math.max(most, alive);
    for (const v of dying.get(i) ?? []) {
      const made = v.producer?.type;
      if (made !== "read_state" && made !== "slice_update") alive -= bytesIn(v);
    }
  }
  return { stateBytes: states.reduce((n, v) => n + bytesIn(v), 0), activationBytes: most };
}
