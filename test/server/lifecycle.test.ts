import { join } from "node:path";
import { eq } from "drizzle-orm";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { storedSubject } from "../../experiments/definition.ts";
import { evaluate, lossSubject } from "../../experiments/kinds/evaluate/evaluate.ts";
import type { Core } from "../../server/core.ts";
import { openCore } from "../../server/core.ts";
import { models } from "../../server/db/schema.ts";
import { registerModel } from "../../server/models/model-registry.ts";
import { exportNotebook } from "../../server/notebooks/notebook-export.ts";
import {
  createNotebook,
  freezeFigure,
  frozenFigure,
  restoreNotebook,
  saveNotebook,
} from "../../server/notebooks/notebooks.ts";
import { readCurves } from "../../server/runs/curves.ts";
import { cloneRun, retryRun } from "../../server/runs/evaluation.ts";
import { appendPoints, compactPoints } from "../../server/runs/journal.ts";
import {
  cancelRun,
  claimRun,
  finishRun,
  getRun,
  LEASE_MS,
  loseSilent,
  type Run,
  renewLease,
  resumeRun,
  stopRun,
  submitRun,
} from "../../server/runs/lifecycle.ts";
import { pairedTests } from "../../server/runs/paired-tests.ts";
import { getUnit, putUnit, unitValues } from "../../server/runs/stored-units.ts";
import { addText } from "../../server/texts/texts.ts";
import { temporaryFolder } from "../fixtures/tiny-model.ts";
import { databases, openTestCore, testClock } from "./workbench-fixture.ts";

const starter = join(import.meta.dirname, "../../experiments/starter/model");
const facts = { provenance: null, seconds: 1 };
const succeeded = {
  state: "succeeded",
  summary: { heads: 1 },
  numbers: { KL: 0.5 },
  outputModelId: null,
  outputPackageId: null,
} as const;

