import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import {
  type Curve,
  changedFields,
  cutByLayer,
  dearestUnits,
  doneOf,
  mainCurves,
  quoted,
  speedOf,
  stepAt,
  submitCommand,
  xOf,
} from "./run-facts.ts";

const curve = (given: Partial<Curve>): Curve => ({
  name: "loss",
  count: 0,
  steps: [],
  values: [],
  smoothed: [],
  errors: null,
  atMs: [],
  resumedAt: [],
  resumptions: [],
  notFinite: [],
  expected: null,
  ...given,
});

test("a shell gives back what the command quotes", () => {
  const config = { separator: 'it\'s $HOME\n`x` "y"', drop: ["L0.H1"] };
  for (const text of [JSON.stringify(config), "plain-1.2", "a b"])
    expect(execFileSync("sh", ["-c", `printf %s ${quoted(text)}`]).toString()).toBe(text);
  expect(submitCommand("prune", { model: "starter" }, "less heads")).toBe(
    `npm run -s espalier -- api runs submit --kind prune --name 'less heads' --config '{"model":"starter"}'`,
  );
});

test("changes name both values, and what was not set", () => {
  expect(changedFields({ steps: 3, temperature: 2 }, { steps: 2, seed: 1 })).toEqual([
    { field: "steps", from: "2", to: "3" },
    { field: "seed", from: "1", to: "not set" },
    { field: "temperature", from: "not set", to: "2" },
  ]);
});

test("progress is in steps where there are steps, else in units", () => {
  const progress = { done: 0.71, total: 1, share: 0.71, label: "", left: null };
  expect(doneOf({ progress, config: { steps: 3000 } })).toEqual({ done: 2130, total: 3000, word: "steps" });
  expect(doneOf({ progress: { ...progress, done: 41.5, total: 64, share: 0.65 }, config: {} })).toMatchObject({
    done: 41,
    total: 64,
  });
  expect(doneOf({ progress: null, config: {} })).toBeNull();
});

test("the held-out points are of the same quantity as the line", () => {
  const all = ["held-out KL", "held-out loss", "loss"].map((name) => curve({ name }));
  expect(mainCurves(all, { crossEntropy: 0 }).heldOut?.name).toBe("held-out KL");
  expect(mainCurves(all, { crossEntropy: 0.5 }).heldOut?.name).toBe("held-out loss");
});

test("speed is told over seconds and not across a loss; moments find their step", () => {
  const steps = Array.from({ length: 100 }, (_, i) => i + 1);
  const atMs = steps.map((s) => s * 100 + (s >= 51 ? 60_000 : 0));
  const c = curve({ steps, atMs, resumedAt: [51] });
  const speed = speedOf(c);
  expect(speed.perSecond.filter((v) => v === null)).toHaveLength(1);
  for (const v of speed.perSecond) if (v !== null) expect(v).toBeCloseTo(10, 9);
  expect(stepAt(c, 30_000)).toBe(50);
  expect(stepAt(c, 0)).toBeNull();
  expect(xOf(c, "tokens", 1024, 0)[1]).toBe(2048);
  expect(xOf(c, "time", null, 0)[99]).toBeCloseTo(70 / 60, 9);
});

test("a run of a second has speeds too", () => {
  const steps = Array.from({ length: 40 }, (_, i) => i + 1);
  const speed = speedOf(curve({ steps, atMs: steps.map((s) => s * 25) }));
  expect(speed.steps.length).toBeGreaterThan(5);
  expect(speed.stretchMs).toBeLessThan(200);
  for (const v of speed.perSecond) expect(v).toBeCloseTo(40, 9);
});

test("a cut names heads, neurons and whole layers, and counts what is too much to name", () => {
  expect(cutByLayer(["L0.H1", "L3", "L0.N0-31"])).toEqual([
    { layer: "L0", units: "H1 N0-31" },
    { layer: "L3", units: "the whole layer" },
  ]);
  const many = Array.from({ length: 30 }, (_, i) => `L1.N${i}`);
  expect(cutByLayer(many)[0]?.units).toMatch(/^N0 N1 .* N23 and 6 more$/);
});

test("units stand by leave-one-out where there is some, the dearest first", () => {
  const unit = (name: string, metric: string, value: number) => ({ unit: name, metric, value });
  const all = [unit("L0.N0", "taylor", 9), unit("L1", "leave-one-out", 1), unit("L2", "leave-one-out", 3)];
  expect(dearestUnits(all, 1)).toEqual({ metric: "leave-one-out", units: [all[2]] });
  expect(dearestUnits(all.slice(0, 1), 5)).toEqual({ metric: "taylor", units: [all[0]] });
});
