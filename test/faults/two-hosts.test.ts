/** Two `espalier worker` processes on one Postgres: no unit is computed twice, no run is lost, whoever is killed whenever. */
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { experimentKinds, experiments } from "../../experiments/registry.ts";
import { createRng } from "../../lib/random.ts";
import { temporaryFolder } from "../fixtures/tiny-model.ts";
import { freshDatabase, postgresUrl, query } from "./postgres.ts";
import { endAll, espalier, type Process, type Server, server, tasksOf, until, worker } from "./processes.ts";
import { addWorkload, configs, ended, type RunRow, resultOf } from "./workload.ts";

const rng = createRng(Number(process.env.ESPALIER_FAULT_SEED ?? 1), "whom to kill");

interface Counted {
  hash: string;
  subject: string;
  puts: number;
}

/** Counts how often the result of a unit is written. */
const watchUnits = (url: string): Promise<unknown> =>
  query(
    url,
    `create table unit_puts (hash text, subject text);
     create function count_put() returns trigger language plpgsql as
       $$ begin insert into unit_puts values (new.hash, new.subject); return new; end $$;
     create trigger count_put after insert or update on units for each row execute function count_put();`,
  );
const unitPuts = (url: string): Promise<Counted[]> =>
  query<Counted>(url, "select hash, subject, count(*)::int as puts from unit_puts group by hash, subject");

/** The states of a run as they were told, in order, without those that merely repeat. */
async function statesOf(url: string, id: string): Promise<string[]> {
  const rows = await query<{ state: string }>(
    url,
    `select payload->>'state' as state from events where topic = 'runs' and payload->>'id' = '${id}' order by seq`,
  );
  return rows.map((r) => r.state).filter((state, i, all) => state !== all[i - 1]);
}

const inDatabase = (url: string, id: string): Promise<{ state: string; host_id: string; attempt: number }[]> =>
  query(url, `select state, host_id, attempt from runs where id = '${id}'`);

