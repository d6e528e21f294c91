/**
 * @file One attempt at a run: its task process from start to end, and everything it says written down.
 *
 * When the run is no longer this host's (cancelled, or taken for lost), the task is killed and nothing more is written. While
 * the database or a store elsewhere is away, everything waits and is tried again for as long as the attempt lives.
 */
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { experimentOf, headlineNumbers } from "../experiments/registry.ts";
import { fieldRoles } from "../experiments/roles.ts";
import { EspalierError } from "../lib/errors.ts";
import { type Core, workFolder } from "../server/core.ts";
import { failureOf } from "../server/db/failures.ts";
import type { Provenance } from "../server/db/schema.ts";
import { firstAncestor, freeModelId, modelFolder, registerModel } from "../server/models/model-registry.ts";
import { registerPackage } from "../server/packages/packages.ts";
import { compactPoints } from "../server/runs/journal.ts";
import { finishRun, type Outcome, type Run } from "../server/runs/lifecycle.ts";
import { resolveModelReference } from "../server/runs/references.ts";
import { forgetRunFiles, getUnit, putUnit, restoreRunFile, saveRunFile } from "../server/runs/stored-units.ts";
import { textFile } from "../server/texts/texts.ts";
import { holdLease, type Lease } from "./lease.ts";
import { openJournal, type RunJournal } from "./run-journal.ts";
import { forkTask } from "./task-process.ts";
import { type Job, type Request, type ToTask, toHost } from "./task-protocol.ts";
import { isAwayOrFull, isPassing, type Persistently, whileAway } from "./while-away.ts";

/** A task that was asked to stop has this long to finish its step. */
const STOP_MS = 120_000;
/** What a task said last may still be on its way when its process has ended. */
const LAST_WORDS_MS = 5_000;

export interface AttemptOptions {
  readonly hostId: string;
  readonly threads: number;
  readonly memoryLimitBytes: number;
  readonly machine: Omit<Provenance, "engine" | "threads">;
}

/** The job of a run: references resolved, folders and files brought here. */
async function jobOf(
  core: Core,
  run: Run,
  { threads, memoryLimitBytes }: AttemptOptions,
): Promise<{ job: Job; out: string; parent: string | null }> {
  const experiment = experimentOf(run.kind);
  const config: Record<string, unknown> = { ...run.config };
  const models: Record<string, string> = {};
  const out = join(workFolder(core, run.id), "out");
  let parent: string | null = null;
  const model = async (reference: string, name: string): Promise<string> => {
    const id = await resolveModelReference(core, reference);
    models[id] = await modelFolder(core, id);
    // What a loss is measured against is not what the result was made from.
    if (name !== "original") parent = id;
    return id;
  };
  for (const [name, role] of fieldRoles(experiment.config)) {
    const value = config[name];
    if (role === "output") config[name] = out;
    else if (role === "replace") config[name] = true;
    else if (typeof value === "string")
      config[name] = role === "model" ? await model(value, name) : await textFile(core, value);
    else if (role === "models" && Array.isArray(value)) {
      const ids: string[] = [];
      for (const reference of value) ids.push(await model(String(reference), name));
      config[name] = ids;
    }
  }
  const originals: Record<string, string> = {};
  for (const id of experiment.makes === "model" ? Object.keys(models) : []) {
    const first = await firstAncestor(core, id);
    originals[first.hash] = first.id;
    models[first.id] ??= await modelFolder(core, first.id);
  }
  await mkdir(workFolder(core, run.id), { recursive: true });
  return {
    job: {
      type: "job",
      runId: run.id,
      kind: run.kind,
      config,
      models,
      originals,
      engine: core.engine,
      threads,
      memoryBytes: memoryLimitBytes,
      statistics: join(core.dataDirectory, "statistics"),
    },
    out,
    parent,
  };
}

/** Runs to the end and records it; never throws. `shutdown` aborts when the host leaves: the run then becomes lost. */
export async function attempt(core: Core, run: Run, options: AttemptOptions, shutdown: AbortSignal): Promise<void> {
  const lease = holdLease(core, options.hostId, run);
  try {
    await attemptUnder(lease, core, run, options, shutdown);
  } finally {
    lease.end();
  }
}

