/** One small run of every kind, and what of its result must not depend on what happened meanwhile. */
import { join } from "node:path";
import type { ExperimentKind } from "../../experiments/registry.ts";
import { heldOutDocuments, SEPARATOR, trainingDocuments } from "../../experiments/starter/corpus.ts";
import { writeCheckpoint } from "../../lib/checkpoint/write-checkpoint.ts";
import { architectureOf } from "../../lib/decoder/families/registry.ts";
import { initializeWeights } from "../../lib/decoder/initialize.ts";
import { weightList } from "../../lib/decoder/weights.ts";
import { folderFiles } from "../../lib/files/named-files.ts";
import { createRng } from "../../lib/random.ts";
import type { Client } from "../../server/api/client.ts";
import { allValues } from "../fixtures/all-values.ts";
import { temporaryFolder, tinyConfigs } from "../fixtures/tiny-model.ts";
import { until } from "./processes.ts";

const starter = join(import.meta.dirname, "../../experiments/starter/model");

/** A random decoder of two layers with the starter's tokenizer. */
async function tinyCheckpoint(seed: number): Promise<string> {
  const config = { ...tinyConfigs.llama, vocab_size: 1024, bos_token_id: 2, eos_token_id: 1 };
  const architecture = architectureOf(config);
  const weights = initializeWeights(architecture, createRng(seed, "fault tests"));
  const folder = join(await temporaryFolder(), "model");
  await writeCheckpoint(folder, {
    architecture,
    config,
    dtype: "f32",
    copyFrom: folderFiles(starter),
    weight: async (name) => {
      const shape = weightList(architecture).find((w) => w.name === name)?.shape ?? [];
      return { kind: "dense", dtype: "fp32", shape, values: await allValues(weights, name) };
    },
  });
  return folder;
}

/** Models and texts that the configs name. */
export async function addWorkload(client: Client): Promise<void> {
  await client.models.import.mutate({ source: await tinyCheckpoint(1), as: "teacher" });
  await client.models.import.mutate({ source: await tinyCheckpoint(2), as: "student" });
  const next = trainingDocuments(3);
  await client.texts.add.mutate({
    id: "some",
    content: Array.from({ length: 150 }, next).join(SEPARATOR),
    separator: SEPARATOR,
  });
  await client.texts.add.mutate({
    id: "held-out",
    content: heldOutDocuments("select", 8).join(SEPARATOR),
    separator: SEPARATOR,
  });
}

const text = { text: "some", separator: SEPARATOR, context: 32 };

/** Several units each where the kind has units. */
export const configs: Record<ExperimentKind, Record<string, unknown>> = {
  evaluate: { model: "student", base: "teacher", ...text, limit: 150 },
  sensitivity: {
    model: "teacher",
    ...text,
    limit: 32,
    units: ["heads", "layers"],
    metric: ["leave-one-out", "taylor"],
  },
  prune: { model: "teacher", ...text, limit: 24, ratio: 0.25 },
  distill: {
    model: "teacher",
    student: "student",
    text: "some",
    heldOut: "held-out",
    heldOutLimit: 4,
    separator: SEPARATOR,
    steps: 40,
    batch: 2,
    context: 32,
    evaluateEvery: 5,
  },
  quantize: { model: "teacher", bits: 4, rowsPerTable: 8, ...text, limit: 24 },
  tradeoff: { base: "teacher", models: ["student", "teacher"], ...text, limit: 80, maxKl: 10 },
  export: { model: "student", context: [48], prefill: [8], checkTokens: 24 },
};

export type RunRow = Awaited<ReturnType<Client["runs"]["get"]["query"]>>;

const isOver = (state: string): boolean => state === "succeeded" || state === "failed" || state === "cancelled";

/** The run once it has ended; a server that restarts meanwhile is asked again. */
export const ended = (client: () => Client, id: string): Promise<RunRow> =>
  until(`${id} ends`, async () => {
    const run = await client().runs.get.query({ id });
    return isOver(run.state) ? run : null;
  });

/** How long something took, and where an attempt began, are facts of an execution; everything else is the result. */
const ofExecution = new Set(["tokensPerSecond", "tokens per second", "seconds", "resumedFrom", "out"]);

const withoutExecution = (value: unknown): unknown =>
  JSON.parse(JSON.stringify(value, (key, v: unknown) => (ofExecution.has(key) ? undefined : v)));

/** State, summary, numbers, and the digest of every byte that was made. */
export async function resultOf(client: Client, run: RunRow): Promise<unknown> {
  return {
    kind: run.kind,
    state: run.state,
    error: run.error,
    summary: withoutExecution(run.summary),
    numbers: withoutExecution(run.numbers),
    model: run.outputModelId ? (await client.models.get.query({ id: run.outputModelId })).model.artifact : null,
    package: run.outputPackageId ? (await client.packages.get.query({ id: run.outputPackageId })).artifact : null,
  };
}
