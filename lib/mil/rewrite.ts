/**
 * @file Rebuilds a function operation by operation, replacing some of them: the shared part of all
 * passes.
 *
 * A `Rewriter` knows what stands in the new function for each value of the old one. An operation is copied with its operands
 * replaced, or a pass says what stands for its result. Constants keep their tensors.
 */
import { itemAt } from "../elements.ts";
import { EspalierError } from "../errors.ts";
import { Builder } from "./builder.ts";
import type { OpInputs } from "./op.ts";
import { removeDeadCode } from "./passes/dead-code.ts";
import type { MilFunction, Operation, ParamValue, Value } from "./program.ts";

export class Rewriter {
  readonly b: Builder;
  private readonly map = new Map<Value, Value>();
  private readonly missing: (v: Value) => Value;

  /** `missing` gives what stands for a value that was not made yet; without it that is an error. */
  constructor(b: Builder, missing?: (v: Value) => Value) {
    this.b = b;
    this.missing =
      missing ??
      ((v) => {
        throw new EspalierError("program/structure", `${v.name} is used before it is made`);
      });
  }

  get = (v: Value): Value => this.map.get(v) ?? this.missing(v);

  has(v: Value): boolean {
    return this.map.has(v);
  }

  set(old: Value, now: Value): void {
    this.map.set(old, now);
  }

  /** The operands of an operation, in the new function. */
  inputs(inputs: OpInputs): Record<string, Value | readonly Value[]> {
    return Object.fromEntries(
      Object.entries(inputs).map(([k, v]) => [k, Array.isArray(v) ? v.map(this.get) : this.get(v as Value)]),
    );
  }

  /** The same operation, with these operands and parameters. */
  copy(
    op: Operation,
    inputs: OpInputs | null | undefined = null,
    params: Readonly<Record<string, ParamValue>> = op.params,
  ): void {
    const [result] = op.outputs;
    if (op.constant && result) {
      this.set(result, this.b.constant(op.constant, op.name));
      return;
    }
    const made = this.b.op(op.type, inputs ?? this.inputs(op.inputs), { ...params }, op.name);
    op.outputs.forEach((o, i) => {
      this.set(o, itemAt(made, i));
    });
  }
}

/** The function with the results of some operations replaced: `replace` gives what stands for the one result, or null to copy. */
export function rewrite(fn: MilFunction, replace: (op: Operation, into: Rewriter) => Value | null): MilFunction {
  const into = new Rewriter(new Builder(fn.name));
  for (const input of fn.inputs) into.set(input, into.b.input(input.name, input.type));
  for (const op of fn.operations) {
    const [result] = op.outputs;
    const found = result && !op.constant ? replace(op, into) : null;
    if (result && found) into.set(result, found);
    else into.copy(op);
  }
  return removeDeadCode(into.b.build(Object.fromEntries(fn.outputs.map((o) => [o.name, into.get(o)]))));
}
