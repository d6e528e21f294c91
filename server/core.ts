/**
 * @file The core of the workbench: database, queue, events, artifacts, opened once per process and passed to the code that needs
 * them.
 */
import { join } from "node:path";
import { defaultEngine, type EngineName } from "../lib/engines/create.ts";
import type { Clock } from "../lib/random.ts";
import { openArtifactStore } from "./artifacts/open.ts";
import type { ArtifactStore } from "./artifacts/store.ts";
import { type DatabaseClock, databaseClock } from "./db/clock.ts";
import { type Database, type Db, openDatabase } from "./db/database.ts";
import { type Events, openEvents } from "./events/events.ts";
import { type Queue, startQueue } from "./queue/queue.ts";

export interface Core {
  readonly database: Database;
  readonly db: Db;
  readonly queue: Queue;
  readonly events: Events;
  readonly artifacts: ArtifactStore;
  readonly dataDirectory: string;
  readonly clock: DatabaseClock;
  /** What computes here, in tasks and for what-if. */
  readonly engine: EngineName;
  close(): Promise<void>;
}

export interface CoreOptions {
  readonly dataDirectory: string;
  readonly clock: Clock;
  readonly databaseUrl?: string | undefined;
  readonly artifactsUrl?: string | undefined;
  readonly token?: string | undefined;
  /** onnxruntime unless given. */
  readonly engine?: EngineName | undefined;
}

export async function openCore(options: CoreOptions): Promise<Core> {
  const { dataDirectory } = options;
  // First, because an address that means no store must not leave connections open behind it.
  const artifacts = await openArtifactStore(options.artifactsUrl, { dataDirectory, token: options.token });
  const database = await openDatabase(options);
  try {
    const clock = databaseClock(database, options.clock);
    await clock.synchronize();
    const queue = await startQueue(database);
    const events = await openEvents(database);
    return {
      database,
      db: database.db,
      queue,
      events,
      artifacts,
      dataDirectory,
      clock,
      engine: options.engine ?? defaultEngine,
      async close() {
        await events.close();
        await queue.stop().catch(() => undefined);
        await database.close();
      },
    };
  } catch (thrown) {
    await database.close();
    throw thrown;
  }
}

/** Checkpoint and package folders brought here from the artifact store, by manifest. */
export const materializedFolder = (core: Core, manifest: string): string =>
  join(core.dataDirectory, "materialized", manifest);

export const workFolder = (core: Core, runId: string): string => join(core.dataDirectory, "work", runId);
