/** @file Makes the migrated, empty database that first starts begin from; `npm ci` runs it. */
import { mkdir, mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { PGlite } from "@electric-sql/pglite";
import { drizzle } from "drizzle-orm/pglite";
import { migrate } from "drizzle-orm/pglite/migrator";
import PgBoss from "pg-boss";
import { writeFileAtomic } from "../../lib/files/atomic.ts";
import { bossOptions } from "../queue/queue.ts";
import { snapshotPath } from "./database.ts";

const folder = await mkdtemp(join(tmpdir(), "espalier-database-"));
try {
  const client = await PGlite.create(join(folder, "db"));
  await migrate(drizzle(client), { migrationsFolder: join(import.meta.dirname, "migrations") });
  const boss = new PgBoss(
    bossOptions({
      executeSql: async (text, values) =>
        values && values.length > 0
          ? { rows: (await client.query<Record<string, unknown>>(text, values)).rows }
          : { rows: (await client.exec(text)).at(-1)?.rows ?? [] },
    }),
  );
  await boss.start();
  await boss.stop({ graceful: false, close: false });
  const dump = await client.dumpDataDir("gzip");
  await client.close();
  await mkdir(dirname(snapshotPath), { recursive: true });
  await writeFileAtomic(snapshotPath, new Uint8Array(await dump.arrayBuffer()));
  const { size } = await stat(snapshotPath);
  process.stdout.write(`prepared an empty database, ${(size / 1e6).toFixed(1)} MB\n`);
} finally {
  await rm(folder, { recursive: true, force: true });
}
