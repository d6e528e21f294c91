import { expect, test } from "vitest";
import { Builder } from "../../mil/builder.ts";
import { splitStates } from "../../mil/passes/split-states.ts";
import type { MilFunction, Value } from "../../mil/program.ts";
import { f32, i32 } from "../../mil/tensor.ts";
import { fp32, int32, stateType } from "../../mil/types.ts";
import { createRng } from "../../random.ts";
import { createOnnxRuntimeEngine } from "./onnxruntime-engine.ts";
import { HeldStates } from "./states.ts";

test.each([
  [
    [2, 3, 4],
    [2, 3, 4],
    [0, 0, 0],
  ],
  [
    [2, 3, 4],
    [1, 2, 4],
    [1, 1, 0],
  ],
  [
    [2, 3, 4],
    [2, 1, 2],
    [0, 2, 1],
  ],
  [
    [1, 3, 5],
    [1, 3, 1],
    [0, 0, -2],
  ],
  [[6], [2], [3]],
])("an update of %j in %j lands where three loops put it", (shape, updateShape, begin) => {
  const rng = createRng(3, JSON.stringify([shape, updateShape]));
  const count = shape.reduce((n, d) => n * d, 1);
  const values = Float32Array.from({ length: count }, () => rng.normal());
  const update = Float32Array.from({ length: updateShape.reduce((n, d) => n * d, 1) }, () => rng.normal());
  const layout = { name: "s", type: fp32(...shape), parts: [{ name: "s", from: 0, to: count }] };
  const held = new HeldStates([layout], new Map([["s", values]]));
  held.write("s", shape, update, updateShape, begin);
  const expected = values.slice();
  const index = (at: number, dims: readonly number[]): number[] => {
    const out = dims.map(() => 0);
    for (let a = dims.length - 1, rest = at; a >= 0; rest = Math.floor(rest / (dims[a] ?? 1)), a--)
      out[a] = rest % (dims[a] ?? 1);
    return out;
  };
  for (let u = 0; u < update.length; u++) {
    const place = index(u, updateShape).map((p, a) => {
      const first = begin[a] ?? 0;
      return p + (first < 0 ? first + (shape[a] ?? 0) : first);
    });
    expected[place.reduce((n, p, a) => n * (shape[a] ?? 1) + p, 0)] = update[u] ?? Number.NaN;
  }
  expect(held.whole("s")).toEqual(expected);
});

/** Two layers with rows [0, 2) and [2, 4) of a cache of 5 rows and 6 slots; each reads, writes at `position`, reads again. */
function layered(name: string, layers: readonly number[]): MilFunction {
  const b = new Builder(name);
  const cache = b.input("cache", stateType(fp32(1, 5, 6, 3)));
  const position = b.input("position", int32(1));
  const x = b.input("x", fp32(1, 2, 1, 3));
  const constant = (n: number): Value => b.constant(i32([1], [n]));
  const outputs: Record<string, Value> = {};
  for (const row of layers) {
    const begin = b.concat([constant(0), constant(row), position, constant(0)], 0);
    const end = b.concat([constant(1), constant(row + 2), b.add(position, constant(1)), constant(3)], 0);
    const masks = { begin: [true, false, false, true], end: [true, false, false, true] };
    b.writeState(cache, b.sliceUpdate(b.readState(cache), b.mul(x, row + 1), begin, end, masks));
    outputs[`seen_${row}`] = b.sum(b.slice(b.readState(cache), [0, row, 0, 0], [1, row + 2, 6, 3]), [2], true);
  }
  return b.build(outputs);
}

test("rows that are used apart are states of their own, and functions that divide a cache differently share it", async () => {
  const engine = await createOnnxRuntimeEngine();
  const both = layered("both", [0, 2]);
  const one = layered("one", [2]);
  expect(
    splitStates(both)
      .parts.get("cache")
      ?.parts.map(({ from, to }) => [from, to]),
  ).toEqual([
    [0, 2],
    [2, 4],
  ]);
  expect(splitStates(one).parts.size).toBe(0);
  const [first, second] = [await engine.compile(both), await engine.compile(one)];
  const initial = Float32Array.from({ length: 90 }, (_, i) => i / 7);
  const state = first.makeState({ cache: f32([1, 5, 6, 3], initial) });
  const expected = initial.slice();
  const put = (layers: readonly number[], position: number, x: Float32Array): void => {
    for (const row of layers)
      for (let r = 0; r < 2; r++)
        for (let c = 0; c < 3; c++)
          expected[((row + r) * 6 + position) * 3 + c] = Math.fround((x[r * 3 + c] ?? 0) * (row + 1));
  };
  for (const [layers, exe, position] of [
    [[0, 2], first, 1],
    [[2], second, 4],
    [[0, 2], first, 5],
  ] as const) {
    const x = Float32Array.from({ length: 6 }, (_, i) => position + i);
    const out = await exe.run({ position: i32([1], [position]), x: f32([1, 2, 1, 3], x) }, state);
    put(layers, position, x);
    expect((await state.read()).cache?.data).toEqual(expected);
    for (const row of layers) {
      const seen = out[`seen_${row}`]?.data;
      for (let r = 0; r < 2; r++)
        for (let c = 0; c < 3; c++) {
          let sum = 0;
          for (let s = 0; s < 6; s++) sum += expected[((row + r) * 6 + s) * 3 + c] ?? 0;
          expect(seen?.[r * 3 + c]).toBeCloseTo(sum, 4);
        }
    }
  }
  await first.dispose();
  await second.dispose();
});
