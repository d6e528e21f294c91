/** @file The task: one job in a process of its own, run with the experiment it names. */
import { arrayFiles } from "../experiments/array-files.ts";
import type { CheckpointFiles, ExperimentContext, UnitStore } from "../experiments/definition.ts";
import { runExperiment } from "../experiments/definition.ts";
import { modelSession } from "../experiments/model-session.ts";
import { experimentOf } from "../experiments/registry.ts";
import { createEngine } from "../lib/engines/create.ts";
import { elsewhereText } from "../lib/engines/engine.ts";
import { type ErrorCode, EspalierError, errorCodes, toEspalierError } from "../lib/errors.ts";
import { cleanUpTemporaryOutput } from "../lib/files/atomic.ts";
import { type Job, type Request, type ToHost, toTask } from "./task-protocol.ts";

const METRICS_MS = 250;
const MEMORY_MS = 500;

const clock = { nowMs: () => performance.timeOrigin + performance.now() };
const stop = new AbortController();
const waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: EspalierError) => void }>();
let lastId = 0;

function tell(message: ToHost): void {
  process.send?.(message);
}

function ask(request: Request): Promise<unknown> {
  const id = ++lastId;
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject });
    tell({ type: "request", id, request });
  });
}

const store: UnitStore = {
  get: (name) => ask({ ask: "get-unit", name }),
  put: async (name, value) => {
    await ask({ ask: "put-unit", name, value });
  },
};

const checkpoints: CheckpointFiles = {
  restore: async (path) => {
    await ask({ ask: "restore", path });
  },
  saved: async (path) => {
    await ask({ ask: "saved", path });
  },
};

/** The last word; the channel closes once it is out. */
function tellLast(message: ToHost): void {
  process.send?.(message, undefined, undefined, () => process.disconnect());
}

async function run(job: Job): Promise<unknown> {
  const experiment = experimentOf(job.kind);
  const engine = await createEngine(job.engine, {
    threads: job.threads,
    tfjsNodePath: process.env.ESPALIER_TFJS_NODE,
    clock,
    log: (line) => tell({ type: "log", line }),
  });
  tell({ type: "started", engine: engine.description });
  const folderOf = async (reference: string): Promise<string> => {
    const folder = job.models[reference];
    if (folder === undefined) throw new EspalierError("model/missing-file", `the job has no model "${reference}"`);
    return folder;
  };
  const models = modelSession(engine, folderOf, { memoryBytes: job.memoryBytes });
  const points: [string, number, number][] = [];
  const flush = (): void => {
    if (points.length > 0) tell({ type: "metrics", points: points.splice(0) });
  };
  const timers = [
    setInterval(flush, METRICS_MS),
    setInterval(() => tell({ type: "memory", rssBytes: process.memoryUsage.rss() }), MEMORY_MS),
  ];
  let lastProgress = 0;
  const context: ExperimentContext = {
    engine,
    models,
    originals: job.originals,
    store,
    arrays: arrayFiles(job.statistics),
    checkpoints,
    clock,
    signal: stop.signal,
    onProgress(progress) {
      const now = performance.now();
      const whole = Number.isInteger(progress.done);
      if (!whole && now - lastProgress < 100) return;
      lastProgress = now;
      tell({ type: "progress", ...progress });
    },
    log: (line) => tell({ type: "log", line }),
    metric: (name, step, value) => {
      points.push([name, step, value]);
    },
  };
  try {
    const config = experiment.config.parse(job.config);
    return await runExperiment(experiment, config, context);
  } finally {
    const elsewhere = elsewhereText(engine);
    if (elsewhere) tell({ type: "log", line: elsewhere });
    flush();
    for (const timer of timers) clearInterval(timer);
    await models.close();
  }
}

process.on("message", (raw) => {
  const message = toTask.parse(raw);
  if (message.type === "job") {
    run(message)
      .then((summary) => tellLast({ type: "done", summary }))
      .catch((thrown: unknown) => {
        cleanUpTemporaryOutput();
        const { code, message: text, hint, stack } = toEspalierError(thrown);
        if (code.startsWith("internal/")) tell({ type: "log", line: stack ?? text });
        tellLast({ type: "failed", error: { code, message: text, hint: hint ?? null } });
      });
  } else if (message.type === "stop") stop.abort();
  else {
    const one = waiting.get(message.id);
    waiting.delete(message.id);
    if (message.type === "reply") one?.resolve(message.value);
    else one?.reject(new EspalierError(codeOf(message.code), message.message));
  }
});

const codeOf = (code: string): ErrorCode => errorCodes.find((c) => c === code) ?? "store/io";

// Without a host nobody would keep what is computed.
process.on("disconnect", () => process.exit(0));
// A terminal sends Ctrl-C to every process in front; what ends a task is its host's decision.
process.on("SIGINT", () => undefined);
tell({ type: "ready" });
