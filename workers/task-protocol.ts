/**
 * @file What a host and its task say to each other.
 *
 * A task is a child process with one job. It asks its host for what is stored and for checkpoints, tells it progress, log lines
 * and points of curves, and ends with `done` or `failed`. It knows no database; killing it loses at most the unit it is in.
 */
import { z } from "zod";
import { unitName } from "../experiments/unit-name.ts";
import { engineNames } from "../lib/engines/create.ts";

export const job = z.object({
  type: z.literal("job"),
  runId: z.string(),
  kind: z.string(),
  /** As the experiment takes it: texts and output as paths, models as ids. */
  config: z.record(z.string(), z.unknown()),
  /** Checkpoint folders of the models by id. */
  models: z.record(z.string(), z.string()),
  /** Ids of the first ancestors of these models, by hash. */
  originals: z.record(z.string(), z.string()),
  engine: z.enum(engineNames),
  threads: z.number().int().positive(),
  /** That the task may use. */
  memoryBytes: z.number().positive(),
  /** Folder of the machine's statistics of models. */
  statistics: z.string(),
});
export type Job = z.infer<typeof job>;

const request = z.discriminatedUnion("ask", [
  z.object({ ask: z.literal("get-unit"), name: unitName }),
  z.object({ ask: z.literal("put-unit"), name: unitName, value: z.unknown() }),
  z.object({ ask: z.literal("restore"), path: z.string() }),
  z.object({ ask: z.literal("saved"), path: z.string() }),
]);
export type Request = z.infer<typeof request>;

export const toHost = z.discriminatedUnion("type", [
  z.object({ type: z.literal("ready") }),
  z.object({ type: z.literal("started"), engine: z.string() }),
  z.object({ type: z.literal("request"), id: z.number(), request }),
  z.object({ type: z.literal("progress"), done: z.number(), total: z.number(), label: z.string() }),
  z.object({ type: z.literal("log"), line: z.string() }),
  z.object({
    type: z.literal("metrics"),
    points: z.array(z.tuple([z.string(), z.number(), z.number()])),
  }),
  z.object({ type: z.literal("memory"), rssBytes: z.number() }),
  z.object({ type: z.literal("done"), summary: z.unknown() }),
  z.object({
    type: z.literal("failed"),
    error: z.object({ code: z.string(), message: z.string(), hint: z.string().nullable() }),
  }),
]);
export type ToHost = z.infer<typeof toHost>;

export const toTask = z.discriminatedUnion("type", [
  job,
  z.object({ type: z.literal("stop") }),
  z.object({ type: z.literal("reply"), id: z.number(), value: z.unknown() }),
  z.object({ type: z.literal("refused"), id: z.number(), code: z.string(), message: z.string() }),
]);
export type ToTask = z.infer<typeof toTask>;
