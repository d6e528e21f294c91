import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { heldOutDocuments, SEPARATOR, trainingDocuments } from "../../experiments/starter/corpus.ts";
import type { Core } from "../../server/core.ts";
import { getModel, registerModel } from "../../server/models/model-registry.ts";
import { readCurves } from "../../server/runs/curves.ts";
import { cancelRun, getRun, type Run, resumeRun, stopRun, submitRun } from "../../server/runs/lifecycle.ts";
import { addText } from "../../server/texts/texts.ts";
import { type Host, startHost } from "../../workers/host.ts";
import { openTestCore } from "./workbench-fixture.ts";

let core: Core;
let host: Host;
beforeAll(async () => {
  core = await openTestCore("embedded");
  await registerModel(core, join(import.meta.dirname, "../../experiments/starter/model"), { id: "starter" });
  await addText(core, {
    id: "train",
    kind: "text",
    separator: SEPARATOR,
    content: Array.from({ length: 60 }, trainingDocuments(99)).join(SEPARATOR),
  });
  await addText(core, {
    id: "held-out",
    kind: "text",
    separator: SEPARATOR,
    content: heldOutDocuments("select", 8).join(SEPARATOR),
  });
  host = await startHost(core, { threadsPerTask: 1, alone: true });
});
afterAll(async () => {
  await host.stop();
  await core.close();
});

const until = async (id: string, isIt: (run: Run) => boolean | Promise<boolean>): Promise<Run> => {
  for (let i = 0; i < 600; i++) {
    const run = await getRun(core, id);
    if (await isIt(run)) return run;
    await new Promise((go) => setTimeout(go, 100));
  }
  throw new Error(`${id} did not get there: ${JSON.stringify(await getRun(core, id))}`);
};
const ends = (id: string): Promise<Run> =>
  until(id, (r) => !["queued", "running", "stopping", "lost"].includes(r.state));
const distill = (name: string) =>
  submitRun(core, {
    kind: "distill",
    name,
    config: {
      model: "starter",
      student: "pruned",
      text: "train",
      heldOut: "held-out",
      heldOutLimit: 4,
      separator: SEPARATOR,
      steps: 12,
      batch: 2,
      context: 64,
      evaluateEvery: 3,
    },
  });
/** The task is the only child of this process. */
const taskProcess = (): number =>
  Number(
    execFileSync("pgrep", ["-P", String(process.pid), "-f", "task.ts"], { encoding: "utf8" })
      .trim()
      .split("\n")[0],
  );
const reachedStep = async (id: string, step: number): Promise<boolean> => {
  const curves = await readCurves(core, id, { points: 100, smoothing: 0, logarithmic: false });
  return (curves.find((c) => c.name === "held-out KL")?.steps.at(-1) ?? 0) >= step;
};

test("a task killed by force goes on from its checkpoint and ends with the very same weights", async () => {
  const pruned = await ends(
    (await submitRun(core, { kind: "prune", name: "pruned", config: { model: "starter", drop: ["L0.H0", "L1.H3"] } }))
      .id,
  );
  expect(pruned.state).toBe("succeeded");
  expect(pruned.outputModelId).toBe("pruned");

  const straight = await ends((await distill("straight")).id);
  expect(straight.state).toBe("succeeded");
  expect(straight.attempt).toBe(1);
  expect(straight.provenance?.engine).toContain("onnx");

  const killed = await distill("killed");
  await until(killed.id, () => reachedStep(killed.id, 3));
  process.kill(taskProcess(), "SIGKILL");
  const resumed = await ends(killed.id);
  expect([resumed.state, resumed.attempt]).toEqual(["succeeded", 2]);
  expect((resumed.summary as { resumedFrom: number }).resumedFrom).toBeGreaterThanOrEqual(3);
  const hash = async (run: Run): Promise<string> => (await getModel(core, run.outputModelId ?? "")).hash;
  expect(await hash(resumed)).toBe(await hash(straight));
}, 120_000);

test("stop keeps the step at hand, resume goes on from it; cancel ends at once", async () => {
  const run = await distill("stopped");
  await until(run.id, () => reachedStep(run.id, 3));
  await stopRun(core, run.id);
  const stopped = await ends(run.id);
  expect([stopped.state, stopped.reason]).toEqual(["cancelled", "stopped by you"]);
  await resumeRun(core, run.id);
  const resumed = await ends(run.id);
  expect(resumed.state).toBe("succeeded");
  expect((resumed.summary as { resumedFrom: number }).resumedFrom).toBeGreaterThanOrEqual(3);

  const other = await distill("cancelled");
  await until(other.id, (r) => r.state === "running");
  await cancelRun(core, other.id);
  expect((await getRun(core, other.id)).state).toBe("cancelled");
}, 120_000);

test("what a task refuses becomes a failed run with code and hint", async () => {
  const run = await ends((await submitRun(core, { kind: "prune", config: { model: "starter", drop: ["L99.H0"] } })).id);
  expect(run.state).toBe("failed");
  expect(run.error?.code).toBe("prune/unknown-unit");
});
