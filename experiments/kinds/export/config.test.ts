import { expect, test } from "vitest";
import { tinyModel } from "../../../test/fixtures/tiny-model.ts";
import { exportConfig, exportSizes } from "./config.ts";

const llama = tinyModel("llama").arch;
const gemma = tinyModel("gemma3").arch;
const sizes = (arch: typeof llama, given: Record<string, unknown> = {}) =>
  exportSizes(exportConfig.parse({ model: "m", out: "o", ...given }), arch);

test("sizes follow from the model, its windows and its vocabulary", () => {
  expect(sizes(llama)).toEqual({ layout: "neural-engine", contexts: [64], prefill: [], embedding: "inside" });
  expect(sizes({ ...llama, maxPositions: 8192 })).toEqual({
    layout: "neural-engine",
    contexts: [512],
    prefill: [64],
    embedding: "inside",
  });
  // A window of 6 is a ring of 32 slots, which no wider chunk fits.
  expect(sizes({ ...gemma, maxPositions: 100 })).toMatchObject({ contexts: [96], prefill: [32] });
  expect(sizes({ ...gemma, vocab: 262_144 }).embedding).toBe("host");
  expect(sizes({ ...llama, vocab: 128_256 }).embedding).toBe("inside");
  expect(sizes(llama, { contexts: [64, 32, 64], prefill: [16, 4] })).toMatchObject({
    contexts: [32, 64],
    prefill: [4, 16],
  });
  expect(sizes({ ...tinyModel("gemma4").arch, maxPositions: 128 })).toEqual({
    layout: "neural-engine",
    contexts: [128],
    prefill: [32],
    embedding: "inside",
  });
  expect(sizes(llama, { layout: "plain", prefill: [8, 16] })).toMatchObject({ contexts: [64], prefill: [8] });
});

test.each([
  [{ contexts: [128] }, "more than the model's 64"],
  [{ layout: "plain", contexts: [32, 64] }, "the plain layout has only one context"],
  [{ layout: "plain", embedding: "host" }, "needs --layout neural-engine"],
])("%j is refused", (given, message) => {
  expect(() => sizes(llama, given)).toThrow(message);
  expect(() => sizes({ ...llama, maxPositions: 20 })).toThrow("20 positions, the Neural Engine layout needs 32");
});