describe.each(databases)("on %s", (kind) => {
  let core: Core;
  const clock = testClock();
  const due = (run: Run) => ({ runId: run.id, attempt: run.attempt });
  const submit = (config: Record<string, unknown> = { model: "starter", drop: ["L0.H0"] }) =>
    submitRun(core, { kind: "prune", config });
  const claimed = async (host = "host_a"): Promise<Run> => {
    const run = await claimRun(core, host, due(await submit()));
    if (!run) throw new Error("not claimed");
    return run;
  };
  beforeAll(async () => {
    core = await openTestCore(kind, clock);
    await registerModel(core, starter, { id: "starter" });
    await addText(core, { id: "words", kind: "text", content: "once upon a time" });
  });
  afterAll(() => core.close());

  test("a config is checked when it is submitted: fields, models, texts", async () => {
    await expect(submit({ model: "starter", ratio: 7 })).rejects.toMatchObject({ code: "input/invalid" });
    await expect(submit({ model: "nobody", drop: ["L0.H0"] })).rejects.toMatchObject({ code: "model/missing-file" });
    await expect(submit({ model: "starter", ratio: 0.5, text: "nothing" })).rejects.toMatchObject({
      code: "input/invalid",
    });
    await expect(submitRun(core, { kind: "bake", config: {} })).rejects.toMatchObject({ code: "input/invalid" });
  });

  test("the queue hands a run to one host, and sending it again adds nothing", async () => {
    const run = await submit();
    await core.queue.send([{ runId: run.id, attempt: run.attempt, priority: 0 }]);
    const taken: string[] = [];
    const take = () =>
      core.queue.take(10, async (d) => {
        if (await claimRun(core, "host_a", d)) taken.push(d.runId);
      });
    await Promise.all([take(), take()]);
    expect(taken.filter((id) => id === run.id)).toEqual([run.id]);
    expect(await claimRun(core, "host_b", due(run))).toBeNull();
  });

  test("a silent host loses its run, which is taken up again; what the old host says no longer counts", async () => {
    const run = await claimed();
    expect(await renewLease(core, "host_a", run)).toBe("running");
    expect(await loseSilent(core)).toBe(0);
    clock.advance(LEASE_MS + 1000);
    expect(await loseSilent(core)).toBeGreaterThanOrEqual(1);
    const again = await getRun(core, run.id);
    expect([again.state, again.attempt]).toEqual(["queued", 2]);
    expect(await renewLease(core, "host_a", run)).toBeNull();
    expect(await finishRun(core, "host_a", run, succeeded, facts)).toBe(false);
    const second = await claimRun(core, "host_b", due(again));
    expect(second?.hostId).toBe("host_b");
    expect(await finishRun(core, "host_b", second as Run, succeeded, facts)).toBe(true);
    expect((await getRun(core, run.id)).state).toBe("succeeded");
  });

  test("a run that was asked to stop and whose host died is cancelled, not taken up again", async () => {
    const run = await claimed();
    expect((await stopRun(core, run.id)).state).toBe("stopping");
    clock.advance(LEASE_MS + 1000);
    await loseSilent(core);
    expect((await getRun(core, run.id)).state).toBe("cancelled");
  });

  test("each verb works in the states it is for and says so in others", async () => {
    const run = await claimed();
    expect((await cancelRun(core, run.id)).state).toBe("cancelled");
    await expect(stopRun(core, run.id)).rejects.toMatchObject({ code: "run/state" });
    expect((await resumeRun(core, run.id)).state).toBe("queued");
    await expect(resumeRun(core, run.id)).rejects.toMatchObject({ code: "run/state" });
    const retried = await retryRun(core, run.id);
    expect([retried.parentId, retried.fresh]).toEqual([run.id, true]);
    const cloned = await cloneRun(core, run.id, { drop: null, ratio: 0.25, text: "words" });
    expect(cloned.config).toMatchObject({ ratio: 0.25, model: "starter" });
    expect(cloned.config.drop).toBeUndefined();
    await expect(getRun(core, "run_none")).rejects.toMatchObject({ code: "run/unknown" });
  });

  test("a run waits for those it names and begins when they have succeeded", async () => {
    const first = await claimed();
    const second = await submitRun(core, { kind: "quantize", config: { model: `run:${first.id}` } });
    expect(second.waitsFor).toEqual([first.id]);
    await core.queue.take(50, async () => undefined);
    expect((await getRun(core, second.id)).reason).toContain("waits for");
    await finishRun(core, "host_a", first, succeeded, facts);
    const offered: string[] = [];
    await core.queue.take(50, async (d) => void offered.push(d.runId));
    expect(offered).toContain(second.id);
  });

  test("units are shared between runs, except with one that measures anew", async () => {
    const [a, b] = [await submit(), await submit()];
    const fresh = await retryRun(core, a.id);
    const what = { engine: "e", model: "m", subject: "s", shard: "t" };
    await putUnit(core, a, what, { loss: 1 });
    expect(await getUnit(core, b, what)).toEqual({ loss: 1 });
    expect(await getUnit(core, fresh, what)).toBeUndefined();
    await putUnit(core, fresh, what, { loss: 2 });
    expect(await getUnit(core, fresh, what)).toEqual({ loss: 2 });
    expect(await getUnit(core, b, what)).toEqual({ loss: 1 });
    await putUnit(core, b, { ...what, shard: "u" }, { loss: 3 });
    // What a run found measured is among its units, in the order in which it came to them.
    expect(await unitValues(core, b.id)).toEqual([{ loss: 1 }, { loss: 3 }]);
    expect(await unitValues(core, a.id)).toEqual([{ loss: 1 }]);
    expect(await unitValues(core, fresh.id)).toEqual([{ loss: 2 }]);
  });

  test("two models are compared on the shards that both were measured on by one engine beside one base", async () => {
    await registerModel(core, starter, { id: "twin" });
    await core.db.update(models).set({ hash: "other" }).where(eq(models.id, "twin"));
    const runOf = (model: string) => submitRun(core, { kind: "evaluate", config: { model, text: "words" } });
    const [first, second] = [await runOf("starter"), await runOf("twin")];
    const [base] = await core.db.select({ hash: models.hash }).from(models).where(eq(models.id, "starter"));
    const put = (run: Run, model: string, shard: string, nlls: number[], of = lossSubject("text", null)) =>
      putUnit(
        core,
        run,
        { engine: "e", model, subject: storedSubject(evaluate, of), shard },
        { losses: nlls.map((nll, i) => ({ id: `s${i}`, tokens: 1, nll, kl: null })), seconds: 1 },
      );
    await put(first, base?.hash ?? "", "one", [1, 2, 3]);
    await put(second, "other", "one", [1.5, 2.25, 3.75]);
    // Nothing of these is comparable with what the first was measured on.
    await put(second, "other", "another shard", [9, 9, 9]);
    await put(second, "other", "one", [9, 9, 9], lossSubject("tasks", null));
    await put(second, "other", "one", [9, 9, 9], lossSubject("text", "other"));
    expect(await pairedTests(core, [first.id, second.id])).toMatchObject([
      { runId: second.id, against: first.id, measure: "loss", mean: 0.5, sequences: 3 },
    ]);
  });

  test("a resumed run's curve has each step once, compacting changes nothing, and a value that is not finite stays a gap", async () => {
    const run = await submit();
    const add = (attempt: number, steps: number[], value: (s: number) => number) =>
      appendPoints(
        core,
        { id: run.id, attempt },
        steps.map((s) => ["loss", s, value(s)] as const),
      );
    await add(1, [1, 2, 3], (s) => s);
    await add(1, [4, 5], (s) => (s === 5 ? Number.NaN : s));
    await add(2, [4, 5, 6], (s) => 10 * s);
    const options = { points: 100, smoothing: 0, logarithmic: false };
    const [curve] = await readCurves(core, run.id, options);
    expect(curve?.steps).toEqual([1, 2, 3, 4, 5, 6]);
    expect(curve?.values).toEqual([1, 2, 3, 40, 50, 60]);
    expect(curve?.resumedAt).toEqual([4]);
    expect(curve?.resumptions).toMatchObject([{ attempt: 2, step: 4, repeated: 2, same: false }]);
    expect(curve?.atMs.every((t, i, all) => i === 0 || t >= (all[i - 1] ?? 0))).toBe(true);
    await compactPoints(core, run.id);
    expect(await readCurves(core, run.id, options)).toEqual([curve]);
  });

  test("a notebook notices a second writer, goes back in history, and exports what it has", async () => {
    const cells = (text: string) => [{ id: "a", type: "markdown" as const, text }];
    const made = await createNotebook(core, {
      title: "Notes",
      cells: cells("**one** <script>alert(1)</script> $x^2$"),
    });
    const saved = await saveNotebook(core, made.id, 1, { title: "Notes", cells: cells("two") });
    await expect(saveNotebook(core, made.id, 1, { title: "Notes", cells: [] })).rejects.toMatchObject({
      code: "run/state",
    });
    expect(saved.version).toBe(2);
    const back = await restoreNotebook(core, made.id, 1);
    expect(back.version).toBe(3);
    const html = await exportNotebook(core, made.id, "html");
    expect(html.content).toContain("<strong>one</strong>");
    expect(html.content).toContain("<math");
    expect(html.content).not.toContain("<script");
    const ipynb = JSON.parse((await exportNotebook(core, made.id, "ipynb")).content) as {
      nbformat: number;
      cells: unknown[];
    };
    expect([ipynb.nbformat, ipynb.cells.length]).toEqual([4, 1]);
  });

  test("a frozen figure keeps its data under a hash that does not depend on the order of its keys", async () => {
    const hash = await freezeFigure(core, { figure: "numbers", columns: ["a"], rows: [] });
    expect(await freezeFigure(core, { rows: [], figure: "numbers", columns: ["a"] })).toBe(hash);
    expect(await frozenFigure(core, hash)).toEqual({ figure: "numbers", columns: ["a"], rows: [] });
  });

  test("followers get events in order and go on where they broke off", async () => {
    const start = await core.events.lastSeq();
    for (let i = 0; i < 5; i++) await core.events.publish("test", i);
    const read = async (after: number, n: number) => {
      const found: { seq: number; payload: unknown }[] = [];
      for await (const e of core.events.follow(["test"], after, new AbortController().signal)) {
        found.push(e);
        if (found.length === n) return found;
      }
      return found;
    };
    const first = await read(start, 2);
    const rest = await read(first[1]?.seq ?? 0, 3);
    expect([...first, ...rest].map((e) => e.payload)).toEqual([0, 1, 2, 3, 4]);
  });
});

test("a second process cannot open a data directory that is in use", async () => {
  const dataDirectory = await temporaryFolder();
  const clock = testClock();
  const first = await openCore({ dataDirectory, clock });
  await expect(openCore({ dataDirectory, clock })).rejects.toMatchObject({ code: "store/locked" });
  await first.close();
  const second = await openCore({ dataDirectory, clock });
  await second.close();
});
