/**
 * @file Moves a scale of a weight's rows behind the operation that reads the weight.
 *
 *   linear(x, s · C) = s ⊙ linear(x, C);   conv the same per output channel;   gather(s · C, i) = gather(s, i) ⊙ gather(C, i)
 *
 * where C is a compressed constant and s a constant of one element a row. Multiplied in place, the weight would be unpacked
 * when the program runs. Core ML below iOS 26 has no compressed constant with a scale of its own on top of a palette, and
 * one multiplication of the output is cheap, exact and legal everywhere.
 */
import { EspalierError } from "../../errors.ts";
import { Builder, typeOf } from "../builder.ts";
import type { MilFunction, Operation, ParamValue, Value } from "../program.ts";
import { type Tensor, withShape } from "../tensor.ts";
import { removeDeadCode } from "./dead-code.ts";

interface ScaledConstant {
  readonly codes: Value;
  readonly scale: Tensor; // (rows, 1, …)
}

function scaledConstant(op: Operation): ScaledConstant | null {
  if (op.type !== "mul") return null;
  const [x, y] = [op.inputs.x as Value, op.inputs.y as Value];
  const scale = y.producer?.constant;
  if (!x.producer?.type.startsWith("constexpr_") || !scale) return null;
  const rows = typeOf(x).shape[0];
  return scale.shape[0] === rows && scale.shape.slice(1).every((d) => d === 1) ? { codes: x, scale } : null;
}

/** Throws `export/unsupported` naming an operation that reads a scaled weight in a way no scale can follow. */
export function scaleOutputs(fn: MilFunction): MilFunction {
  const scaled = new Map<Value, ScaledConstant>();
  for (const op of fn.operations) {
    const found = scaledConstant(op);
    if (found && op.outputs[0]) scaled.set(op.outputs[0], found);
  }
  if (scaled.size === 0) return fn;

  const b = new Builder(fn.name);
  const map = new Map<Value, Value>();
  for (const input of fn.inputs) map.set(input, b.input(input.name, input.type));
  const get = (v: Value): Value => map.get(v) ?? v;
  for (const op of fn.operations) {
    const [result] = op.outputs;
    if (result && scaled.has(result)) continue;
    if (op.constant && result) {
      map.set(result, b.constant(op.constant, op.name));
      continue;
    }
    const entry = Object.entries(op.inputs).find(([, v]) => !Array.isArray(v) && scaled.has(v as Value));
    const weight = entry && scaled.get(entry[1] as Value);
    if (entry && weight && result) {
      map.set(result, scaledOperation(b, op, entry[0], weight, get));
      continue;
    }
    const inputs = Object.fromEntries(
      Object.entries(op.inputs).map(([k, v]) => [k, Array.isArray(v) ? v.map(get) : get(v as Value)]),
    );
    const outputs = b.op(op.type, inputs, { ...op.params }, op.name);
    op.outputs.forEach((o, i) => {
      map.set(o, outputs[i] as Value);
    });
  }
  return removeDeadCode(b.build(Object.fromEntries(fn.outputs.map((o) => [o.name, get(o)]))));
}

function scaledOperation(
  b: Builder,
  op: Operation,
  operand: string,
  { codes, scale }: ScaledConstant,
  get: (v: Value) => Value,
): Value {
  const rows = scale.shape[0] as number;
  const { bias, ...others } = op.inputs;
  const rest = Object.fromEntries(
    Object.entries(others).map(([k, v]) => [k, Array.isArray(v) ? v.map(get) : get(v as Value)]),
  );
  const plain = (inputs: Record<string, Value | readonly Value[]>, params: Record<string, ParamValue>): Value =>
    b.op(op.type, inputs, params, `${op.name}_unscaled`)[0] as Value;
  const times = (x: Value, y: Value, name: string): Value => b.op("mul", { x, y }, {}, name)[0] as Value;

  if ((op.type === "linear" || op.type === "conv") && operand === "weight") {
    const along = op.type === "linear" ? [rows] : [1, rows, ...scale.shape.slice(2).map(() => 1)];
    const factor = b.constant(withShape(scale, along), `${op.name}_scale`);
    const product = plain({ ...rest, weight: get(codes) }, { ...op.params });
    if (!bias) return times(product, factor, op.name);
    const constant = (bias as Value).producer?.constant;
    const added = constant ? b.constant(withShape(constant, along), `${op.name}_bias`) : get(bias as Value);
    return b.op("add", { x: times(product, factor, `${op.name}_scaled`), y: added }, {}, op.name)[0] as Value;
  }
  if (op.type === "gather" && operand === "x" && op.params.axis === 0 && op.params.batch_dims === 0) {
    const picked = plain({ ...rest, x: get(codes) }, { ...op.params });
    const factors = b.op(
      "gather",
      { ...rest, x: b.constant(scale, `${op.name}_scale`) },
      { ...op.params },
      `${op.name}_row_scale`,
    )[0] as Value;
    return times(picked, factors, op.name);
  }
  throw new EspalierError(
    "export/unsupported",
    `${op.type} ${op.name} reads a weight with row scales as its ${operand}; a scale can follow linear, conv and gather`,
    { hint: "Quantize this weight without row scales." },
  );
}
