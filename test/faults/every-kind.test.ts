/** kill -9 of a run's task, then of the server that runs it, at moments drawn from a seed: the result is that of an undisturbed run. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { experimentKinds } from "../../experiments/registry.ts";
import { createRng } from "../../lib/random.ts";
import { temporaryFolder } from "../fixtures/tiny-model.ts";
import { endAll, isAlive, type Server, server, tasksOf, until } from "./processes.ts";
import { addWorkload, configs, ended, resultOf } from "./workload.ts";

const rng = createRng(Number(process.env.ESPALIER_FAULT_SEED ?? 1), "when to kill");
let data: string;
let now: Server;
const client = () => now.client;

beforeAll(async () => {
  data = await temporaryFolder();
  now = await server({ ESPALIER_DATA: data });
  await addWorkload(client());
});
afterAll(endAll);

/** A moment within the time an undisturbed run takes; the task of the run then, or null when the run was quicker. */
async function momentIn(id: string, withinMs: number): Promise<number | null> {
  const state = async (): Promise<string> => (await client().runs.get.query({ id })).state;
  const task = await until(`${id} has a task`, async () => {
    const found = tasksOf(now.pid)[0];
    return (await state()) === "succeeded" ? 0 : found;
  });
  await new Promise((go) => setTimeout(go, rng.uniform() * withinMs));
  return task !== 0 && isAlive(task) && (await state()) === "running" ? task : null;
}

/** Submits the run until the blow lands while it runs; the runs that were quicker have to be right all the same. */
async function struck(first: string, expected: unknown, withinMs: number, blow: (task: number) => Promise<void>) {
  for (let within = withinMs; ; within /= 2) {
    // Measures everything anew.
    const { id } = await client().runs.retry.mutate({ id: first });
    const task = await momentIn(id, within);
    if (task !== null) await blow(task);
    const run = await ended(client, id);
    expect(await resultOf(client(), run)).toEqual(expected);
    if (run.attempt > 1) return run;
  }
}

describe.each(experimentKinds)("%s", (kind) => {
  let first: string;
  let expected: unknown;
  let duration: number;
  beforeAll(async () => {
    first = (await client().runs.submit.mutate({ evaluation: "none", kind, config: configs[kind] })).id;
    const run = await ended(client, first);
    expect([run.error, run.state]).toEqual([null, "succeeded"]);
    expected = await resultOf(client(), run);
    duration = Number(new Date(run.endedAt ?? 0)) - Number(new Date(run.startedAt ?? 0));
  });

  test("a killed task is replaced, and the result is the same", async () => {
    const run = await struck(first, expected, duration, async (task) => {
      process.kill(task, "SIGKILL");
    });
    expect(run.attempt).toBe(2);
  });

  test("a killed server goes on when it is started again, and the result is the same", async () => {
    const run = await struck(first, expected, duration, async (task) => {
      await now.kill("SIGKILL");
      // Nobody would keep what an orphan computes.
      await until("the task of the dead server ends", () => !isAlive(task));
      now = await server({ ESPALIER_DATA: data });
    });
    expect(run.attempt).toBe(2);
  });
});
