import { expect, test } from "vitest";
import { lintGroups, parityLines, scientific, timeRows } from "./card-lines.ts";

const card = {
  ready: true,
  package: "P.mlpackage",
  sizeBytes: 10,
  weightBytes: 9,
  parameters: 1,
  bitsPerWeight: 2,
  fp16Bytes: 2,
  timesSmallerThanFp16: 1,
  functions: ["decode"],
  parity: {
    positions: 10,
    greedyTokens: 64,
    greedyIdentical: false,
    greedyFirstDifference: 26,
    greedyTies: [],
    maxLogitDifference: 0.5,
    largestLogit: 20,
    meanKl: 3.2e-6,
    topAgreement: 1,
    prefillMaxDifference: null,
    functions: [],
  },
  sample: "",
  provenance: { model: "m", modelHash: "h", engine: "e", espalier: "0" },
  notChecked: ["a device"],
};

test("a check that failed says so with what was found; an older card has no headroom and no prefill line", () => {
  const lines = parityLines(card, 1204);
  expect(lines.map((l) => [l.state, l.value])).toEqual([
    ["passed", "1\u2009204 ops"],
    ["noted", "9"],
    ["failed", "0.5000"],
    ["noted", "3.2 · 10⁻⁶"],
    ["failed", "differs at 26"],
    ["noted", "not available here"],
  ]);
});

test("bytes that were predicted have to be the ones that were written", () => {
  const line = (predictedBytes: number) => parityLines({ ...card, predictedBytes, packageBytes: 12 }, 1)[1];
  expect(line(12)).toMatchObject({ state: "passed", value: "12" });
  expect(line(13)).toMatchObject({ state: "failed", more: "13 predicted, 9 of them weights" });
});

test("what the model lost stands first: nothing for an original, its KL, or that nobody knows", () => {
  const line = (good: object) =>
    parityLines({ ...card, good: { maxKl: 0.2, reason: "why", origin: null, ...good } as never }, 1)[0];
  expect(line({ ok: true })).toMatchObject({ state: "passed", name: "Good: an original model", value: "nothing lost" });
  const origin = { name: "base", hash: "h", note: null, loss: { against: "original", kl: { mean: 1.9 } } };
  expect(line({ ok: false, origin })).toMatchObject({
    state: "failed",
    name: "Good: KL to base, nats",
    value: "1.900",
  });
  expect(line({ ok: null, origin: { ...origin, loss: null } })).toMatchObject({ state: "failed", value: "not known" });
});

test("the tightest layer is the one with the largest value inside", () => {
  const layer = (inside: number) => ({ stream: 1, inside, insideAt: "mlp" });
  const headroom = { worst: 18, embedding: 1, head: 1, layers: [layer(3), layer(9), layer(4)], positions: 5 };
  expect(parityLines({ ...card, headroom }, 1).find((l) => l.name.startsWith("fp16"))).toMatchObject({
    name: "fp16 headroom, tightest L1",
    value: "×18.0",
    state: "passed",
  });
});

test("one rule is one finding, however many functions it was said of, and warnings come first", () => {
  const finding = (rule: string, severity: "info" | "warning", fn: string, operations: string[]) => ({
    rule,
    severity,
    title: rule,
    function: fn,
    operations,
    operationCount: operations.length,
    message: `about ${rule}`,
    fix: "",
  });
  const groups = lintGroups([
    finding("states", "info", "prefill", []),
    finding("gather", "warning", "decode_64", ["gather"]),
    finding("gather", "warning", "decode_128", ["gather", "gather_1"]),
  ]);
  expect(groups.map((g) => [g.rule, g.messages, g.operations])).toEqual([
    ["gather", [{ text: "about gather", functions: ["decode_64", "decode_128"] }], ["gather", "gather_1"]],
    ["states", [{ text: "about states", functions: ["prefill"] }], []],
  ]);
});

test("numbers far from one are written with a power of ten", () => {
  expect([0, 3.2e-6, 4e12, 2.5].map(scientific)).toEqual(["0", "3.2 · 10⁻⁶", "4.0 · 10¹²", "2.5"]);
});

test("what a report cannot tell apart is empty, and parts that take no time are left out", () => {
  const ms = {
    totalMs: 3,
    weightsMs: 2,
    arithmeticMs: 0.25,
    tablesMs: 0,
    cacheMs: 0,
    elsewhereMs: 0,
    handOversMs: 0.7,
    callsMs: 0.05,
  };
  expect(timeRows(ms, { totalMs: 4, hostMs: 0.5 }).map((r) => [r.name, r.modelled, r.reported])).toEqual([
    ["Weights from memory", 2, null],
    ["Arithmetic", 0.25, null],
    ["Hand-overs", 0.7, null],
    ["The call itself", 0.05, null],
    ["Prediction", 3, 3.5],
    ["Host: tables, choice of token", null, 0.5],
    ["All", null, 4],
  ]);
  expect(timeRows(null, null).every((r) => r.modelled === null && r.reported === null)).toBe(true);
});
