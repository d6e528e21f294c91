import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { PGlite } from "@electric-sql/pglite";
import { expect, test } from "vitest";
import { keepSpareLog, reopening } from "../../server/db/embedded.ts";
import { temporaryFolder } from "../fixtures/tiny-model.ts";

/** What the embedded database throws when its log cannot be written. */
const logFull = Object.assign(new Error('could not write to file "pg_wal/xlogtemp.42": No space left on device'), {
  code: "53100",
});

test("after its log could not be written nothing more is asked of an instance, and the next one answers when there is room", async () => {
  const first = await PGlite.create();
  const second = await PGlite.create();
  await second.exec("create table t (a int); insert into t values (7)");
  let asked = 0;
  first.query = async () => {
    asked++;
    throw logFull;
  };
  let room = false;
  let opened = 0;
  const client = reopening(
    first,
    async () => {
      opened++;
      return second;
    },
    async () => room,
  );
  // All asked at once: those behind the one that failed must not reach the broken instance.
  const failures = await Promise.allSettled([
    client.query("select 1"),
    client.query("select 2"),
    client.exec("select 3"),
  ]);
  expect(failures.map((f) => (f.status === "rejected" ? (f.reason as { code: string }).code : f.value))).toEqual([
    "53100",
    "store/disk-full",
    "store/disk-full",
  ]);
  expect([asked, opened]).toEqual([1, 0]);
  room = true;
  expect((await client.query("select a from t")).rows).toEqual([{ a: 7 }]);
  expect((await client.transaction((tx) => tx.query("select a from t"))).rows).toEqual([{ a: 7 }]);
  expect(opened).toBe(1);
  await client.close();
  await first.close();
});

test("the log has a spare segment from the first start on, and one again after each that was filled", async () => {
  const directory = join(await temporaryFolder(), "db");
  const client = await PGlite.create({ dataDir: directory });
  const end = await keepSpareLog(client, directory);
  const segments = async (): Promise<string[]> =>
    (await readdir(join(directory, "pg_wal"))).filter((name) => /^[0-9A-F]{24}$/.test(name)).sort();
  const used = async (): Promise<string | undefined> =>
    (await client.query<{ name: string }>("select pg_walfile_name(pg_current_wal_lsn()) as name")).rows[0]?.name;
  await client.exec("create table t (a text)");
  const [first, before] = [await used(), await segments()];
  expect(before).toEqual([first, expect.stringMatching(/^[0-9A-F]{24}$/)]);
  while ((await used()) === first)
    await client.exec("insert into t select md5(random()::text) from generate_series(1, 20000); truncate t");
  await expect.poll(segments, { timeout: 30_000 }).not.toContain(first);
  const [second, after] = [await used(), await segments()];
  expect(after[0]).toBe(second);
  expect(after.length).toBe(2);
  end();
  await client.close();
});

test("a wrong statement, or a table that cannot grow, changes nothing", async () => {
  const first = await PGlite.create();
  const client = reopening(
    first,
    async () => Promise.reject(new Error("opened again")),
    async () => true,
  );
  await expect(client.query("select nothing")).rejects.toThrow(/nothing/);
  const { query } = first;
  first.query = async () => {
    first.query = query;
    throw Object.assign(new Error('could not extend file "base/5/24576": No space left on device'), { code: "53100" });
  };
  await expect(client.query("select 1")).rejects.toMatchObject({ code: "53100" });
  expect((await client.query("select 1 as a")).rows).toEqual([{ a: 1 }]);
  await client.close();
});
