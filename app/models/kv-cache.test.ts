import { expect, test } from "vitest";
import { contextsUpTo, kvCacheBytes } from "./kv-cache.ts";

test("a cache of Llama 3.2 1B at 2 048 is 64 MiB; windows stop growing", () => {
  // 16 layers, 8 groups of 64 channels, keys and values in fp16.
  const layers = Array.from({ length: 16 }, () => ({ kvGroups: 8, kvSource: null, headDim: 64, window: null }));
  expect(kvCacheBytes(layers, 2048)).toBe(64 * 2 ** 20);
  const sliding = layers.map((l, i) => ({ ...l, window: i % 2 === 0 ? 512 : null }));
  expect(kvCacheBytes(sliding, 2048)).toBe(32 * 2 ** 20 + 8 * 2 ** 20);
  const shared = layers.map((l, i) => ({ ...l, kvSource: i < 4 ? null : 3 }));
  expect(kvCacheBytes(shared, 2048)).toBe(16 * 2 ** 20);
});

test("contexts end with what the model allows", () => {
  expect(contextsUpTo(256)).toEqual([64, 128, 256]);
  expect(contextsUpTo(300)).toEqual([64, 128, 256, 300]);
});
