import { expect, test } from "vitest";
import { fromFloat16Bits, roundToFloat16, toFloat16Bits } from "../float16.ts";
import { Builder } from "../mil/builder.ts";
import type { MilFunction, Value } from "../mil/program.ts";
import { DeferredTensor, type Tensor, type TensorData, tensor } from "../mil/tensor.ts";
import { createRng } from "../random.ts";
import { ConstantPool } from "./constant-pool.ts";

const rng = createRng(7, "constants");
const half = (values: readonly number[]): Uint16Array => Uint16Array.from(values, toFloat16Bits);

/** A constant that comes in pieces of `length`, and counts how often it is read. */
function deferred(t: Tensor, length: number): { constant: DeferredTensor; reads: () => number } {
  let reads = 0;
  const constant = new DeferredTensor(t.dtype, t.shape, async function* (): AsyncGenerator<TensorData> {
    reads++;
    for (let at = 0; at < t.data.length; at += length) yield t.data.subarray(at, at + length);
  });
  return { constant, reads: () => reads };
}

function holding(make: (b: Builder) => Value): MilFunction {
  const b = new Builder("holds");
  return b.build({ y: b.exp(make(b)) });
}

const dataOf = async (pool: ConstantPool, fn: MilFunction) =>
  [...(await pool.valuesOf(fn)).values()].map(({ data }) => data);

// Blocks on the last axis, on the first, on both, inside a rank of four, and one for all.
test.each([
  [
    [6, 8],
    [6, 2],
  ],
  [
    [6, 8],
    [3, 1],
  ],
  [
    [6, 8],
    [2, 4],
  ],
  [
    [4, 6, 1, 1],
    [2, 3, 1, 1],
  ],
  [
    [3, 4, 5],
    [1, 2, 1],
  ],
  [
    [5, 7],
    [1, 1],
  ],
])("codes of %j in blocks %j decode as element by element, in whatever pieces they come", async (shape, blocks) => {
  const count = shape.reduce((n, d) => n * d, 1);
  const scales = half(Array.from({ length: blocks.reduce((n, d) => n * d, 1) }, () => rng.normal()));
  const offsets = Int8Array.from(scales, () => rng.integer(16) - 8);
  const codes = Int8Array.from({ length: count }, () => rng.integer(16) - 8);
  const expected = Float32Array.from({ length: count }, (_, i) => {
    let [rest, block, step] = [i, 0, 1];
    for (let a = shape.length - 1; a >= 0; a--) {
      const [extent, cuts] = [shape[a] ?? 1, blocks[a] ?? 1];
      block += Math.floor((rest % extent) / (extent / cuts)) * step;
      step *= cuts;
      rest = Math.floor(rest / extent);
    }
    return roundToFloat16(fromFloat16Bits(scales[block] ?? 0) * ((codes[i] ?? 0) - (offsets[block] ?? 0)));
  });
  for (const piece of [1, 7, count]) {
    const { constant } = deferred(tensor("int8", shape, codes), piece);
    const fn = holding((b) => {
      const data = b.constant(constant, "codes");
      const scale = b.constant(tensor("fp16", blocks, scales), "scale");
      const offset = b.constant(tensor("int8", blocks, offsets), "offset");
      return b.op("constexpr_blockwise_shift_scale", { data, scale, offset })[0] as Value;
    });
    expect(await dataOf(new ConstantPool(), fn)).toEqual([expected]);
  }
});

test("functions that hold one constant share one array, whatever shape they see it in; others do not", async () => {
  const pool = new ConstantPool();
  const values = half(Array.from({ length: 24 }, () => rng.normal()));
  const { constant, reads } = deferred(tensor("fp16", [4, 6], values), 5);
  const kernel = new DeferredTensor("fp16", [4, 6, 1, 1], constant.pieces);
  const [first] = await dataOf(
    pool,
    holding((b) => b.constant(constant, "w")),
  );
  const [second] = await dataOf(
    pool,
    holding((b) => b.constant(kernel, "w")),
  );
  expect(second).toBe(first);
  expect(reads()).toBe(1);
  expect(first).toEqual(Float32Array.from(values, fromFloat16Bits));

  const codes = deferred(
    tensor(
      "uint4",
      [4, 6],
      Uint8Array.from({ length: 24 }, (_, i) => i % 16),
    ),
    24,
  );
  const palette = (lut: Tensor) =>
    holding((b) => {
      const indices = b.constant(codes.constant, "indices");
      return b.op("constexpr_lut_to_dense", { indices, lut: b.constant(lut, "lut") })[0] as Value;
    });
  const table = (factor: number) =>
    tensor("fp16", [1, 1, 16, 1], half(Array.from({ length: 16 }, (_, i) => i * factor)));
  const [one, two] = [table(1), table(2)];
  const [a] = await dataOf(pool, palette(one));
  const [again] = await dataOf(pool, palette(one));
  const [other] = await dataOf(pool, palette(two));
  expect(again).toBe(a);
  expect(other).toEqual(a?.map((v) => 2 * v));
});

test("a constant of many pieces gives the thread back between them", async () => {
  const length = 2 ** 22;
  const piece = new Uint16Array(length);
  const constant = new DeferredTensor("fp16", [3, length], async function* () {
    for (let i = 0; i < 3; i++) yield piece;
  });
  let turns = 0;
  let isDone = false;
  const count = (): void => {
    turns++;
    if (!isDone) setImmediate(count);
  };
  setImmediate(count);
  await new ConstantPool().valuesOf(holding((b) => b.constant(constant, "w")));
  isDone = true;
  expect(turns).toBeGreaterThanOrEqual(3);
});
