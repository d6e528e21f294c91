import { expect, test } from "vitest";
import { fieldTitle } from "../../experiments/flags.ts";
import { row } from "../../test/fixtures/run-row.ts";
import { comparedFields } from "./differences.ts";
import { groupRuns, groupValue } from "./groups.ts";
import { valueDomain } from "./table.tsx";

const distilled = (id: string, seed: number, temperature: number, kl: number) =>
  row({
    id,
    name: `distill T${temperature} seed ${seed}`,
    kind: "distill",
    config: { seed, temperature },
    numbers: { KL: kl },
  });
const runs = [
  distilled("a", 1, 2, 0.04),
  distilled("b", 2, 2, 0.05),
  distilled("c", 1, 1, 0.09),
  distilled("d", 3, 2, 0.06),
];

test("runs that differ in their seed alone are one group, with the mean and a t interval", () => {
  const groups = groupRuns(runs, "seed");
  expect(groups.map((g) => g.runs.map((r) => r.id))).toEqual([["a", "b", "d"], ["c"]]);
  expect(groups[0]?.name).toBe("distill T2");
  const value = groupValue(groups[0]?.runs ?? [], "KL");
  // t of 2 degrees of freedom is 4.303; s = 0.01.
  expect(value?.mean).toBeCloseTo(0.05, 12);
  expect((value?.high ?? 0) - 0.05).toBeCloseTo((4.3027 * 0.01) / Math.sqrt(3), 5);
  expect(groupValue(groups[1]?.runs ?? [], "KL")).toMatchObject({ n: 1, basis: "unknown", low: null });
  expect(groupValue(runs, "accuracy")).toBeNull();
});

test("a model made by seeds of one config counts as one", () => {
  const two = [1, 2].flatMap((seed) => [
    row({ id: `run_d${seed}`, kind: "distill", config: { seed } }),
    row({ id: `run_q${seed}`, config: { model: `run:run_d${seed}`, bits: 4 } }),
  ]);
  expect(groupRuns(two, "seed").map((g) => g.runs.length)).toEqual([2, 2]);
});

test("a single run keeps its standard error", () => {
  const one = row({ numbers: { KL: 0.04, "KL ±": 0.002 } });
  expect(groupValue([one], "KL")).toMatchObject({ low: 0.038, high: 0.042, basis: "standard error" });
});

test("compared are config and numbers, and which of them differ", () => {
  const fields = comparedFields(groupRuns(runs, "seed"));
  expect(fields.map((f) => [f.name, f.values, f.differs])).toEqual([
    ["seed", ["1, 2, 3", 1], true],
    ["temperature", [2, 1], true],
    ["KL", [expect.closeTo(0.05, 9), 0.09], true],
  ]);
  expect(fieldTitle("learningRate")).toBe("Learning rate");
});

const measured = (id: string, kl: number, protocol: string, more = {}) =>
  row({
    id,
    outputModelId: id,
    numbers: { KL: 9 },
    measured: { numbers: { KL: kl }, runId: "run_e", on: "t", protocol },
    ...more,
  });

test("what was measured beside others stands before what its maker saw, and protocols share no axis and no mean", () => {
  const a = measured("a", 0.01, "base:select");
  const b = measured("b", 0.03, "base:select");
  const c = measured("c", 5, "base:report");
  const alone = row({ id: "d", outputModelId: "d", numbers: { KL: 7 } });
  expect(groupValue([a], "KL")?.mean).toBe(0.01);
  // Only the two that were measured alike.
  expect(groupValue([a, b, c, alone], "KL")).toMatchObject({ mean: 0.02, n: 2 });
  const rows = groupRuns([a, b, c, alone], "none");
  expect(valueDomain(rows, "KL")).toMatchObject({ domain: [0.01, 0.03], protocol: "base:select" });
});

test("runs of different configs have no mean, but a least and a most", () => {
  const runs = [2, 4, 8].map((bits) => measured(`q${bits}`, 1 / bits, "base:select", { config: { bits } }));
  expect(groupValue(runs, "KL")).toEqual({ mean: 0.25, low: 0.125, high: 0.5, n: 3, basis: "range" });
});
