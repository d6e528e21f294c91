/**
 * @file Reverse-mode differentiation of a MIL function into another MIL function.
 *
 * Reference: Griewank and Walther, "Evaluating Derivatives", ch. 3. For y = f(x): x̄ += (∂f/∂x)ᵀ ȳ, from the
 * loss backwards, each rule in the op's own table entry. Only what the asked-for gradients need is built.
 * Not included: higher orders through ops without a differentiable gradient, forward mode.
 */
import { itemAt } from "../elements.ts";
import { EspalierError } from "../errors.ts";
import { Builder } from "./builder.ts";
import { argumentsOf, opSpec } from "./op.ts";
import { type MilFunction, type Operation, operandValues, type Value } from "./program.ts";
import { Rewriter } from "./rewrite.ts";
import { elementCount, isFloat, sameType, showType } from "./types.ts";

/** Operations that `from` depends on, in topological order. */
function reachable(from: Value): Operation[] {
  const order: Operation[] = [];
  const seen = new Set<Operation>();
  const stack: { op: Operation; next: number; operands: Value[] }[] = [];
  const visit = (op: Operation | null): void => {
    if (!op || seen.has(op)) return;
    seen.add(op);
    stack.push({ op, next: 0, operands: operandValues(op) });
  };
  visit(from.producer);
  for (let top = stack.at(-1); top; top = stack.at(-1)) {
    const operand = top.operands[top.next++];
    if (operand) visit(operand.producer);
    else {
      order.push(top.op);
      stack.pop();
    }
  }
  return order;
}

/**
 * The gradients of a scalar `loss` with respect to `wrt`, as values of the same builder, in the same order.
 * A value the loss does not depend on has a gradient of zeros. Throws `program/unsupported-op` naming an op
 * on the way that has no gradient.
 */
export function gradients(b: Builder, loss: Value, wrt: readonly Value[]): Value[] {
  if (loss.type.kind !== "tensor" || elementCount(loss.type.shape) !== 1 || !isFloat(loss.type.dtype)) {
    throw new EspalierError("program/type", `a loss must be one float, found ${showType(loss.type)}`);
  }
  const operations = reachable(loss);
  const needed = new Set<Value>(wrt);
  for (const op of operations) {
    if (operandValues(op).some((v) => needed.has(v))) for (const out of op.outputs) needed.add(out);
  }
  const adjoint = new Map<Value, Value>();
  adjoint.set(loss, b.cast(b.fill(loss.type.shape, 1), loss.type.dtype));

  const accumulate = (of: Value, gradient: Value | null): void => {
    if (!gradient || !needed.has(of)) return;
    if (!sameType(gradient.type, of.type)) {
      throw new EspalierError(
        "internal/invariant",
        `internal: gradient of ${of.name} is ${showType(gradient.type)}, not ${showType(of.type)}`,
      );
    }
    const before = adjoint.get(of);
    adjoint.set(of, before ? b.add(before, gradient) : gradient);
  };

  for (const op of operations.reverse()) {
    if (!op.outputs.some((o) => adjoint.has(o)) || !operandValues(op).some((v) => needed.has(v))) continue;
    const rule = opSpec(op.type).gradient;
    const gradientOf = rule?.({
      b,
      op: argumentsOf(op),
      outputs: op.outputs,
      hasGradient: op.outputs.map((o) => adjoint.has(o)),
      dy: (i = 0) => adjoint.get(itemAt(op.outputs, i)) ?? zerosLike(b, itemAt(op.outputs, i)),
    });
    for (const [name, operand] of Object.entries(op.inputs)) {
      const operands = [operand].flat();
      if (!operands.some((v) => needed.has(v))) continue;
      const thunk = gradientOf?.[name];
      if (!thunk) {
        if (operands.every((v) => v.type.kind !== "tensor" || !isFloat(v.type.dtype))) continue;
        throw new EspalierError("program/unsupported-op", `${op.type} has no gradient for ${name} (at ${op.name})`, {
          hint: "Write that part of the program with ops that have one.",
        });
      }
      const result = thunk();
      if (Array.isArray(result)) for (const [i, v] of operands.entries()) accumulate(v, result[i] ?? null);
      else accumulate(itemAt(operands, 0), result as Value);
    }
  }
  return wrt.map((v) => adjoint.get(v) ?? zerosLike(b, v));
}

function zerosLike(b: Builder, v: Value): Value {
  if (v.type.kind !== "tensor") throw new EspalierError("program/type", `${v.name} is a state and has no gradient`);
  return b.cast(b.fill(v.type.shape, 0), v.type.dtype);
}

/** Copies a function's operations into `b` with its inputs bound by name; gives back its outputs by name. */
export function inline(b: Builder, fn: MilFunction, bindings: Record<string, Value>): Record<string, Value> {
  const into = new Rewriter(b);
  for (const input of fn.inputs) {
    const bound = bindings[input.name];
    if (!bound) throw new EspalierError("program/structure", `${fn.name}: input ${input.name} is not bound`);
    if (!sameType(bound.type, input.type)) {
      throw new EspalierError(
        "program/type",
        `${fn.name}: input ${input.name} is ${showType(input.type)}, found ${showType(bound.type)}`,
      );
    }
    into.set(input, bound);
  }
  for (const op of fn.operations) into.copy(op);
  return Object.fromEntries(fn.outputs.map((o) => [o.name, into.get(o)]));
}

/**
 * A function that gives all outputs of `fn` and, as `d_<input>`, the gradient of its output `loss` with respect
 * to each input in `wrt`.
 */
export function differentiate(fn: MilFunction, loss: string, wrt: readonly string[]): MilFunction {
  const b = new Builder(`${fn.name}_gradient`);
  const bindings = Object.fromEntries(fn.inputs.map((i) => [i.name, b.input(i.name, i.type)]));
  const outputs = inline(b, fn, bindings);
  const target = outputs[loss];
  if (!target) throw new EspalierError("program/structure", `${fn.name} has no output ${loss}`);
  const values = wrt.map((name) => {
    const v = bindings[name];
    if (!v) throw new EspalierError("program/structure", `${fn.name} has no input ${name}`);
    return v;
  });
  const found = gradients(b, target, values);
  return b.build({ ...outputs, ...Object.fromEntries(wrt.map((name, i) => [`d_${name}`, itemAt(found, i)])) });
}
