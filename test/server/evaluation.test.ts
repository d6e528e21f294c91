/** Whatever makes a model is followed by its evaluation, and stands on the curve of its base without anybody asking for it. */
import { join } from "node:path";
import { eq } from "drizzle-orm";
import { afterAll, beforeAll, expect, test } from "vitest";
import { heldOutDocuments, SEPARATOR } from "../../experiments/starter/corpus.ts";
import { sweepDefinition } from "../../experiments/sweep/sweep.ts";
import type { Core } from "../../server/core.ts";
import { runs, studies } from "../../server/db/schema.ts";
import { registerModel } from "../../server/models/model-registry.ts";
import { submitMaker } from "../../server/runs/evaluation.ts";
import { cancelRun, getRun, type Run, resumeRun, submitRun } from "../../server/runs/lifecycle.ts";
import { getStudy, submitStudy } from "../../server/studies/studies.ts";
import { createSweep, getSweep } from "../../server/sweeps/sweeps.ts";
import { addText } from "../../server/texts/texts.ts";
import { evaluatedBoards } from "../../server/tradeoff/evaluated.ts";
import { startHost } from "../../workers/host.ts";
import { openTestCore } from "./workbench-fixture.ts";

let core: Core;
beforeAll(async () => {
  core = await openTestCore("embedded");
  await registerModel(core, join(import.meta.dirname, "../../experiments/starter/model"), { id: "starter" });
  const text = (id: string, split: "calibrate" | "select" | "report", documents: number) =>
    addText(core, {
      id,
      kind: "text",
      split,
      separator: SEPARATOR,
      content: heldOutDocuments(split, documents).join(SEPARATOR),
    });
  await text("tuned-on", "calibrate", 4);
  await text("chosen-on", "select", 4);
  await text("kept-for-last", "report", 4);
});
afterAll(() => core.close());

const prune = { kind: "prune", name: "lighter", config: { model: "starter", drop: ["L0.H0"] } };
const following = async (run: Run): Promise<Run[]> =>
  (await core.db.select().from(runs).where(eq(runs.kind, "evaluate"))).filter((r) => r.waitsFor.includes(run.id));
const all = () => core.db.select().from(runs);

test("nothing is followed that makes no model, or when told not to", async () => {
  const before = (await all()).length;
  await submitMaker(core, { ...prune, evaluation: "none" });
  await submitMaker(core, { kind: "evaluate", config: { model: "starter", text: "chosen-on" } });
  expect(await all()).toHaveLength(before + 2);
});

test("a text brings its separator", async () => {
  const run = await submitRun(core, { kind: "evaluate", config: { model: "starter", text: "tuned-on" } });
  expect(run.config.separator).toBe(SEPARATOR);
  const own = await submitRun(core, {
    kind: "evaluate",
    config: { model: "starter", text: "tuned-on", separator: "." },
  });
  expect(own.config.separator).toBe(".");
});

test("a chain is a study of all runs or of none, each model measured once beside the first base", async () => {
  const steps = [
    { key: "cut", kind: "prune" as const, name: "cut", config: { model: "starter", ratio: 0.2, text: "tuned-on" } },
    {
      key: "small",
      kind: "quantize" as const,
      name: "small",
      config: { model: "step:cut", bits: 4, weighting: "none" },
    },
    {
      key: "seen",
      kind: "evaluate" as const,
      name: "seen",
      config: { model: "step:small", base: "step:cut", text: "tuned-on" },
    },
  ];
  const { study, runs: made } = await submitStudy(core, { title: "chain", steps }, { kind: "chain" });
  expect(new Set(made.map((r) => r.studyId))).toEqual(new Set([study.id]));
  // Hosts take runs, and pages list them, in the order in which they were submitted.
  expect((await getStudy(core, study.id)).runs.map((r) => r.id)).toEqual(made.map((r) => r.id));
  const [cut, small] = made;
  if (!cut || !small) throw new Error("the study has no runs");
  for (const run of [cut, small]) {
    const own = (await following(run)).filter((r) => r.step === "evaluation");
    expect(own.map((r) => [r.config.base, r.config.text, r.config.separator])).toEqual([
      ["starter", "chosen-on", SEPARATOR],
    ]);
  }
  const before = [await all(), await core.db.select().from(studies)];
  const broken = [...steps, { key: "last", kind: "prune" as const, name: "last", config: { model: "step:nothing" } }];
  await expect(submitStudy(core, { title: "broken", steps: broken }, { kind: "chain" })).rejects.toThrow(/"nothing"/);
  expect([await all(), await core.db.select().from(studies)]).toEqual(before);
});

