/** @file What every engine's executables promise besides numbers: states, checked inputs, independent results. */
import { beforeAll, describe, expect, it } from "vitest";
import type { Engine } from "../../lib/engines/engine.ts";
import { createOnnxRuntimeEngine } from "../../lib/engines/onnxruntime/onnxruntime-engine.ts";
import { EspalierError } from "../../lib/errors.ts";
import { float16FromFloat32, roundToFloat16 } from "../../lib/float16.ts";
import { Builder } from "../../lib/mil/builder.ts";
import type { MilFunction } from "../../lib/mil/program.ts";
import { f32, i32, type Tensor, tensor } from "../../lib/mil/tensor.ts";
import { bool, elementCount, fp16, fp32, int32, type Shape, stateType, tensorType } from "../../lib/mil/types.ts";
import { createRng } from "../../lib/random.ts";
import { engines } from "./engines.ts";
import { evaluate, fromTensor, type Naive } from "./naive.ts";

const rng = createRng(5, "executable");
const normal = (...shape: number[]): Tensor =>
  f32(
    shape,
    Float32Array.from({ length: elementCount(shape) }, () => rng.normal()),
  );
const half = (...shape: number[]): Tensor =>
  tensor("fp16", shape, float16FromFloat32(Float32Array.from(normal(...shape).data)));

/** A cache of four positions: writes `update` at `begin`, gives twice what the cache then holds. */
function cacheProgram(type: typeof fp32): MilFunction {
  const b = new Builder("cache_step");
  const cache = b.input("cache", stateType(type(2, 4, 3)));
  const update = b.input("update", type(2, 1, 3));
  const begin = b.input("begin", int32(3));
  const end = b.input("end", int32(3));
  const before = b.readState(cache);
  const masks = { begin: [false, false, false], end: [false, false, false] };
  b.writeState(cache, b.sliceUpdate(before, update, begin, end, masks));
  const after = b.readState(cache);
  return b.build({ before: b.sum(before), doubled: b.mul(after, 2) });
}

async function code(attempt: Promise<unknown>): Promise<{ code: string; message: string }> {
  try {
    await attempt;
  } catch (thrown) {
    if (thrown instanceof EspalierError) return { code: thrown.code, message: thrown.message };
    throw thrown;
  }
  return { code: "none", message: "" };
}

