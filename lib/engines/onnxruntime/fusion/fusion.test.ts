import { expect, test } from "vitest";
import type { LayerArchitecture } from "../../../decoder/architecture.ts";
import { architectureOf } from "../../../decoder/families/registry.ts";
import { causalMask } from "../../../decoder/mask.ts";
import { ropeTables, rotate } from "../../../decoder/rope.ts";
import { blockProgram, lossProgram } from "../../../decoder/sequence-programs.ts";
import { Builder } from "../../../mil/builder.ts";
import type { MilFunction, Value } from "../../../mil/program.ts";
import { f32, float32Data, i32, type Tensor } from "../../../mil/tensor.ts";
import { elementCount, fp32, int32 } from "../../../mil/types.ts";
import { createRng } from "../../../random.ts";
import { createOnnxRuntimeEngine } from "../onnxruntime-engine.ts";
import { causalAttention, tilesOf } from "./causal-attention.ts";
import { negativeLogLikelihood } from "./negative-log-likelihood.ts";
import { type Fusion, findFusions } from "./pattern.ts";
import { rmsNorm } from "./rms-norm.ts";
import { rotaryEmbedding } from "./rotary-embedding.ts";

const fused = await createOnnxRuntimeEngine({ threads: 1 });
const plain = await createOnnxRuntimeEngine({ threads: 1, fuse: false });
const rng = createRng(0, "fusion");

const matches = (fn: MilFunction, ...fusions: Fusion[]): number => findFusions(fn, fusions).matches.size;

/** The largest difference between fused and unfused, relative to the largest value. */
async function relativeDifference(fn: MilFunction): Promise<number> {
  const inputs: Record<string, Tensor> = {};
  for (const { name, type } of fn.inputs) {
    if (type.kind !== "tensor") throw new Error("no states here");
    inputs[name] = f32(
      type.shape,
      Float32Array.from({ length: elementCount(type.shape) }, () => rng.normal()),
    );
  }
  const [a, b] = [await (await fused.compile(fn)).run(inputs), await (await plain.compile(fn)).run(inputs)];
  let worst = 0;
  for (const [name, t] of Object.entries(a)) {
    const [found, wanted] = [float32Data(t), float32Data(b[name] as Tensor)];
    expect(found.length).toBe(wanted.length);
    const largest = wanted.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
    expect(largest).toBeGreaterThan(0);
    for (const [i, v] of wanted.entries()) worst = Math.max(worst, Math.abs((found[i] as number) - v) / largest);
  }
  return worst;
}

interface NormParts {
  readonly gain?: readonly number[];
  readonly axis?: number;
  readonly keepDims?: boolean;
  readonly other?: boolean;
  readonly giveRoot?: boolean;
}

function norm({ gain, axis = 2, keepDims = true, other, giveRoot }: NormParts): MilFunction {
  const b = new Builder("norm");
  const x = b.input("x", fp32(5, 5, 5));
  const squared = other ? b.input("z", fp32(5, 5, 5)) : x;
  const root = b.rsqrt(b.mean(b.square(squared), [axis], keepDims), 1e-5);
  const y = b.mul(x, root);
  return b.build({
    y: gain ? b.mul(b.input("w", fp32(...gain)), y) : y,
    ...(giveRoot ? { root } : {}),
  });
}

test.each([
  { name: "a gain", parts: { gain: [5] }, count: 1 },
  { name: "none", parts: {}, count: 1 },
  { name: "a gain that is no vector of the width", parts: { gain: [5, 1] }, count: 1 },
  { name: "the mean over another axis", parts: { gain: [5], axis: 1 }, count: 0 },
  { name: "the mean of another square", parts: { gain: [5], other: true }, count: 0 },
  { name: "its root read elsewhere", parts: { gain: [5], giveRoot: true }, count: 0 },
  { name: "a mean without its axis", parts: { gain: [5], keepDims: false }, count: 0 },
])("RMSNorm with $name", async ({ parts, count }) => {
  const fn = norm(parts);
  expect(matches(fn, rmsNorm)).toBe(count);
  expect(await relativeDifference(fn)).toBeLessThan(1e-6);
});

