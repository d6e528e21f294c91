import { expect, test } from "vitest";
import { createRng } from "../../random.ts";
import { decodeWeight, weightSizeBytes } from "../../weights/decode.ts";
import { formSizeBytes } from "../../weights/form.ts";
import { sampledError } from "./sampled-error.ts";
import { formAt } from "./stored-form.ts";
import { storeAs, widths } from "./width.ts";

const rng = createRng(3);
const shape = [512, 64];
const values = Float32Array.from({ length: 512 * 64 }, () => rng.normal());
const columnWeights = Float32Array.from({ length: 64 }, (_, c) => 1 + (c % 8));
const granularity = { rowsPerTable: 8, groupSize: 32, asymmetric: false, keepExtremes: false };

test.each(widths)("%s: some rows tell what all would", async (width) => {
  const whole = storeAs(width, values, shape, granularity, { columnWeights });
  // What it will take is known without making it.
  expect(formSizeBytes(formAt(width, shape, granularity))).toBe(weightSizeBytes(whole));
  const found = await sampledError(width, values, shape, granularity, { columnWeights });
  if (width === "fp16") {
    expect(found).toBe(0);
    return;
  }
  const decoded = decodeWeight(whole);
  let [error, all] = [0, 0];
  for (const [i, w] of values.entries()) {
    const h = columnWeights[i % 64] as number;
    error += h * (w - (decoded[i] as number)) ** 2;
    all += h * w * w;
  }
  expect(found / (error / all)).toBeGreaterThan(0.8);
  expect(found / (error / all)).toBeLessThan(1.25);
});

test("where all rows are taken it is the error itself", async () => {
  const few = values.subarray(0, 16 * 64);
  const stored = decodeWeight(storeAs("palette3", few, [16, 64], granularity));
  let [error, all] = [0, 0];
  for (const [i, w] of few.entries()) {
    error += (w - (stored[i] as number)) ** 2;
    all += w * w;
  }
  expect(await sampledError("palette3", few, [16, 64], granularity)).toBeCloseTo(error / all, 12);
});
