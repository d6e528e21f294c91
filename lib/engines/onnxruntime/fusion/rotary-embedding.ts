/**
 * @file Rotary position embedding as one kernel: x ⊙ c + [−x₂, x₁] ⊙ s is ONNX Runtime's `RotaryEmbedding`.
 *
 * Matched on x (batch, heads, S, headDim) with constant tables c, s (S, headDim) whose halves are the same, as they are for whole
 * sequences; a decoding step, which cuts its rows out of the tables at run time, is left as it is.
 */
import { f32At } from "../../../elements.ts";
import type { Operation, Value } from "../../../mil/program.ts";
import { constantFloats, eitherOrder, type Fusion, madeBy, numbers, operand, operands, shapeOf } from "./pattern.ts";

/** The operation that makes [−x₂, x₁] ⊙ s, and what it is made of. */
function turned(term: Value, x: Value): { sin: Value; covers: Operation[] } | null {
  const mul = madeBy(term, "mul");
  if (!mul) return null;
  const axis = shapeOf(x).length - 1;
  for (const [swapped, sin] of eitherOrder(mul)) {
    const concat = madeBy(swapped, "concat");
    if (!concat || Number(concat.params.axis) !== axis) continue;
    const [minus, first, ...more] = operands(concat, "values");
    const negation = madeBy(minus ?? null, "mul");
    const split = madeBy(first ?? null, "split");
    if (!negation || !split || more.length > 0 || operand(split, "x") !== x || Number(split.params.axis) !== axis)
      continue;
    const sizes = numbers(split, "split_sizes");
    if (sizes.length !== 2 || sizes[0] !== sizes[1] || split.outputs[0] !== first) continue;
    const sign = eitherOrder(negation).find(([second]) => second === split.outputs[1])?.[1] ?? null;
    const factor = constantFloats(sign);
    if (factor?.length === 1 && factor[0] === -1) return { sin, covers: [mul, concat, negation, split] };
  }
  return null;
}

/** The first half of every row of a table (S, headDim) whose halves are the same. */
function halfTable(table: Value, rows: number, width: number): Float32Array | null {
  const data = constantFloats(table);
  const shape = shapeOf(table);
  if (!data || shape.length !== 2 || shape[0] !== rows || shape[1] !== width) return null;
  const half = new Float32Array((rows * width) / 2);
  for (let r = 0; r < rows; r++) {
    for (let i = 0; i < width / 2; i++) {
      const v = f32At(data, r * width + i);
      if (data[r * width + width / 2 + i] !== v) return null;
      half[(r * width) / 2 + i] = v;
    }
  }
  return half;
}

export const rotaryEmbedding: Fusion = (last) => {
  if (last.type !== "add") return null;
  for (const [straight, rotated] of eitherOrder(last)) {
    const mul = madeBy(straight, "mul");
    if (!mul) continue;
    for (const [x, cos] of eitherOrder(mul)) {
      const shape = shapeOf(x);
      if (shape.length !== 4 || shape.includes(0)) continue;
      const turn = turned(rotated, x);
      if (!turn) continue;
      const [rows, width] = shape.slice(2) as [number, number];
      const [c, s] = [halfTable(cos, rows, width), halfTable(turn.sin, rows, width)];
      if (!c || !s) continue;
      return {
        covers: [last, mul, ...turn.covers],
        emit: (g, nameOf) => {
          const table = (values: Float32Array): string => g.initializer("float", [rows, width / 2], values);
          const start = g.int64([0]);
          return g.node("RotaryEmbedding", [nameOf(x), start, table(c), table(s)], {}, "com.microsoft");
        },
      };
    }
  }
  return null;
};
