/** Whole tiny decoders on every engine against the first: a training step, and generation through the cache. */
import { expect, test } from "vitest";
import { generate } from "../../lib/decoder/generate.ts";
import { stepModel } from "../../lib/decoder/step-model.ts";
import { perLayerRows } from "../../lib/decoder/weights.ts";
import type { Engine } from "../../lib/engines/engine.ts";
import { f32, float32Data, i32 } from "../../lib/mil/tensor.ts";
import { textObjective, trainingProgram } from "../../lib/train/training-program.ts";
import { type TinyFamily, tinyFamilies, tinyIds, tinyModel } from "../fixtures/tiny-model.ts";
import { engines } from "./engines.ts";

const [reference, ...others] = await Promise.all(
  engines.map(async (e) => ({ name: e.name, engine: await e.create() })),
);
if (!reference) throw new Error("there is no engine");
const cases = others.flatMap(({ name, engine }) => tinyFamilies.map((family) => ({ name, engine, family })));

async function trainingStep(engine: Engine, family: TinyFamily): Promise<Map<string, Float32Array>> {
  const weights = tinyModel(family);
  const [batch, length] = [2, 9];
  const rows = batch * length;
  const executable = await engine.compile(trainingProgram(weights.arch, { batch, length }, textObjective));
  const results = await executable.run({
    ids: i32([batch, length], tinyIds(rows, weights.arch.vocab)),
    targets: i32([rows], tinyIds(rows, weights.arch.vocab, 6)),
    tokenWeights: f32([rows], new Float32Array(rows).fill(1 / rows)),
    ...Object.fromEntries(weights.tensors),
    ...(await perLayerRows(weights, tinyIds(rows, weights.arch.vocab), batch)),
  });
  return new Map(Object.entries(results).map(([name, t]) => [name, float32Data(t)]));
}

test.each(cases)("$name: a training step of $family has the loss and gradients of the first", async (c) => {
  const found = await trainingStep(c.engine, c.family);
  const expected = await trainingStep(reference.engine, c.family);
  expect(expected.size).toBeGreaterThan(10);
  for (const [name, want] of expected) {
    const got = found.get(name);
    const largest = want.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
    expect(largest, name).toBeGreaterThan(0);
    expect(got?.length, name).toBe(want.length);
    want.forEach((v, i) => {
      const difference = Math.abs((got?.[i] ?? Number.NaN) - v);
      if (!(difference <= 2e-5 * largest)) expect.fail(`${name}[${i}] is ${got?.[i]}, expected ${v}`);
    });
  }
});

test.each(cases)("$name: $family says the same through its cache", async (c) => {
  const weights = tinyModel(c.family, 8);
  const say = async (engine: Engine): Promise<number[]> => {
    const model = await stepModel(engine, weights, { context: 16, prefillLength: 4 });
    return generate(model, [1, 5, 7, 9, 3, 2], { maxTokens: 10 });
  };
  const expected = await say(reference.engine);
  expect(expected).toHaveLength(10);
  expect(await say(c.engine)).toEqual(expected);
});
