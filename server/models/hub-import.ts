/**
 * @file Checkpoints from the Hugging Face hub, taken in the background: asked for, followed, cancelled.
 *
 * What is under way is known to this process alone; a server that ends takes its downloads with it, and the folder they
 * went to is removed. Only whole, checked checkpoints become models.
 */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { downloadFromHub, hubFiles } from "../../lib/checkpoint/hub.ts";
import { EspalierError, toEspalierError } from "../../lib/errors.ts";
import type { Core } from "../core.ts";
import { importModel, modelId } from "./model-registry.ts";

export interface HubImport {
  readonly repository: string;
  readonly revision: string;
  /** The id of the model it becomes. */
  readonly as: string;
  readonly state: "downloading" | "checking" | "ready" | "failed" | "cancelled";
  readonly doneBytes: number;
  readonly totalBytes: number;
  readonly startedMs: number;
  readonly nowMs: number;
  readonly error: string | null;
}

export interface HubImports {
  /** Files and bytes a download would fetch. Throws `model/missing-file`. */
  size(repository: string, revision: string): Promise<{ files: number; sizeBytes: number }>;
  start(repository: string, revision: string, as: string): HubImport;
  list(): HubImport[];
  /** False when nothing of that id is under way. */
  cancel(as: string): boolean;
  close(): Promise<void>;
}

const repositoryPattern = /^\w[\w.-]*(\/\w[\w.-]*)?$/;

/** `fetcher` stands in for the network in tests. */
export function openHubImports(core: Core, fetcher?: typeof fetch): HubImports {
  const imports = new Map<string, HubImport>();
  const underWay = new Map<string, { abort: AbortController; done: Promise<void> }>();
  const check = (repository: string): void => {
    if (!repositoryPattern.test(repository))
      throw new EspalierError("input/invalid", `"${repository.slice(0, 80)}" is not the id of a repository`, {
        hint: "Hub ids look like HuggingFaceTB/SmolLM2-135M.",
      });
  };
  const set = (as: string, change: Partial<HubImport>): void => {
    const before = imports.get(as);
    if (before) imports.set(as, { ...before, ...change, nowMs: core.clock.nowMs() });
  };

  async function run(at: HubImport, signal: AbortSignal): Promise<void> {
    const { repository, revision, as } = at;
    const root = join(core.dataDirectory, "work");
    await mkdir(root, { recursive: true });
    const folder = await mkdtemp(join(root, "hub-"));
    try {
      const files = await hubFiles(repository, { revision, signal, fetch: fetcher });
      set(as, { totalBytes: files.reduce((n, f) => n + f.sizeBytes, 0) });
      let lastMs = 0;
      await downloadFromHub(repository, folder, {
        revision,
        signal,
        fetch: fetcher,
        onBytes: (doneBytes) => {
          set(as, { doneBytes });
          if (core.clock.nowMs() - lastMs < 500) return;
          lastMs = core.clock.nowMs();
          void core.events.publish("models", { id: as, importing: true }).catch(() => undefined);
        },
      });
      set(as, { state: "checking" });
      await importModel(core, folder, { id: as, note: `${repository} at ${revision}, from the hub`, signal });
      set(as, { state: "ready" });
    } catch (thrown) {
      const isCancelled = signal.aborted;
      set(as, {
        state: isCancelled ? "cancelled" : "failed",
        error: isCancelled ? null : toEspalierError(thrown).message,
      });
    } finally {
      await rm(folder, { recursive: true, force: true });
      underWay.delete(as);
      await core.events.publish("models", { id: as }).catch(() => undefined);
    }
  }

  return {
    async size(repository, revision) {
      check(repository);
      const files = await hubFiles(repository, { revision, fetch: fetcher });
      return { files: files.length, sizeBytes: files.reduce((n, f) => n + f.sizeBytes, 0) };
    },
    start(repository, revision, as) {
      check(repository);
      modelId(as);
      if (underWay.has(as))
        throw new EspalierError("store/exists", `"${as}" is already being imported`, {
          hint: "Cancel it first, or choose another id.",
        });
      const nowMs = core.clock.nowMs();
      const at: HubImport = {
        repository,
        revision,
        as,
        state: "downloading",
        doneBytes: 0,
        totalBytes: 0,
        startedMs: nowMs,
        nowMs,
        error: null,
      };
      imports.set(as, at);
      const abort = new AbortController();
      underWay.set(as, { abort, done: run(at, abort.signal) });
      return at;
    },
    list: () => [...imports.values()],
    cancel(as) {
      const found = underWay.get(as);
      found?.abort.abort();
      return found !== undefined;
    },
    async close() {
      for (const { abort } of underWay.values()) abort.abort();
      await Promise.all([...underWay.values()].map((u) => u.done));
    },
  };
}
