/** A database that an older version made is brought up to date with rows in it. */
import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { PGlite } from "@electric-sql/pglite";
import { drizzle } from "drizzle-orm/pglite";
import { migrate } from "drizzle-orm/pglite/migrator";
import { expect, test } from "vitest";
import { z } from "zod";
import { temporaryFolder } from "../fixtures/tiny-model.ts";

const migrationsFolder = join(import.meta.dirname, "../../server/db/migrations");
const journal = z.looseObject({ entries: z.array(z.looseObject({ idx: z.number() })) });

test("units of before 0003 go, runs stay", async () => {
  const older = join(await temporaryFolder(), "migrations");
  await cp(migrationsFolder, older, { recursive: true });
  const path = join(older, "meta", "_journal.json");
  const all = journal.parse(JSON.parse(await readFile(path, "utf8")));
  await writeFile(path, JSON.stringify({ ...all, entries: all.entries.filter((e) => e.idx < 3) }));
  const client = await PGlite.create();
  await migrate(drizzle(client), { migrationsFolder: older });
  await client.exec(`
    insert into runs (id, kind, name, config) values ('run_a', 'evaluate', 'a', '{}');
    insert into units (hash, key, run_id, value) values ('h', 'evaluate@2 onnxruntime m text', 'run_a', '{"losses": []}');
  `);
  await migrate(drizzle(client), { migrationsFolder });
  expect((await client.query("select hash from units")).rows).toEqual([]);
  expect((await client.query("select id from runs")).rows).toEqual([{ id: "run_a" }]);
  const columns = await client.query<{ column_name: string }>(
    "select column_name from information_schema.columns where table_name = 'units'",
  );
  expect(columns.rows.map((r) => r.column_name).sort()).toEqual([
    "created_at",
    "engine",
    "hash",
    "model",
    "run_id",
    "shard",
    "subject",
    "value",
  ]);
  const [index] = (
    await client.query<{ indexdef: string }>("select indexdef from pg_indexes where indexname = 'units_name'")
  ).rows;
  expect(index?.indexdef).toContain("(model, subject, shard, engine)");
  await client.close();
});
