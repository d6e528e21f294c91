/**
 * @file fp16 computed with `round` is fp32 arithmetic rounded to fp16 after every single op, bit by bit.
 *
 * The sum, product, quotient or root of fp16 numbers, computed in fp32 and rounded to fp16, is the correctly
 * rounded fp16 result (24 ≥ 2 · 11 + 2 bits; Figueroa 1995), so the float64 reference must agree exactly.
 */
import { beforeAll, describe, expect, it } from "vitest";
import type { Engine } from "../../lib/engines/engine.ts";
import { float16FromFloat32, roundToFloat16 } from "../../lib/float16.ts";
import { Builder } from "../../lib/mil/builder.ts";
import type { MilFunction, Value } from "../../lib/mil/program.ts";
import { type Tensor, tensor } from "../../lib/mil/tensor.ts";
import { fp16 } from "../../lib/mil/types.ts";
import { createRng } from "../../lib/random.ts";
import { engines } from "./engines.ts";
import { evaluate, fromTensor } from "./naive.ts";

const count = 2000;
const rng = createRng(11, "float16-rounding");
const half = (scale: number): Tensor =>
  tensor("fp16", [count], float16FromFloat32(Float32Array.from({ length: count }, () => scale * rng.normal())));

function chain(): MilFunction {
  const b = new Builder("chain");
  const x = b.input("x", fp16(count));
  const y = b.input("y", fp16(count));
  const one = (type: string, v: Value): Value => b.op(type, { x: v })[0] as Value;
  // Every intermediate feeds another op that an optimizer would like to fuse with it.
  const s = b.add(b.mul(b.add(x, y), y), b.mul(x, 0.1));
  const q = b.div(s, b.add(one("abs", y), 0.3));
  const r = b.sub(b.sqrt(one("abs", q)), b.mul(q, 3));
  const cut = b.maximum(b.minimum(r, 5), -5);
  return b.build({
    chain: b.mul(b.add(cut, x), b.sub(cut, y)),
    // Subnormal in fp16, and beyond its largest number.
    tiny: b.mul(b.mul(x, 1e-4), 0.06),
    huge: b.mul(b.mul(x, 250), 250),
    doubled: one("square", b.square(x)),
  });
}

describe.each(engines)("$name", ({ create }) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await create();
  });

  it("rounds a chain op by op, subnormal and infinite results included", async () => {
    const fn = chain();
    const inputs = { x: half(1), y: half(2) };
    const executable = await engine.compile(fn, { float16: "round" });
    const found = await executable.run(inputs);
    const expected = evaluate(fn, { x: fromTensor(inputs.x), y: fromTensor(inputs.y) }, { float16: true });
    for (const [name, want] of Object.entries(expected)) {
      expect([name, [...fromTensor(found[name] as Tensor).data]]).toEqual([name, [...want.data]]);
    }
    expect(expected.tiny?.data.some((v) => v !== 0 && Math.abs(v) < 2 ** -14)).toBe(true);
    expect(expected.huge?.data.some((v) => v === Number.POSITIVE_INFINITY)).toBe(true);
    await executable.dispose();
  });

  it("does not round in between when fp16 is widened", async () => {
    const fn = chain();
    const inputs = { x: half(1), y: half(2) };
    const executable = await engine.compile(fn, { float16: "widen" });
    const found = fromTensor((await executable.run(inputs)).chain as Tensor).data;
    const naive = { x: fromTensor(inputs.x), y: fromTensor(inputs.y) };
    const exact = evaluate(fn, naive).chain?.data ?? new Float64Array(0);
    const rounded = evaluate(fn, naive, { float16: true }).chain?.data ?? new Float64Array(0);
    const error = (of: Float64Array): number =>
      of.reduce((n, v, i) => n + Math.abs(v - (exact[i] as number)), 0) / count;
    // What is left is the rounding of the result itself, a fraction of what nine roundings leave.
    expect(error(found)).toBeLessThan(0.5 * error(rounded));
    expect(found.every((v) => v === roundToFloat16(v))).toBe(true);
    await executable.dispose();
  });
});
