/**
 * @file What every command needs: an engine, models by folder or id, a store, a clock, progress, cancellation.
 *
 * This is the edge: the environment, the terminal and the real clock are read here and passed in.
 */
import { mkdir, readFile, stat } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { isAbsolute, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { arrayFiles } from "../experiments/array-files.ts";
import type { ExperimentContext, UnitStore } from "../experiments/definition.ts";
import { modelSession } from "../experiments/model-session.ts";
import { type UnitName, unitHash } from "../experiments/unit-name.ts";
import { holdsCheckpoint } from "../lib/checkpoint/place.ts";
import { createEngine, type EngineName } from "../lib/engines/create.ts";
import { elsewhereText } from "../lib/engines/engine.ts";
import { EspalierError } from "../lib/errors.ts";
import { writeFileAtomic } from "../lib/files/atomic.ts";
import { clock, configuredEngine, dataDirectory, taskMemoryBytes } from "./environment.ts";
import { progressLine } from "./progress.ts";

/** The checkpoint that comes with the project. */
export const starterDirectory = fileURLToPath(new URL("../experiments/starter/model", import.meta.url));

/** The path of a checkpoint: a folder, a .gguf file, `starter`, or where the workbench keeps the model of that id. */
export async function resolveModel(reference: string): Promise<string> {
  const candidates = [
    ...(reference === "starter" ? [starterDirectory] : []),
    isAbsolute(reference) ? reference : resolve(reference),
  ];
  for (const path of candidates) {
    if (await holdsCheckpoint(path)) return path;
  }
  const known = /^[\w][\w.-]{0,79}$/.test(reference) ? await workbenchModel(reference) : null;
  if (known !== null) return known;
  // Something exists there but is not a model: opening it gives the best explanation.
  for (const path of candidates) if (await exists(path)) return path;
  throw new EspalierError(
    "model/missing-file",
    `there is no model "${reference}": no folder or .gguf file has that name, and the workbench has no model with that id`,
    {
      hint: "Give a checkpoint folder, a .gguf file, or an id that `espalier models` lists.",
    },
  );
}

/** Where the workbench keeps that model on this machine; null when it has none. One at a time: a data directory has one owner. */
function workbenchModel(id: string): Promise<string | null> {
  const asked = lookups.then(() => askWorkbench(id));
  lookups = asked.catch(() => null);
  return asked;
}
let lookups: Promise<unknown> = Promise.resolve();

async function askWorkbench(id: string): Promise<string | null> {
  if (!(await exists(dataDirectory())) && !process.env.DATABASE_URL && !process.env.ESPALIER_URL) return null;
  const [{ openWorkbenchSession }, { apiError }] = await Promise.all([
    import("./workbench-session.ts"),
    import("../server/api/client.ts"),
  ]);
  const workbench = await openWorkbenchSession({ computes: false });
  try {
    const { folder } = await workbench.client.models.folder.query({ id });
    return (await holdsCheckpoint(folder)) ? folder : null;
  } catch (thrown) {
    const error = apiError(thrown);
    if (error.code === "model/missing-file") return null;
    throw error;
  } finally {
    await workbench.close();
  }
}

export async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch {
    return false;
  }
}

/** Unit results as files under the data directory, named by the hash of their name. */
export function fileStore(directory: string): UnitStore {
  const pathOf = (name: UnitName): string => join(directory, `${unitHash(name)}.json`);
  return {
    async get(name) {
      try {
        const stored: unknown = JSON.parse(await readFile(pathOf(name), "utf8"));
        return typeof stored === "object" && stored !== null && "value" in stored ? stored.value : undefined;
      } catch {
        return undefined;
      }
    },
    async put(name, value) {
      await mkdir(directory, { recursive: true });
      await writeFileAtomic(pathOf(name), JSON.stringify({ ...name, value }));
    },
  };
}

export interface CommandSession extends ExperimentContext {
  readonly quiet: boolean;
  close(): Promise<void>;
}

export interface SessionOptions {
  readonly json?: boolean | undefined;
  readonly engine?: EngineName | undefined;
  readonly threads?: number | undefined;
  /** Recompute units that are stored. */
  readonly fresh?: boolean | undefined;
}

export async function openSession(options: SessionOptions, signal: AbortSignal): Promise<CommandSession> {
  const engine = await createEngine(options.engine ?? configuredEngine(), {
    threads: options.threads ?? availableParallelism(),
    tfjsNodePath: process.env.ESPALIER_TFJS_NODE,
    clock,
    log: (text) => process.stderr.write(`${text}\n`),
  });
  const models = modelSession(engine, resolveModel, { memoryBytes: taskMemoryBytes() });
  const screen = {
    isTerminal: process.stderr.isTTY ?? false,
    columns: process.stderr.columns ?? 100,
    write: (text: string) => process.stderr.write(text),
  };
  const line = progressLine(screen, clock);
  const log = (text: string): void => {
    line.clear();
    process.stderr.write(`${text}\n`);
  };
  let closed = false;
  const stored = fileStore(join(dataDirectory(), "units"));
  return {
    engine,
    models,
    clock,
    signal,
    quiet: options.json ?? false,
    store: options.fresh ? { ...stored, get: async () => undefined } : stored,
    arrays: arrayFiles(join(dataDirectory(), "statistics")),
    onProgress: (p) => line.report(p),
    log,
    async close() {
      const elsewhere = closed ? null : elsewhereText(engine);
      closed = true;
      if (elsewhere) log(elsewhere);
      line.clear();
      await models.close();
    },
  };
}