const spec = { inverseFrequencies: [1, 0.3, 0.1, 0.03], attentionFactor: 1.25 };

test("rotary embedding with constant tables of equal halves, and no other", async () => {
  const tables = ropeTables(spec as NonNullable<LayerArchitecture["rope"]>, 7);
  const uneven = f32(
    [7, 8],
    float32Data(tables.cos).map((v, i) => (i === 12 ? v + 1 : v)),
  );
  const make = (cos: Tensor | null, gaveSplit = false): MilFunction => {
    const b = new Builder("rope");
    const x = b.input("x", fp32(2, 3, 7, 8));
    const c = cos ? b.constant(cos, "cos") : b.input("cos", fp32(7, 8));
    const y = rotate(b, x, c, b.constant(tables.sin, "sin"));
    const fn = b.build({ y });
    const halves = fn.operations.find((op) => op.type === "split")?.outputs[0] as Value;
    return gaveSplit ? b.build({ y, half: b.mul(halves, 1) }) : fn;
  };
  for (const [fn, count] of [
    [make(tables.cos), 1],
    [make(uneven), 0],
    [make(null), 0],
    [make(tables.cos, true), 0],
  ] as const) {
    expect(matches(fn, rotaryEmbedding)).toBe(count);
    expect(await relativeDifference(fn)).toBeLessThan(1e-6);
  }
});

test("tiles cover every key a query sees, and a mask that hides little has none", () => {
  const length = 160;
  for (const window of [null, 50, 7]) {
    const mask = float32Data(causalMask(length, window));
    const tiles = tilesOf(mask, length) ?? [];
    expect(tiles.map((t) => t.rows[0])).toEqual([0, 32, 64, 96, 128]);
    let seen = 0;
    for (const { rows, keys } of tiles)
      for (let i = rows[0]; i < rows[1]; i++) {
        for (let j = keys[0]; j < keys[1]; j++) if (mask[i * length + j] === 0) seen++;
      }
    expect(seen).toBe(mask.filter((m) => m === 0).length);
    const area = tiles.reduce((n, { rows, keys }) => n + (rows[1] - rows[0]) * (keys[1] - keys[0]), 0);
    expect(area).toBeLessThan(0.61 * length ** 2);
  }
  expect(tilesOf(new Float32Array(length ** 2), length)).toBeNull();
  expect(tilesOf(new Float32Array(length ** 2).fill(-40000), length)).toBeNull();
  expect(tilesOf(float32Data(causalMask(24, null)), 24)).toBeNull();
});

const config = {
  model_type: "gemma3_text",
  vocab_size: 32,
  hidden_size: 24,
  intermediate_size: 40,
  num_hidden_layers: 2,
  num_attention_heads: 6,
  num_key_value_heads: 2,
  head_dim: 8,
  max_position_embeddings: 256,
  sliding_window: 40,
  layer_types: ["sliding_attention", "full_attention"],
  query_pre_attn_scalar: 8,
};

test.each([
  { name: "sliding", index: 0 },
  { name: "full", index: 1 },
  { name: "with gates on heads", index: 1, gates: ["heads"] as const },
  { name: "with a soft cap", index: 1, softcap: 5 },
  { name: "with heads in no order", index: 0, map: [1, 0, 1, 1, 0, 0] },
  { name: "of a length that tiles do not divide", index: 0, length: 111 },
])("a block $name is fused throughout and gives the same", async ({ index, gates, softcap, map, length = 96 }) => {
  const arch = architectureOf(config);
  const layers = arch.layers.map((l) => ({
    ...l,
    attentionSoftcap: softcap ?? l.attentionSoftcap,
    headToGroup: map ?? l.headToGroup,
  }));
  const fn = blockProgram({ ...arch, layers }, index, { batch: 2, length }, gates ?? []);
  expect(matches(fn, causalAttention)).toBe(1);
  expect(matches(fn, rmsNorm)).toBe(6);
  expect(matches(fn, rotaryEmbedding)).toBe(2);
  expect(await relativeDifference(fn)).toBeLessThan(1e-5);
});