async function attemptUnder(
  lease: Lease,
  core: Core,
  run: Run,
  options: AttemptOptions,
  shutdown: AbortSignal,
): Promise<void> {
  const started = core.clock.nowMs();
  const either = AbortSignal.any([shutdown, lease.gone]);
  const persistently: Persistently = (act) => whileAway(act, either);
  const journal = await openJournal(core, run, options.hostId, persistently);
  journal.log("info", `claimed by ${options.hostId}${run.attempt > 1 ? `, attempt ${run.attempt}` : ""}`);
  let provenance: Provenance | null = null;
  let outcome: Outcome | null;
  try {
    const { job, out, parent } = await persistently(() => jobOf(core, run, options));
    const end = await runTask(core, run, job, options, journal, lease, shutdown, (engine) => {
      provenance = { ...options.machine, engine, threads: options.threads };
    });
    outcome =
      end.state === "succeeded" ? await persistently(() => keep(core, run, out, parent, end.summary)) : end.outcome;
  } catch (thrown) {
    const { code, message, hint } = failureOf(thrown);
    // A host that leaves while the database is away does not fail the run: another host continues it.
    outcome = isPassing(thrown)
      ? { state: "lost", reason: "its host was shut down" }
      : { state: "failed", error: { code, message, hint: hint ?? null } };
  }
  await journal.close();
  if (!outcome || lease.gone.aborted) return;
  const seconds = (core.clock.nowMs() - started) / 1000;
  const final = outcome;
  // On a full disk too: until it is written the run is nobody's, and its lease ends.
  const held = await whileAway(
    () => finishRun(core, options.hostId, run, final, { provenance, seconds }),
    either,
    isAwayOrFull,
  );
  if (held && final.state === "succeeded") {
    await forgetRunFiles(core, run.id).catch(() => undefined);
    await rm(workFolder(core, run.id), { recursive: true, force: true });
  }
  if (final.state === "succeeded") await compactPoints(core, run.id).catch(() => undefined);
}

/** Puts what a task made into the store; the summary then names it by id. */
async function keep(core: Core, run: Run, out: string, parent: string | null, summary: unknown): Promise<Outcome> {
  const experiment = experimentOf(run.kind);
  const numbers = headlineNumbers(experiment, summary);
  let outputModelId: string | null = null;
  let outputPackageId: string | null = null;
  if (experiment.makes === "model") {
    const id = await freeModelId(core, run.name, run.id);
    outputModelId = (await registerModel(core, out, { id, parentId: parent, runId: run.id })).id;
  } else if (experiment.makes === "package") {
    outputPackageId = (await registerPackage(core, out, { modelId: parent ?? "", runId: run.id })).id;
  }
  const named =
    typeof summary === "object" && summary !== null && "out" in summary
      ? { ...summary, out: outputModelId ?? outputPackageId }
      : summary;
  return { state: "succeeded", summary: named, numbers, outputModelId, outputPackageId };
}

type TaskEnd = { state: "succeeded"; summary: unknown } | { state: "ended"; outcome: Outcome | null };

