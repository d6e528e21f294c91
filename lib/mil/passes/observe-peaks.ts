/**
 * @file Adds to a function the largest absolute value of chosen results, as outputs in fp32.
 *
 *   peak_i = max |fp32(v_i)|
 *
 * Run with fp16 widened to fp32 it says how far each value is from overflowing on a device.
 */
import { itemAt } from "../../elements.ts";
import { checkOp } from "../op.ts";
import type { MilFunction, Operation, ParamValue, Value } from "../program.ts";

export interface ObservedFunction {
  readonly fn: MilFunction;
  /** The operation whose result each added output is the peak of. */
  readonly peaks: ReadonlyMap<string, Operation>;
}

/** Observes the first result of every operation that `wanted` picks; floats only. */
export function observePeaks(fn: MilFunction, wanted: (op: Operation) => boolean): ObservedFunction {
  const operations: Operation[] = [];
  const outputs: Value[] = [...fn.outputs];
  const peaks = new Map<string, Operation>();
  const append = (type: string, name: string, x: Value, params: Record<string, ParamValue>): Value => {
    const checked = checkOp(type, { x }, params);
    const made: Value[] = [];
    const op: Operation = { type, name, inputs: { x }, params: checked.params, outputs: made };
    made.push(...checked.outputs.map((t): Value => ({ name, type: t, producer: op })));
    operations.push(op);
    return itemAt(made, 0);
  };
  for (const op of fn.operations) {
    operations.push(op);
    const result = op.outputs[0];
    if (result?.type.kind !== "tensor" || !["fp16", "fp32"].includes(result.type.dtype) || !wanted(op)) continue;
    const name = `peak_${peaks.size}`;
    const wide = result.type.dtype === "fp32" ? result : append("cast", `${name}_wide`, result, { dtype: "fp32" });
    const size = append("abs", `${name}_size`, wide, {});
    const axes = result.type.shape.map((_, i) => i);
    outputs.push(append("reduce_max", name, size, { axes, keep_dims: true }));
    peaks.set(name, op);
  }
  return { fn: { ...fn, operations, outputs }, peaks };
}