test("the evaluation takes the protocol of the newest measurement that points are chosen on", async () => {
  const compared = { base: "starter", models: ["starter"] };
  await submitRun(core, { kind: "tradeoff", config: { ...compared, text: "chosen-on", limit: 2, context: 64 } });
  await submitRun(core, { kind: "tradeoff", config: { ...compared, text: "kept-for-last" } });
  await submitRun(core, { kind: "evaluate", config: { model: "starter", base: "starter", text: "tuned-on" } });
  const [next] = await following(await submitMaker(core, prune));
  expect(next?.config).toMatchObject({ text: "chosen-on", limit: 2, context: 64, base: "starter" });
});

test("it ends with the run it follows, and comes back with it", async () => {
  const run = await submitMaker(core, prune);
  const [next] = await following(run);
  const state = async (): Promise<string> => (await getRun(core, next?.id ?? "")).state;
  await cancelRun(core, run.id);
  expect(await state()).toBe("cancelled");
  await resumeRun(core, run.id);
  expect(await state()).toBe("queued");
});

test("one that was cancelled by hand stays so", async () => {
  const run = await submitMaker(core, prune);
  const [next] = await following(run);
  await cancelRun(core, next?.id ?? "");
  await cancelRun(core, run.id);
  await resumeRun(core, run.id);
  expect((await getRun(core, next?.id ?? "")).state).toBe("cancelled");
});

test("trials of a sweep are measured too, of rungs the last", async () => {
  const grid = await createSweep(
    core,
    sweepDefinition.parse({
      title: "widths",
      kind: "quantize",
      config: { model: "starter", weighting: "none" },
      axes: { bits: { values: [4, 8] } },
    }),
  );
  for (const trial of (await getSweep(core, grid.id)).trials) expect(await following(trial)).toHaveLength(1);
  const halving = await createSweep(
    core,
    sweepDefinition.parse({
      title: "rates",
      kind: "distill",
      config: { model: "starter", student: "starter", text: "tuned-on", heldOut: "chosen-on" },
      axes: { learningRate: { from: 1e-4, to: 1e-2, scale: "logarithmic" } },
      method: "halving",
      trials: 4,
      budget: { field: "steps", from: 2, eta: 2 },
      objective: { number: "KL", goal: "least" },
    }),
  );
  const { trials } = await getSweep(core, halving.id);
  for (const trial of trials) expect(await following(trial)).toHaveLength(0);
  // A name holds four figures of what was drawn.
  expect(trials[0]?.name).toMatch(/^rates learningRate 0\.\d{4,7}$/);
});

test("the point appears on the trade-off of its base, beside the base", async () => {
  for (const run of await all()) if (run.state === "queued") await cancelRun(core, run.id).catch(() => undefined);
  const host = await startHost(core, { threadsPerTask: 1, alone: true });
  try {
    await submitRun(core, {
      kind: "evaluate",
      config: { model: "starter", base: "starter", text: "chosen-on", limit: 2, context: 32 },
    });
    const run = await submitMaker(core, { ...prune, name: "on the curve" });
    const [next] = await following(run);
    const ended = async (): Promise<Run> => {
      for (;;) {
        const now = await getRun(core, next?.id ?? "");
        if (["succeeded", "failed", "cancelled"].includes(now.state)) return now;
        await new Promise((go) => setTimeout(go, 100));
      }
    };
    expect(await ended()).toMatchObject({ state: "succeeded", error: null });
    const boards = (await evaluatedBoards(core)).filter((b) => b.base === "starter");
    expect(boards).toHaveLength(1);
    expect(boards[0]?.points.map((p) => [p.model, p.isBase]).sort()).toEqual([
      ["on-the-curve", false],
      ["starter", true],
    ]);
    expect(boards[0]?.points.find((p) => !p.isBase)?.madeBy.map((s) => s.kind)).toEqual(["prune"]);
  } finally {
    await host.stop();
  }
}, 300_000);