function runTask(
  core: Core,
  run: Run,
  job: Job,
  options: AttemptOptions,
  journal: RunJournal,
  lease: Lease,
  shutdown: AbortSignal,
  onEngine: (description: string) => void,
): Promise<TaskEnd> {
  return new Promise((resolve) => {
    const child = forkTask("task.ts", { heapMegabytes: Math.max(256, Math.floor(options.memoryLimitBytes / 2 ** 20)) });
    let result: TaskEnd | null = null;
    let killedFor: Outcome | null | undefined;
    let stopping = false;
    const send = (message: ToTask): void => {
      if (child.connected) child.send(message, () => undefined);
    };
    const kill = (why: Outcome | null): void => {
      if (killedFor === undefined) killedFor = why;
      child.kill("SIGKILL");
    };
    const leave = (): void => kill({ state: "lost", reason: "its host was shut down" });
    shutdown.addEventListener("abort", leave);
    const stop = (): void => {
      if (stopping) return;
      stopping = true;
      send({ type: "stop" });
      setTimeout(
        () => kill({ state: "cancelled", reason: "stopped by you; the current step took too long" }),
        STOP_MS,
      ).unref();
    };

    const release = (): void => kill(null);
    lease.gone.addEventListener("abort", release);
    lease.stop.addEventListener("abort", stop);
    if (lease.gone.aborted) release();
    const ended = new AbortController();
    const over = AbortSignal.any([shutdown, ended.signal]);

    child.on("message", (raw) => {
      const parsed = toHost.safeParse(raw);
      if (!parsed.success) return;
      const message = parsed.data;
      if (message.type === "ready") {
        send(job);
        if (lease.stop.aborted) stop();
      } else if (message.type === "started") onEngine(message.engine);
      else if (message.type === "request") {
        whileAway(() => answer(core, run, message.request), over).then(
          (value) => send({ type: "reply", id: message.id, value }),
          (thrown: unknown) => {
            const { code, message: text } = failureOf(thrown);
            send({ type: "refused", id: message.id, code, message: text });
          },
        );
      } else if (message.type === "progress") journal.progress(message.done, message.total, message.label);
      else if (message.type === "log") journal.log("info", message.line);
      else if (message.type === "metrics") journal.points(message.points);
      else if (message.type === "memory") {
        if (message.rssBytes > options.memoryLimitBytes) {
          const [used, limit] = [message.rssBytes, options.memoryLimitBytes].map((b) => (b / 1e9).toFixed(2));
          kill({
            state: "failed",
            error: {
              code: "run/memory",
              message: `the task used ${used} GB, more than the ${limit} GB allowed`,
              hint: "Raise ESPALIER_TASK_MEMORY, or use shorter contexts and smaller batches.",
            },
          });
        }
      } else if (message.type === "done") result = { state: "succeeded", summary: message.summary };
      else {
        const cancelled = message.error.code === "run/cancelled";
        const outcome: Outcome = cancelled
          ? { state: "cancelled", reason: "stopped by you" }
          : { state: "failed", error: message.error };
        if (!cancelled) journal.log("error", message.error.message);
        result = { state: "ended", outcome };
      }
    });
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding("utf8");
      stream?.on("data", (text: string) => {
        for (const line of text.split("\n")) if (line.trim() !== "") journal.log("warning", line);
      });
    }
    const finish = (end: TaskEnd): void => {
      ended.abort();
      shutdown.removeEventListener("abort", leave);
      lease.gone.removeEventListener("abort", release);
      lease.stop.removeEventListener("abort", stop);
      resolve(end);
    };
    child.on("error", (cause) =>
      finish({
        state: "ended",
        outcome: {
          state: "failed",
          error: { code: "run/lost", message: `the task did not start: ${cause.message}`, hint: null },
        },
      }),
    );
    child.on("exit", (code, signal) => {
      const settle = (): void => settled(code, signal);
      if (!child.connected) return settle();
      const patience = setTimeout(settle, LAST_WORDS_MS);
      child.once("disconnect", () => {
        clearTimeout(patience);
        settle();
      });
    });
    const settled = (code: number | null, signal: NodeJS.Signals | null): void => {
      if (killedFor !== undefined) finish({ state: "ended", outcome: killedFor });
      else if (result) finish(result);
      else {
        const how = signal ? `was killed by ${signal}` : `ended with status ${code}`;
        journal.log("error", `the task process ${how}`);
        finish({ state: "ended", outcome: { state: "lost", reason: `its task process ${how}` } });
      }
    };
  });
}

async function answer(core: Core, run: Run, request: Request): Promise<unknown> {
  const folder = workFolder(core, run.id);
  // Only names inside the run's own folder are files of the run.
  const nameOf = (path: string): string => {
    if (!path.startsWith(`${folder}/`)) throw new EspalierError("store/io", `${path} is outside the folder of the run`);
    return path.slice(folder.length + 1);
  };
  if (request.ask === "get-unit") return getUnit(core, run, request.name);
  if (request.ask === "put-unit") return putUnit(core, run, request.name, request.value);
  if (request.ask === "restore") return restoreRunFile(core, run.id, nameOf(request.path), request.path);
  return saveRunFile(core, run.id, nameOf(request.path), request.path);
}