describe.each(engines)("$name", ({ create, hasDevice }) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await create();
  });
  const compile = (fn: MilFunction) => engine.compile(fn);

  it("says what it is", () => {
    expect(engine.name.length).toBeGreaterThan(0);
    expect(engine.description).toMatch(/\d+\.\d+/);
  });

  it.each([
    ["fp32", fp32, normal, "widen"],
    ["fp16", fp16, half, "round"],
  ] as const)(
    "keeps %s state over calls, a read after a write seeing the new value",
    async (_, type, make, float16) => {
      const fn = cacheProgram(type);
      const executable = await engine.compile(fn, { float16 });
      const state = executable.makeState();
      const states: Record<string, Naive> = {
        cache: { dtype: type === fp16 ? "fp16" : "fp32", shape: [2, 4, 3], data: new Float64Array(24) },
      };
      for (const position of [0, 3, 1, 3]) {
        const inputs = {
          update: make(2, 1, 3),
          begin: i32([3], [0, position, 0]),
          end: i32([3], [2, position + 1, 3]),
        };
        const found = await executable.run(inputs, state);
        const naive = Object.fromEntries(Object.entries(inputs).map(([k, t]) => [k, fromTensor(t)]));
        const expected = evaluate(fn, naive, { float16: float16 === "round", states });
        for (const name of ["before", "doubled"]) {
          const want = [...(expected[name]?.data ?? [])];
          [...fromTensor(found[name] as Tensor).data].forEach((v, i) => {
            expect(v).toBeCloseTo(want[i] as number, 5);
          });
        }
        const held = await state.read();
        expect([...fromTensor(held.cache as Tensor).data]).toEqual([...(states.cache?.data ?? [])]);
      }
      const fresh = await executable.makeState().read();
      expect([...(fresh.cache as Tensor).data].every((v) => v === 0)).toBe(true);
      state.dispose();
      await executable.dispose();
    },
  );

  it("refuses to run a stateful function without a state", async () => {
    const executable = await compile(cacheProgram(fp32));
    const inputs = { update: normal(2, 1, 3), begin: i32([3], [0, 0, 0]), end: i32([3], [2, 1, 3]) };
    expect((await code(executable.run(inputs))).code).toBe("input/invalid");
  });

  it("names an input that is missing, unknown, or of another type, shape or length", async () => {
    const b = new Builder("checked");
    const fn = b.build({ y: b.add(b.input("x", fp32(2, 3)), b.input("w", fp32(3))) });
    const executable = await compile(fn);
    const x = normal(2, 3);
    const w = normal(3);
    const attempts: [Record<string, Tensor>, RegExp][] = [
      [{ x }, /w.*fp32\[3\]/],
      [{ x, w, extra: w }, /extra/],
      [{ x, w: i32([3], [1, 2, 3]) }, /w .*fp32\[3\].*int32\[3\]/],
      [{ x, w: normal(2) }, /w .*fp32\[3\].*fp32\[2\]/],
      [{ x, w: normal(1, 3) }, /w .*fp32\[3\].*fp32\[1, 3\]/],
      [{ x, w: { dtype: "fp32", shape: [3], data: new Float32Array(2) } }, /w/],
      [{ x, w: { dtype: "fp32", shape: [3], data: new Int32Array(3) } }, /w/],
    ];
    for (const [inputs, message] of attempts) {
      const failure = await code(executable.run(inputs));
      expect(failure.code).toBe("input/invalid");
      expect(failure.message).toMatch(message);
    }
    await executable.run({ x, w });
  });

  it("leaves inputs alone, and results of one run alone in the next", async () => {
    const b = new Builder("independent");
    const x = b.input("x", fp32(64));
    const executable = await compile(b.build({ same: b.op("identity", { x })[0] as typeof x, y: b.mul(x, 3) }));
    const first = normal(64);
    const kept = [...first.data];
    const one = await executable.run({ x: first });
    const before = [...(one.y as Tensor).data];
    await executable.run({ x: normal(64) });
    expect([...first.data]).toEqual(kept);
    expect([...(one.same as Tensor).data]).toEqual(kept);
    expect([...(one.y as Tensor).data]).toEqual(before);
  });

  it("gives back constants, inputs and every element type", async () => {
    const b = new Builder("boundary");
    const c = b.constant(half(2, 2), "weight");
    const flag = b.input("flag", bool(3));
    const byte = b.input("byte", tensorType("uint8", [2]));
    const h = b.input("h", fp16(3));
    const fn = b.build({
      c,
      flag_out: b.op("logical_not", { x: flag })[0] as typeof c,
      byte_out: byte,
      h_out: h,
      scalar: b.op("shape", { x: c })[0] as typeof c,
    });
    const executable = await compile(fn);
    const inputs = {
      flag: tensor("bool", [3], Uint8Array.of(0, 1, 0)),
      byte: tensor("uint8", [2], Uint8Array.of(7, 255)),
      h: half(3),
    };
    const y = await executable.run(inputs);
    expect(y.c).toMatchObject({ dtype: "fp16", shape: [2, 2] });
    expect([...(y.c as Tensor).data]).toEqual([...(c.producer?.constant?.data ?? [])]);
    expect([...(y.flag_out as Tensor).data]).toEqual([1, 0, 1]);
    expect(y.byte_out).toMatchObject({ dtype: "uint8" });
    expect([...(y.byte_out as Tensor).data]).toEqual([7, 255]);
    expect([...(y.h_out as Tensor).data]).toEqual([...inputs.h.data]);
    expect([...(y.scalar as Tensor).data]).toEqual([2, 2]);
  });

  it.skipIf(hasDevice)("takes a negative index, and one past the end, as out of bounds", async () => {
    for (const op of ["gather", "gather_along_axis"]) {
      const b = new Builder("bounds");
      const x = b.input("x", fp32(4));
      const indices = b.input("indices", int32(2));
      const executable = await compile(b.build({ y: b.op(op, { x, indices })[0] as typeof x }));
      for (const bad of [-1, 4]) {
        const failure = await code(executable.run({ x: normal(4), indices: i32([2], [0, bad]) }));
        expect([op, bad, failure.code]).toEqual([op, bad, "engine/failed"]);
      }
      await executable.run({ x: normal(4), indices: i32([2], [0, 3]) });
    }
  });

  it("keeps the codes of a compressed constant's type even when fp16 is widened", async () => {
    const b = new Builder("compressed");
    const data = b.constant(tensor("int8", [1, 4], Int8Array.of(127, -5, 3, 1)));
    const scale = b.constant(tensor("fp16", [1, 1], float16FromFloat32(Float32Array.of(0.0123))));
    const w = b.op("constexpr_blockwise_shift_scale", { data, scale })[0] as typeof data;
    const executable = await engine.compile(b.build({ y: b.cast(w, "fp32") }), { float16: "widen" });
    const y = (await executable.run({})).y as Tensor;
    const s = roundToFloat16(0.0123);
    expect([...y.data]).toEqual([127, -5, 3, 1].map((q) => roundToFloat16(q * s)));
  });
});

