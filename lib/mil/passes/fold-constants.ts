/**
 * @file Computes, once, every operation whose operands are all constants.
 *
 * The values come from an engine, so folding follows the very semantics that run. Compressed constants
 * (`constexpr_*`) stay as they are: unfolding them is what a package must not do.
 */
import type { Engine } from "../../engines/engine.ts";
import { Builder } from "../builder.ts";
import { type MilFunction, type Operation, operandValues, type Value } from "../program.ts";
import type { Tensor } from "../tensor.ts";
import { removeDeadCode } from "./dead-code.ts";

const untouched = (op: Operation): boolean =>
  op.type.startsWith("constexpr_") || op.type === "read_state" || op.type === "write_state";

export async function foldConstants(fn: MilFunction, engine: Engine): Promise<MilFunction> {
  const foldable = new Set<Operation>();
  for (const op of fn.operations) {
    if (untouched(op)) continue;
    if (op.type === "const" || operandValues(op).every((v) => v.producer && foldable.has(v.producer))) foldable.add(op);
  }
  const read = new Set(fn.operations.filter((op) => !foldable.has(op)).flatMap(operandValues));
  for (const o of fn.outputs) read.add(o);
  const frontier = fn.operations
    .filter((op) => foldable.has(op) && op.type !== "const")
    .flatMap((op) => op.outputs)
    .filter((v) => read.has(v));
  if (frontier.length === 0) return removeDeadCode(fn);

  const constants: MilFunction = {
    name: `${fn.name}_constants`,
    inputs: [],
    operations: fn.operations.filter((op) => foldable.has(op)),
    outputs: frontier,
  };
  const executable = await engine.compile(removeDeadCode(constants));
  const values = await executable.run({});
  await executable.dispose();
  return replaceByConstants(fn, new Map(frontier.map((v) => [v, values[v.name] as Tensor])));
}

function replaceByConstants(fn: MilFunction, known: ReadonlyMap<Value, Tensor>): MilFunction {
  const b = new Builder(fn.name);
  const map = new Map<Value, Value>();
  for (const input of fn.inputs) map.set(input, b.input(input.name, input.type));
  const get = (v: Value): Value => map.get(v) ?? v;
  for (const op of fn.operations) {
    const first = op.outputs[0];
    if (first && known.has(first)) {
      for (const o of op.outputs) {
        const data = known.get(o);
        if (data) map.set(o, b.constant(data, o.name));
      }
    } else if (op.constant && first) {
      map.set(first, b.constant(op.constant, op.name));
    } else {
      const inputs = Object.fromEntries(
        Object.entries(op.inputs).map(([k, v]) => [k, Array.isArray(v) ? v.map(get) : get(v as Value)]),
      );
      const outputs = b.op(op.type, inputs, { ...op.params }, op.name);
      op.outputs.forEach((o, i) => {
        map.set(o, outputs[i] as Value);
      });
    }
  }
  return removeDeadCode(b.build(Object.fromEntries(fn.outputs.map((o) => [o.name, get(o)]))));
}
