/** Postgres stopped and started under a server and a worker: both live on, runs go on, nobody is told anything wrong meanwhile. */
import { pathToFileURL } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { createRng } from "../../lib/random.ts";
import { LEASE_MS } from "../../server/runs/lifecycle.ts";
import { temporaryFolder } from "../fixtures/tiny-model.ts";
import { freshDatabase, mayStopPostgres, query, startPostgres, stopPostgres } from "./postgres.ts";
import { endAll, server, tasksOf, until, worker } from "./processes.ts";
import { addWorkload, configs, ended, type RunRow, resultOf } from "./workload.ts";

const rng = createRng(Number(process.env.ESPALIER_FAULT_SEED ?? 1), "when to stop the database");

describe.skipIf(!mayStopPostgres)("the database is stopped", () => {
  afterAll(endAll);

  test("server and worker wait for it, say so, and go on", async () => {
    const url = await freshDatabase();
    const common = { DATABASE_URL: url, ARTIFACTS_URL: pathToFileURL(await temporaryFolder()).href };
    const now = await server({ ...common, ESPALIER_DATA: await temporaryFolder() });
    const other = await worker({ ...common, ESPALIER_DATA: await temporaryFolder() });
    const client = () => now.client;
    await addWorkload(client());
    const firsts: RunRow[] = [];
    for (const kind of ["distill", "sensitivity", "export"] as const) {
      const { id } = await client().runs.submit.mutate({ evaluation: "none", kind, config: configs[kind] });
      firsts.push(await ended(client, id));
    }
    const longest = Math.max(
      ...firsts.map((r) => Number(new Date(r.endedAt ?? 0)) - Number(new Date(r.startedAt ?? 0))),
    );

    // Shorter than a lease, and longer.
    for (const awayMs of [0, LEASE_MS + 2_000]) {
      const again: string[] = [];
      for (const { id } of firsts) again.push((await client().runs.retry.mutate({ id })).id);
      await until("both hosts have a task", () => tasksOf(now.pid).length > 0 && tasksOf(other.pid).length > 0);
      await new Promise((go) => setTimeout(go, rng.uniform() * 0.5 * longest));
      stopPostgres();
      const stopped = performance.now();
      const answer = await fetch(`${now.url}/api/trpc/runs.list`);
      expect(answer.status).toBe(503);
      const { error } = (await answer.json()) as {
        error: { message: string; data: { espalier: string; hint: string } };
      };
      expect(error.data.espalier).toBe("store/database");
      expect(error.message).toContain("the database does not answer");
      expect(error.data.hint).toContain("runs continue when it is back");
      expect((await fetch(`${now.url}/api/nothing`)).status).toBe(404);
      await until("so long has passed", () => performance.now() - stopped > awayMs);
      startPostgres();
      await until("the server answers again", () => client().system.info.query());
      for (const [i, id] of again.entries()) {
        const run = await ended(client, id);
        const first = firsts[i];
        expect(await resultOf(client(), run)).toEqual(first && (await resultOf(client(), first)));
        // Hosts get a lease's time to come back: nothing was begun anew.
        expect([run.kind, run.attempt]).toEqual([run.kind, 1]);
      }
      expect([now.isAlive(), other.isAlive()]).toEqual([true, true]);
    }
    expect(other.said()).toContain("the database does not answer");
    expect(other.said()).toContain("the database answers again");
    const connections = await query<{ n: number }>(
      url,
      "select count(*)::int as n from pg_stat_activity where datname = current_database()",
    );
    expect(connections[0]?.n).toBeLessThanOrEqual(2 * 9 + 1);
  });
});
