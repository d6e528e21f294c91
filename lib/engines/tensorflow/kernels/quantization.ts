/** @file Activation quantization on TensorFlow.js: q = clip(round(x / s) + z), x = (q − z) · s. */
import type { TfTensor } from "../backend.ts";
import type { Kernel, KernelContext } from "./kernel.ts";

/** A scale or zero point, laid along `axis` when it is a vector. */
function alongAxis({ tf, op, operand }: KernelContext, name: string): TfTensor {
  const shape = op.shape("input");
  const [length] = op.shape(name);
  const float = tf.cast(operand(name), "float32");
  if (length === undefined) return float;
  const axis = op.axis("axis", shape.length);
  return tf.reshape(
    float,
    shape.map((_, i) => (i === axis ? length : 1)),
  );
}

const quantize: Kernel = (c) => {
  const { tf, op, operand } = c;
  const low = op.string("output_dtype") === "int8" ? -128 : 0;
  const scaled = tf.round(tf.div(operand("input"), alongAxis(c, "scale")));
  const moved = op.has("zero_point") ? tf.add(scaled, alongAxis(c, "zero_point")) : scaled;
  return tf.cast(tf.clipByValue(moved, low, low + 255), "int32");
};

const dequantize: Kernel = (c) => {
  const codes = c.tf.cast(c.operand("input"), "float32");
  const moved = c.op.has("zero_point") ? c.tf.sub(codes, alongAxis(c, "zero_point")) : codes;
  return c.tf.mul(moved, alongAxis(c, "scale"));
};

export const quantization: Record<string, Kernel> = { quantize, dequantize };