describe.skipIf(postgresUrl === undefined)("two hosts", () => {
  describe("with a shared folder", () => {
    let url: string;
    let now: Server;
    const hosts: { env: Record<string, string>; process: Process & { hostId: string } }[] = [];
    const expected = new Map<string, unknown>();
    const firsts = new Map<string, string>();
    let longest = 0;
    const client = () => now.client;

    beforeAll(async () => {
      url = await freshDatabase();
      const common = { DATABASE_URL: url, ARTIFACTS_URL: pathToFileURL(await temporaryFolder()).href };
      now = await server({ ...common, ESPALIER_DATA: await temporaryFolder() }, { host: false });
      await watchUnits(url);
      for (let i = 0; i < 2; i++) {
        const env = { ...common, ESPALIER_DATA: await temporaryFolder() };
        hosts.push({ env, process: await worker(env) });
      }
      await addWorkload(client());
    });
    afterAll(endAll);

    test("share the work", async () => {
      const runs: RunRow[] = [];
      for (const kind of experimentKinds)
        firsts.set(kind, (await client().runs.submit.mutate({ evaluation: "none", kind, config: configs[kind] })).id);
      for (const id of firsts.values()) runs.push(await ended(client, id));
      for (const run of runs) {
        expect([run.kind, run.state, run.attempt]).toEqual([run.kind, "succeeded", 1]);
        expected.set(run.kind, await resultOf(client(), run));
        longest = Math.max(longest, Number(new Date(run.endedAt ?? 0)) - Number(new Date(run.startedAt ?? 0)));
      }
      expect(new Set(runs.map((r) => r.hostId)).size).toBe(2);
    });

    test("kill -9 of either at any time: every run ends once, with the undisturbed result", async () => {
      const ids: string[] = [];
      for (let i = 0; i < 2; i++)
        for (const id of firsts.values()) ids.push((await client().runs.retry.mutate({ id })).id);
      const struck = new Set<string>();
      for (let kills = 0; kills < 4; kills++) {
        const victim = hosts[kills < 2 ? kills : rng.integer(2)];
        if (!victim) throw new Error("no host");
        const idle = async (): Promise<boolean> => {
          const left = await query<{ n: number }>(
            url,
            "select count(*)::int as n from runs where state in ('queued', 'running', 'stopping', 'lost')",
          );
          return left[0]?.n === 0;
        };
        const working = await until("the victim has a task, or all is done", async () =>
          tasksOf(victim.process.pid).length > 0 ? "task" : (await idle()) && "done",
        );
        if (working === "done") break;
        await new Promise((go) => setTimeout(go, rng.uniform() * 0.7 * longest));
        await victim.process.kill("SIGKILL");
        const held = await query<{ id: string }>(
          url,
          `select id from runs where state = 'running' and host_id = '${victim.process.hostId}'`,
        );
        for (const { id } of held) struck.add(id);
        victim.process = await worker(victim.env);
      }
      for (const id of ids) {
        const run = await ended(client, id);
        expect(await resultOf(client(), run)).toEqual(expected.get(run.kind));
        const told = await statesOf(url, id);
        expect(told.filter((s) => s === "succeeded")).toEqual(["succeeded"]);
        expect(told.at(-1)).toBe("succeeded");
        if (struck.has(id)) expect(told.join(" ")).toContain("running lost queued running");
      }
      expect(struck.size).toBeGreaterThan(0);
      const twice = (await unitPuts(url)).filter((u) => u.puts !== 1);
      expect(twice).toEqual([]);
      expect(await query(url, "select id from runs where state <> 'succeeded'")).toEqual([]);
      const made = await query<{ n: number }>(url, "select count(*)::int as n from packages");
      expect(made[0]?.n).toBe(3);
    });

    test("a host that is frozen past its lease finds its run taken, and disturbs nothing", async () => {
      const { id } = await client().runs.retry.mutate({ id: firsts.get("distill") ?? "" });
      const [first] = await until("it runs", async () => {
        const rows = await inDatabase(url, id);
        return rows[0]?.state === "running" && rows;
      });
      const frozen = hosts.find((h) => h.process.hostId === first?.host_id)?.process;
      if (!frozen) throw new Error("its host is not known");
      const tasks = await until("it has a task", () => tasksOf(frozen.pid).length > 0 && tasksOf(frozen.pid));
      frozen.send("SIGSTOP");
      const run = await ended(client, id);
      expect([run.attempt, run.hostId === frozen.hostId]).toEqual([2, false]);
      expect(await resultOf(client(), run)).toEqual(expected.get("distill"));
      frozen.send("SIGCONT");
      await until("its task is gone", () => tasks.every((task) => !tasksOf(frozen.pid).includes(task)));
      const after = await client().runs.get.query({ id });
      expect([after.state, after.attempt, after.endedAt]).toEqual(["succeeded", 2, run.endedAt]);
      // It is a host again.
      const more = await Promise.all(
        [0, 1, 2, 3].map(() => client().runs.retry.mutate({ id: firsts.get("evaluate") ?? "" })),
      );
      const done = [];
      for (const m of more) done.push(await ended(client, m.id));
      expect(done.some((r) => r.hostId === frozen.hostId)).toBe(true);
    });
  });

  describe("with the server's own artifact endpoint", () => {
    afterEach(endAll);

    test("a token is needed; a server killed meanwhile holds nobody up for good", async () => {
      const url = await freshDatabase();
      const token = "a-token-of-sufficient-length-for-a-test";
      const data = await temporaryFolder();
      const env = { DATABASE_URL: url, ESPALIER_DATA: data, ESPALIER_TOKEN: token };
      let now = await server(env, { host: false });
      const { port } = new URL(now.url);
      const client = () => now.client;
      const common = { DATABASE_URL: url, ARTIFACTS_URL: `http://127.0.0.1:${port}` };
      const stranger = espalier(["worker"], { ...common, ESPALIER_DATA: await temporaryFolder() });
      await until("a worker without a token ends", () => !stranger.isAlive());
      expect(stranger.said()).toContain("[access/denied]");

      await addWorkload(client());
      const workers: Process[] = [];
      for (let i = 0; i < 2; i++)
        workers.push(await worker({ ...common, ESPALIER_TOKEN: token, ESPALIER_DATA: await temporaryFolder() }));
      const kinds = experiments.filter((e) => e.makes !== null).map((e) => e.kind);
      const firsts: RunRow[] = [];
      for (const kind of kinds) {
        const { id } = await client().runs.submit.mutate({ evaluation: "none", kind, config: configs[kind] });
        firsts.push(await ended(client, id));
      }
      const again: string[] = [];
      for (const { id } of firsts) again.push((await client().runs.retry.mutate({ id })).id);
      await until("a task works", () => workers.some((w) => tasksOf(w.pid).length > 0));
      await now.kill("SIGKILL");
      // A host whose task is done wants to store what it made, and has to wait.
      await until("a task is done", () => workers.some((w) => tasksOf(w.pid).length === 0));
      now = await server(env, { host: false, port: Number(port) });
      for (const [i, id] of again.entries()) {
        const run = await ended(client, id);
        const first = firsts[i];
        expect(await resultOf(client(), run)).toEqual(first && (await resultOf(client(), first)));
        expect([run.state, run.attempt]).toEqual(["succeeded", 1]);
      }
      for (const w of workers) expect(w.isAlive()).toBe(true);
      expect(await client().packages.folder.query({ id: (await client().packages.list.query())[0]?.id ?? "" })).toEqual(
        {
          folder: expect.stringContaining(join(data, "materialized")),
        },
      );
    });
  });
});
