import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import type { TokenSequence } from "../lib/eval/sequences.ts";
import { shardName, unitHash } from "./unit-name.ts";

const sequence = (ids: number[], scoredFrom = 1): TokenSequence => ({
  id: "any",
  ids: Int32Array.from(ids),
  scoredFrom,
  sizeBytes: 0,
});

/** FNV-1a over tokens, 32 bits: what names were made of before. */
function sum(ids: readonly number[]): number {
  let h = 0x811c9dc5;
  for (const id of ids) h = Math.imul(h ^ id, 0x01000193);
  return h >>> 0;
}

test("two shards whose 32-bit sums collide have two names", () => {
  // x ↦ (x · p) mod 2³² is a bijection, so for any second token there is a third that brings the sum back.
  const [a, b] = [
    [5, 7, 11],
    [5, 9, 0],
  ] as [number[], number[]];
  const state = sum([5, 7]) ^ 11;
  b[2] = (sum([5, 9]) ^ state) >>> 0;
  expect(sum(b)).toBe(sum(a));
  expect(shardName([sequence(a)])).not.toBe(shardName([sequence(b)]));
});

test("a shard's name is a SHA-256 of lengths, scored tokens and ids, as 32-bit little-endian integers", () => {
  const bytes = Buffer.alloc(28);
  for (const [i, value] of [3, 1, 5, 7, 11, 1, 0].entries()) bytes.writeInt32LE(value, 4 * i);
  const one = Buffer.alloc(4);
  one.writeInt32LE(9);
  expect(shardName([sequence([5, 7, 11]), sequence([9], 0)])).toBe(
    createHash("sha256").update(bytes).update(one).digest("hex"),
  );
});

test("where sequences end, what is scored and every part of a name count", () => {
  const whole = shardName([sequence([1, 2, 3, 4])]);
  expect(shardName([sequence([1, 2]), sequence([3, 4])])).not.toBe(whole);
  expect(shardName([sequence([1, 2, 3, 4], 2)])).not.toBe(whole);
  const name = { engine: "e", model: "m", subject: "a b", shard: "s" };
  const others = [
    { ...name, engine: "f" },
    { ...name, model: "n" },
    { ...name, subject: "a" },
    { ...name, shard: "" },
    { ...name, model: "m a", subject: "b" },
  ].map((n) => unitHash(n));
  expect(new Set([unitHash(name), unitHash(name, "run"), ...others]).size).toBe(7);
});
