/**
 * @file The database: an embedded PGlite directory by default, a shared Postgres where DATABASE_URL names one.
 *
 * The same schema, migrations and queries serve both. What the two drivers differ in (opening, raw statements for the queue,
 * notifications) is hidden here; everything else sees a Drizzle database.
 */
import { readFile, stat, statfs } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { PgDatabase, PgQueryResultHKT } from "drizzle-orm/pg-core";
import { EspalierError } from "../../lib/errors.ts";
import { type DirectoryLock, lockDirectory } from "./directory-lock.ts";
import { keepSpareLog, reopening } from "./embedded.ts";
import * as schema from "./schema.ts";

export type Db = PgDatabase<PgQueryResultHKT, typeof schema>;

/** Rows of a raw statement. */
export interface RawResult {
  rows: Record<string, unknown>[];
}

export interface Database {
  readonly kind: "embedded" | "postgres";
  readonly db: Db;
  /** Raw statements, for the queue. */
  execute(text: string, values?: unknown[]): Promise<RawResult>;
  /** Calls `onNotify` when another process notifies; resolves to what ends it. */
  listen(channel: string, onNotify: () => void): Promise<() => Promise<void>>;
  /** Only the embedded database has one. */
  readonly lock: DirectoryLock | null;
  close(): Promise<void>;
}

export interface DatabaseOptions {
  readonly dataDirectory: string;
  readonly databaseUrl?: string | undefined;
}

/** A database that does not answer a connection for so long is away. */
const CONNECT_MS = 10_000;
const LISTEN_AGAIN_MS = 1_000;
/** A segment of the embedded database's log, and half as much again. */
const LOG_BYTES = 24 * 2 ** 20;

const migrationsFolder = fileURLToPath(new URL("./migrations", import.meta.url));

/** Where `npm ci` leaves a migrated, empty database, so that a first start does not have to make one. */
export const snapshotPath = fileURLToPath(
  new URL("../../node_modules/.cache/espalier/empty-database.tar.gz", import.meta.url),
);

export function openDatabase(options: DatabaseOptions): Promise<Database> {
  return options.databaseUrl === undefined
    ? openEmbedded(options.dataDirectory)
    : openPostgres(options.databaseUrl, options.dataDirectory);
}

async function openEmbedded(dataDirectory: string): Promise<Database> {
  const lock = await lockDirectory(dataDirectory);
  try {
    const { PGlite } = await import("@electric-sql/pglite");
    const { drizzle } = await import("drizzle-orm/pglite");
    const { migrate } = await import("drizzle-orm/pglite/migrator");
    const directory = join(dataDirectory, "db");
    const exists = await stat(join(directory, "PG_VERSION")).catch(() => null);
    const snapshot = exists ? null : await readFile(snapshotPath).catch(() => null);
    const first = await PGlite.create({
      dataDir: directory,
      ...(snapshot ? { loadDataDir: new Blob([new Uint8Array(snapshot)]) } : {}),
    });
    const client = reopening(
      first,
      () => PGlite.create({ dataDir: directory }),
      async () => {
        const { bavail, bsize } = await statfs(directory);
        return bavail * bsize >= LOG_BYTES;
      },
    );
    const db = drizzle(client, { schema });
    await migrate(db, { migrationsFolder });
    // A directory on a disk that is full already is opened all the same.
    const endSpare = await keepSpareLog(client, directory).catch(() => () => undefined);
    return {
      kind: "embedded",
      db,
      lock,
      async execute(text, values) {
        if (values && values.length > 0) {
          const result = await client.query<Record<string, unknown>>(text, values);
          return { rows: result.rows };
        }
        const results = await client.exec(text);
        return { rows: results.at(-1)?.rows ?? [] };
      },
      // One process has this database; whoever publishes wakes its readers without it.
      listen: async () => async () => undefined,
      async close() {
        endSpare();
        await client.close();
        lock.release();
      },
    };
  } catch (thrown) {
    lock.release();
    throw thrown;
  }
}

async function openPostgres(url: string, dataDirectory: string): Promise<Database> {
  const { default: pg } = await import("pg");
  const { drizzle } = await import("drizzle-orm/node-postgres");
  const { migrate } = await import("drizzle-orm/node-postgres/migrator");
  const pool = new pg.Pool({ connectionString: url, max: 8, connectionTimeoutMillis: CONNECT_MS, keepAlive: true });
  // A connection that breaks, idle or inside a transaction, must not end the process; the next statement says what is wrong.
  pool.on("error", () => undefined);
  pool.on("connect", (client) => client.on("error", () => undefined));
  const db = drizzle(pool, { schema });
  try {
    const client = await pool.connect();
    try {
      await client.query("select pg_advisory_lock(hashtext('espalier-migrations'))");
      await migrate(drizzle(client, { schema }), { migrationsFolder });
    } finally {
      await client.query("select pg_advisory_unlock(hashtext('espalier-migrations'))").catch(() => undefined);
      client.release();
    }
  } catch (cause) {
    await pool.end();
    throw new EspalierError("store/database", `the database cannot be used: ${reasonOf(cause)}`, {
      hint: "Check DATABASE_URL: host, port, name, user, and that the server runs.",
      cause,
    });
  }
  void dataDirectory;
  return {
    kind: "postgres",
    db,
    lock: null,
    async execute(text, values) {
      const result: unknown = await pool.query(text, values);
      const last = Array.isArray(result) ? result.at(-1) : result;
      return { rows: rowsOf(last) };
    },
    listen: (channel, onNotify) =>
      listenOn(
        () => new pg.Client({ connectionString: url, connectionTimeoutMillis: CONNECT_MS, keepAlive: true }),
        channel,
        onNotify,
      ),
    close: () => pool.end(),
  };
}

/** A connection of its own for notifications, opened again when it breaks. */
async function listenOn(
  create: () => import("pg").Client,
  channel: string,
  onNotify: () => void,
): Promise<() => Promise<void>> {
  let stopped = false;
  let client: import("pg").Client | null = null;
  const open = async (): Promise<void> => {
    const next = create();
    let isOver = false;
    // A connection that fails tells it in two ways, an error and an end; it is opened again once.
    const again = (): void => {
      if (isOver) return;
      isOver = true;
      client = null;
      if (!stopped) setTimeout(() => void open(), LISTEN_AGAIN_MS).unref();
    };
    next.on("notification", onNotify);
    next.on("error", again);
    next.on("end", again);
    try {
      await next.connect();
      await next.query(`listen ${channel.replaceAll(/[^a-z_]/g, "")}`);
      client = next;
      // What was told while nobody listened.
      onNotify();
    } catch {
      again();
      await next.end().catch(() => undefined);
    }
  };
  await open();
  return async () => {
    stopped = true;
    await client?.end();
  };
}

function rowsOf(result: unknown): Record<string, unknown>[] {
  if (typeof result === "object" && result !== null && "rows" in result && Array.isArray(result.rows))
    return result.rows;
  return [];
}

const reasonOf = (thrown: unknown): string => {
  if (thrown instanceof AggregateError) return thrown.errors.map(reasonOf).join("; ");
  if (!(thrown instanceof Error)) return String(thrown);
  return thrown.cause instanceof Error ? reasonOf(thrown.cause) : thrown.message;
};
