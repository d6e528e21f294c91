/** @file Activation quantization in ONNX: q = clip(round(x / scale) + zero point), x = (q − zero point) · scale. */
import type { Lowering, LoweringContext } from "./context.ts";

/** A scale or zero point, laid along `axis` when it is a vector. */
function alongAxis({ g, op, name }: LoweringContext, operand: string): string {
  const shape = op.shape("input");
  const length = op.shape(operand)[0];
  if (length === undefined) return name(operand);
  const axis = op.axis("axis", shape.length);
  return g.reshape(
    name(operand),
    shape.map((_, i) => (i === axis ? length : 1)),
  );
}

const quantize: Lowering = (c) => {
  const { g, op, name } = c;
  const [low, high] = op.string("output_dtype") === "int8" ? [-128, 127] : [0, 255];
  const scaled = g.node("Round", [g.node("Div", [name("input"), alongAxis(c, "scale")])]);
  const moved = op.has("zero_point") ? g.node("Add", [scaled, g.cast(alongAxis(c, "zero_point"), "float")]) : scaled;
  return g.cast(g.node("Clip", [moved, g.float(low), g.float(high)]), "int32");
};

const dequantize: Lowering = (c) => {
  const { g, op, name } = c;
  const codes = op.has("zero_point") ? g.node("Sub", [name("input"), alongAxis(c, "zero_point")]) : name("input");
  return g.node("Mul", [g.cast(codes, "float"), alongAxis(c, "scale")]);
};

export const quantization: Record<string, Lowering> = { quantize, dequantize };
