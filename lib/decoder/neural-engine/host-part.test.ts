import { expect, test } from "vitest";
import { MASKED } from "../block.ts";
import type { FunctionCache, NeuralEngineFunction, NeuralEngineInterface } from "../package-interface.ts";
import { readInterface } from "../package-interface.ts";
import { ropeTables } from "../rope.ts";
import { blendTables, capLogits, chooseFunction, hostInputs, maskTable, rotationTables } from "./host-part.ts";

/** Slots as a device would have them: written position by position, holding positions. */
function simulate(slots: number, calls: readonly { position: number; count: number }[]): number[] {
  const held = new Array<number>(slots).fill(-1);
  for (const { position, count } of calls) for (let c = 0; c < count; c++) held[(position + c) % slots] = position + c;
  return held;
}

test.each([
  [8, 5, 1, "cache"],
  [8, 5, 4, "cache-then-chunk"],
  [32, null, 4, "cache"],
] as const)(
  "masks show what a simulated cache of %i slots with window %s holds, %i at a time",
  (slots, window, width, attends) => {
    const cache: FunctionCache = { name: "kv", slots, write: "blend", attends };
    const calls: { position: number; count: number }[] = [];
    for (let position = 0; position < 28; ) {
      const count = position % 3 === 0 ? width : Math.max(1, width - 1);
      const before = simulate(slots, calls);
      const after = simulate(slots, [...calls, { position, count }]);
      const mask = maskTable(cache, window, width, { position, count }, MASKED);
      const beside = attends === "cache-then-chunk";
      const columns = beside
        ? [...before, ...Array.from({ length: width }, (_, c) => (c < count ? position + c : -1))]
        : after;
      for (let c = 0; c < width; c++) {
        const query = position + c;
        const seen = columns.map((k) => c < count && k >= 0 && k <= query && (window === null || query - k < window));
        const row = [...mask.subarray(c * columns.length, (c + 1) * columns.length)];
        expect(row).toEqual(seen.map((s) => (s ? 0 : MASKED)));
        // Every key of the window is there to be seen.
        if (c < count) expect(seen.filter(Boolean)).toHaveLength(Math.min(query + 1, window ?? query + 1));
      }
      const { write, keep } = blendTables(slots, width, { position, count });
      const written = before.map((old, j) => {
        const c = [...write.subarray(j * width, (j + 1) * width)].indexOf(1);
        expect(keep[j]).toBe(c < 0 ? 1 : 0);
        return c < 0 ? old : position + c;
      });
      expect(written).toEqual(after);
      calls.push({ position, count });
      position += count;
    }
  },
);

test("tables are the decoder's own", () => {
  const rope = { cos: "c", sin: "s", inverseFrequencies: [1, 0.1, 0.01], attentionFactor: 1.5 };
  const all = ropeTables(rope, 40);
  const { cos, sin } = rotationTables(rope, 37, 3);
  expect(cos).toEqual(all.cos.data.subarray(37 * 6));
  expect(sin).toEqual(all.sin.data.subarray(37 * 6));
});

test("a soft cap is applied where it is the host's part, and only there", () => {
  const logits = (): Float32Array => Float32Array.of(-60, 0, 11.3989, 60);
  // 30 · tanh(z / 30); the third is that of a Gemma 4 in the list of faults.
  const capped = [-28.920828, 0, 10.880231, 28.920828];
  for (const [i, z] of capLogits({ cap: 30, applied: false }, logits()).entries())
    expect(z).toBeCloseTo(capped[i] as number, 4);
  expect(capLogits({ cap: 30, applied: true }, logits())).toEqual(logits());
  expect(capLogits(null, logits())).toEqual(logits());
});

const fn = (width: number, context: number): NeuralEngineFunction => ({
  name: `f${width}_${context}`,
  role: width === 1 ? "decode" : "prefill",
  width,
  context,
  logits: "last",
  caches: [{ name: "kv_full", slots: context, write: "slice", attends: "cache" }],
});

test("functions are chosen by what is filled, then by what pads least, and never beyond the context", () => {
  const functions = [fn(1, 64), fn(16, 64), fn(32, 64), fn(1, 128)];
  const choose = (position: number, remaining: number) => {
    const found = chooseFunction(functions, 64, position, remaining);
    return found ? [found.fn.name, found.count] : null;
  };
  expect(choose(0, 100)).toEqual(["f32_64", 32]);
  expect(choose(0, 20)).toEqual(["f16_64", 16]);
  expect(choose(0, 5)).toEqual(["f16_64", 5]);
  expect(choose(0, 1)).toEqual(["f1_64", 1]);
  expect(choose(50, 5)).toEqual(["f1_64", 1]);
  expect(choose(64, 1)).toBeNull();
});

test("bad metadata is refused by field", () => {
  const description: NeuralEngineInterface = {
    version: 1,
    layout: "neural-engine",
    family: "llama",
    hidden: 8,
    vocab: 4,
    cacheForm: "state",
    beginToken: null,
    startToken: null,
    stopTokens: [],
    embedding: { location: "inside" },
    logits: [{ output: "logits", from: 0, to: 4 }],
    finalSoftcap: null,
    maskedValue: MASKED,
    ropes: [],
    caches: [{ name: "kv_full" }],
    masks: [{ input: "mask_full", cache: "kv_full", window: null }],
    functions: [fn(1, 64)],
  };
  expect(readInterface({ "espalier.interface": JSON.stringify(description) })).toEqual(description);
  expect(readInterface({})).toBeNull();
  expect(() => readInterface({ "espalier.interface": "{" })).toThrow("is no JSON");
  expect(() => readInterface({ "espalier.interface": `{"layout":"plain","version":2}` })).toThrow("version");
  expect(() => hostInputs(description, fn(1, 64), { position: 64, count: 1 })).toThrow("do not fit f1_64");
});
