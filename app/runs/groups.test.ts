import { expect, test } from "vitest";
import { fieldTitle } from "../../experiments/flags.ts";
import { row } from "../../test/fixtures/run-row.ts";
import { comparedFields } from "./differences.ts";
import { groupRuns, groupValue } from "./groups.ts";

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
