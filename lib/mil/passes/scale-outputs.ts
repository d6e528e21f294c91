/**
 * @file Moves a scale of a weight's rows behind the operation that reads the weight.
 *
 *   linear(x, s · C) = s ⊙ linear(x, C);   conv the same per output channel;   gather(s · C, i) = gather(s, i) ⊙ gather(C, i)
 *
 * where C is a compressed constant and s a constant of one element a row. Multiplied in place, the weight would be unpacked
 * when the program runs. Core ML below iOS 26 has no compressed constant with a scale of its own on top of a palette, and
 * one multiplication of the output is cheap, exact and legal everywhere.
 */
import { dim, itemAt } from "../../elements.ts";
import { EspalierError } from "../../errors.ts";
import { typeOf } from "../builder.ts";
import { isConstantOperation } from "../op.ts";
import type { MilFunction, Operation, ParamValue, Value } from "../program.ts";
import { type Rewriter, rewrite } from "../rewrite.ts";
import { type Tensor, withShape } from "../tensor.ts";

interface ScaledConstant {
  readonly codes: Value;
  readonly scale: Tensor; // (rows, 1, …)
}

function scaledConstant(op: Operation): ScaledConstant | null {
  if (op.type !== "mul") return null;
  const [x, y] = [op.inputs.x as Value, op.inputs.y as Value];
  const scale = y.producer?.constant;
  if (!x.producer || x.producer.constant || !isConstantOperation(x.producer) || !scale) return null;
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

  return rewrite(fn, (op, into) => {
    const [result] = op.outputs;
    // Whatever reads the product reads the codes instead.
    const own = result && scaled.get(result);
    if (own) return into.get(own.codes);
    const entry = Object.entries(op.inputs).find(([, v]) => !Array.isArray(v) && scaled.has(v as Value));
    const weight = entry && scaled.get(entry[1] as Value);
    return entry && weight ? scaledOperation(into, op, entry[0], weight) : null;
  });
}

function scaledOperation(into: Rewriter, op: Operation, operand: string, { codes, scale }: ScaledConstant): Value {
  const { b, get } = into;
  const rows = dim(scale.shape, 0);
  const { bias, ...others } = op.inputs;
  const rest = into.inputs(others);
  const plain = (inputs: Record<string, Value | readonly Value[]>, params: Record<string, ParamValue>): Value =>
    itemAt(b.op(op.type, inputs, params, `${op.name}_unscaled`), 0);
  const times = (x: Value, y: Value, name: string): Value => itemAt(b.op("mul", { x, y }, {}, name), 0);

  if ((op.type === "linear" || op.type === "conv") && operand === "weight") {
    const along = op.type === "linear" ? [rows] : [1, rows, ...scale.shape.slice(2).map(() => 1)];
    const factor = b.constant(withShape(scale, along), `${op.name}_scale`);
    const product = plain({ ...rest, weight: get(codes) }, { ...op.params });
    if (!bias) return times(product, factor, op.name);
    const constant = (bias as Value).producer?.constant;
    const added = constant ? b.constant(withShape(constant, along), `${op.name}_bias`) : get(bias as Value);
    return itemAt(b.op("add", { x: times(product, factor, `${op.name}_scaled`), y: added }, {}, op.name), 0);
  }
  if (op.type === "gather" && operand === "x" && op.params.axis === 0 && op.params.batch_dims === 0) {
    const picked = plain({ ...rest, x: get(codes) }, { ...op.params });
    const factors = itemAt(
      b.op("gather", { ...rest, x: b.constant(scale, `${op.name}_scale`) }, { ...op.params }, `${op.name}_row_scale`),
      0,
    );
    return times(picked, factors, op.name);
  }
  throw new EspalierError(
    "export/unsupported",
    `${op.type} ${op.name} reads a weight with row scales as its ${operand}; a scale can follow linear, conv and gather`,
    { hint: "Quantize this weight without row scales." },
  );
}