test("attention whose probabilities somebody reads is left as it is", async () => {
  const fn = blockProgram(architectureOf(config), 1, { batch: 1, length: 96 }, [], "block", ["probabilities"]);
  expect(matches(fn, causalAttention)).toBe(0);
  expect(await relativeDifference(fn)).toBeLessThan(1e-5);
});

test("nothing is fused where fp16 is rounded", async () => {
  const fn = blockProgram(architectureOf(config), 0, { batch: 1, length: 96 });
  const inputs = Object.fromEntries(
    fn.inputs.map(({ name, type }) => {
      const shape = type.kind === "tensor" ? type.shape : [];
      return [
        name,
        f32(
          shape,
          Float32Array.from({ length: elementCount(shape) }, () => rng.normal()),
        ),
      ];
    }),
  );
  const rounded = await (await fused.compile(fn, { float16: "round" })).run(inputs);
  const unfused = await (await plain.compile(fn)).run(inputs);
  expect(float32Data(rounded.y as Tensor)).toEqual(float32Data(unfused.y as Tensor));
});

test("the loss of a row is one log softmax: of large, equal and hopeless logits as of any other", async () => {
  const [rows, classes] = [5, 37];
  const loss = (change: (b: Builder, z: Value, targets: Value) => Record<string, Value>): MilFunction => {
    const b = new Builder("loss");
    return b.build(change(b, b.input("z", fp32(rows, classes)), b.input("targets", int32(rows))));
  };
  const nll = (b: Builder, z: Value, targets: Value, total = b.logSumExp(z, [1])): Value =>
    b.sub(total, b.squeeze(b.gatherAlongAxis(z, b.expandDims(targets, [1]), 1), [1]));
  const fn = loss((b, z, targets) => ({ nll: nll(b, z, targets) }));
  expect(matches(fn, negativeLogLikelihood)).toBe(1);
  const z = Float32Array.from({ length: rows * classes }, (_, i) => {
    const row = Math.floor(i / classes);
    return row === 0 ? 3 : row === 1 ? (i % 2 ? -4e4 : 90) : 8 * rng.normal();
  });
  const chosen = [0, 1, 36, 7, 20];
  const inputs = { z: f32([rows, classes], z), targets: i32([rows], Int32Array.from(chosen)) };
  const [found, unfused] = [await fused.compile(fn), await plain.compile(fn)];
  const [a, b] = [(await found.run(inputs)).nll, (await unfused.run(inputs)).nll] as [Tensor, Tensor];
  for (const [r, target] of chosen.entries()) {
    const row = [...z.subarray(r * classes, (r + 1) * classes)];
    const most = Math.max(...row);
    const expected = most + Math.log(row.reduce((t, v) => t + Math.exp(v - most), 0)) - (row[target] as number);
    expect(Math.abs((float32Data(a)[r] as number) - expected)).toBeLessThan(1e-6 * Math.max(10, expected));
    expect(Math.abs((float32Data(b)[r] as number) - expected)).toBeLessThan(1e-6 * Math.max(10, expected));
  }
  // A total that something else reads, other logits and another axis are left alone.
  for (const other of [
    loss((b2, v, t) => {
      const total = b2.logSumExp(v, [1]);
      return { nll: nll(b2, v, t, total), total };
    }),
    loss((b2, v, t) => ({ nll: nll(b2, v, t, b2.logSumExp(b2.mul(v, 2), [1])) })),
  ])
    expect(matches(other, negativeLogLikelihood)).toBe(0);
  const arch = architectureOf({
    model_type: "llama",
    vocab_size: 64,
    hidden_size: 16,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    intermediate_size: 24,
    max_position_embeddings: 64,
    rms_norm_eps: 1e-5,
  });
  for (const choice of [true, false]) expect(matches(lossProgram(arch, 4, choice), negativeLogLikelihood)).toBe(1);
});
