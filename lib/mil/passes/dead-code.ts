/** @file Removes operations that no output and no state depends on. */
import { opTable } from "../op.ts";
import { type MilFunction, type Operation, operandValues } from "../program.ts";

export function removeDeadCode(fn: MilFunction): MilFunction {
  const live = new Set<Operation>();
  const queue: (Operation | null)[] = fn.outputs.map((o) => o.producer);
  for (const op of fn.operations) if (opTable.get(op.type)?.stateful === "write") queue.push(op);
  for (let op = queue.pop(); op !== undefined; op = queue.pop()) {
    if (!op || live.has(op)) continue;
    live.add(op);
    for (const v of operandValues(op)) queue.push(v.producer);
  }
  return { ...fn, operations: fn.operations.filter((op) => live.has(op)) };
}
