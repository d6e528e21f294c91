/** What a kind of run refuses, it refuses when it is submitted: as a run, as a trial of a sweep, and in the form. */
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Core } from "../../server/core.ts";
import { registerModel } from "../../server/models/model-registry.ts";
import { submitRun } from "../../server/runs/lifecycle.ts";
import { submissionIssues } from "../../server/runs/submission.ts";
import { createSweep, listSweeps } from "../../server/sweeps/sweeps.ts";
import { addText } from "../../server/texts/texts.ts";
import { temporaryFolder, writeTinyCheckpoint } from "../fixtures/tiny-model.ts";
import { openTestCore } from "./workbench-fixture.ts";

let core: Core;
beforeAll(async () => {
  core = await openTestCore("embedded");
  await registerModel(core, join(import.meta.dirname, "../../experiments/starter/model"), { id: "starter" });
  const tiny = join(await temporaryFolder(), "tiny");
  await writeTinyCheckpoint(tiny, "llama");
  await registerModel(core, tiny, { id: "tiny" });
  await addText(core, { id: "words", kind: "text", content: "once upon a time" });
}, 120_000);
afterAll(() => core.close());

const tradeoff = { base: "starter", models: ["starter"], text: "words" };

test.each([
  ["tradeoff", { ...tradeoff, measure: "accuracy" }, ["measure", "tasks"], /^“Measure” accuracy needs “Tasks”$/],
  ["quantize", { model: "starter", scheme: "affine", rowScales: true }, ["rowScales", "scheme"], /“Row scales”/],
  ["distill", { model: "starter", student: "tiny", text: "words", heldOut: "words" }, ["student"], /the teacher has/],
  ["evaluate", { model: "starter" }, [""], /nothing to evaluate/],
  ["export", { model: "starter", contexts: [1_000_000] }, ["contexts"], /more than the model/],
  ["tradeoff", { ...tradeoff, text: "nothing" }, ["text"], /no text/],
  ["tradeoff", { ...tradeoff, keep: 2 }, ["keep"], /./],
])("%s %o", async (kind, config, fields, message) => {
  const issues = await submissionIssues(core, kind, config);
  expect(issues.map((i) => i.field)).toEqual(fields);
  expect(issues[0]?.message).toMatch(message);
  await expect(submitRun(core, { kind, config })).rejects.toMatchObject({ name: "EspalierError" });
});

test("what depends on a model still to be made is not refused, and a sweep begins with no trial when one is refused", async () => {
  const maker = await submitRun(core, { kind: "prune", config: { model: "tiny", drop: ["L0.H0"] } });
  const config = { model: "starter", student: `run:${maker.id}`, text: "words", heldOut: "words" };
  expect(await submissionIssues(core, "distill", config)).toEqual([]);
  const sweep = {
    title: "s",
    kind: "tradeoff" as const,
    config: tradeoff,
    method: "grid" as const,
    trials: 2,
    seed: 0,
  };
  const axes = { measure: { values: ["kl", "accuracy"] } };
  await expect(createSweep(core, { ...sweep, axes })).rejects.toThrow(/--tasks/);
  expect(await listSweeps(core)).toEqual([]);
});