describe("onnxruntime on two threads", () => {
  it("adds updates to a repeated index without losing any", async () => {
    // Long rows onto few targets, many times over: a lost update is a matter of timing.
    const [rows, width, targets] = [8192, 128, 8];
    const engine = await createOnnxRuntimeEngine({ threads: 2 });
    const updates = normal(rows, width);
    const indices = i32(
      [rows],
      Int32Array.from({ length: rows }, () => rng.integer(targets)),
    );
    const shape: Shape = [64, width];
    const expected = new Float64Array(elementCount(shape));
    updates.data.forEach((v, i) => {
      const at = (indices.data[Math.floor(i / width)] as number) * width + (i % width);
      expected[at] = (expected[at] as number) + v;
    });
    const b = new Builder("repeated");
    const u = b.input("u", fp32(rows, width));
    const i = b.input("i", int32(rows));
    const column = b.reshape(i, [rows, 1]);
    const nd = b.op("scatter_nd", { data: b.fill(shape, 0), indices: column, updates: u }, { mode: "add" });
    const fn = b.build({ rows: b.scatterAdd(b.fill(shape, 0), i, u), nd: nd[0] as typeof u });
    const executable = await engine.compile(fn);
    for (let round = 0; round < 20; round++) {
      const y = await executable.run({ u: updates, i: indices });
      for (const name of ["rows", "nd"]) {
        // A thousand additions an element in fp32: far below the size of one lost update.
        const worst = Math.max(...expected.map((w, k) => Math.abs(((y[name] as Tensor).data[k] as number) - w)));
        expect(worst).toBeLessThan(1e-3);
      }
    }
    const failure = await code(executable.run({ u: updates, i: i32([rows], new Int32Array(rows).fill(64)) }));
    expect(failure.code).toBe("engine/failed");
    await executable.dispose();
  });
});

describe("onnxruntime", () => {
  it("computes the same whether constants are embedded or handed over", async () => {
    const b = new Builder("handed_over");
    const w = b.constant(normal(48, 48), "w");
    const h = b.constant(half(48, 48), "h");
    const x = b.input("x", fp32(2, 48));
    const fn = b.build({ y: b.matmul(b.matmul(x, w), b.cast(h, "fp32")) });
    const input = normal(2, 48);
    const results: number[][] = [];
    for (const embeddedLimitBytes of [2 ** 30, 0]) {
      const engine = await createOnnxRuntimeEngine({ embeddedLimitBytes });
      const executable = await engine.compile(fn);
      results.push([...((await executable.run({ x: input })).y as Tensor).data]);
      await executable.dispose();
    }
    const scale = Math.max(...(results[0] as number[]).map(Math.abs));
    results[1]?.forEach((v, i) => {
      expect(Math.abs(v - (results[0]?.[i] as number))).toBeLessThan(1e-6 * scale);
    });
  });

  it("gives −∞ for the log-sum-exp of masked scores alone", async () => {
    const b = new Builder("masked");
    const executable = await (await createOnnxRuntimeEngine()).compile(
      b.build({ y: b.logSumExp(b.input("x", fp32(2, 2)), [1]) }),
    );
    const x = f32([2, 2], [-Infinity, -Infinity, 0, -Infinity]);
    expect([...((await executable.run({ x })).y as Tensor).data]).toEqual([-Infinity, 0]);
    await executable.dispose();
  });

  it("refuses a number of threads that is none", async () => {
    expect((await code(createOnnxRuntimeEngine({ threads: 0 }))).code).toBe("input/invalid");
  });
});
