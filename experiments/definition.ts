/**
 * @file What an experiment is: a config schema, a plan of units, how to run one, and what they add up to.
 *
 * A unit is the smallest piece of work that is kept: named by everything that decides its result, idempotent, stored
 * raw before it is summarised. Resuming is running again: units already stored are not computed twice. Nothing here
 * knows of databases or processes; the store, the clock and the engine are passed in.
 */
import type { z } from "zod";
import { throwIfCancelled } from "../lib/cancel.ts";
import type { Engine } from "../lib/engines/engine.ts";
import type { Clock } from "../lib/random.ts";
import type { ArrayStore } from "./array-files.ts";
import type { ModelSession } from "./models.ts";

export interface Unit {
  /** Everything that decides the result, as one line. */
  readonly key: string;
  readonly label: string;
  /** False for one whose result is files: those may be gone, so it runs every time and nothing of it is stored. */
  readonly stored?: false;
}

/** Raw results by unit key. */
export interface UnitStore {
  get(key: string): Promise<unknown>;
  put(key: string, value: unknown): Promise<void>;
}

export interface Progress {
  readonly done: number;
  readonly total: number;
  readonly label: string;
}

export interface CheckpointFiles {
  /** Brings back what was last saved under this path, if anything was. */
  restore(path: string): Promise<void>;
  saved(path: string): Promise<void>;
}

export interface ExperimentContext {
  readonly engine: Engine;
  readonly models: ModelSession;
  /** Originals of the models at hand: by hash, the reference that `models` opens. */
  readonly originals?: Readonly<Record<string, string>> | undefined;
  readonly store: UnitStore;
  readonly clock: Clock;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /** Where statistics of models are kept; absent: gathered anew in every process. */
  readonly arrays?: ArrayStore | undefined;
  /** A line for the log of the run. */
  readonly log?: ((line: string) => void) | undefined;
  /** A point of a curve. */
  readonly metric?: ((name: string, step: number, value: number) => void) | undefined;
  /** Where files that let a killed run go on are kept; absent: only where they were written. */
  readonly checkpoints?: CheckpointFiles | undefined;
}

export interface Experiment<Config, U extends Unit, Result, Summary> {
  readonly kind: string;
  /** Raised when a config or a result changes meaning. */
  readonly version: number;
  readonly title: string;
  readonly config: z.ZodType<Config>;
  /** What a stored result must look like to be taken for one. */
  readonly result: z.ZodType<Result>;
  /** Refuses, before any work, what the config alone shows to be impossible. */
  check?(config: Config): void;
  plan(config: Config, context: ExperimentContext): Promise<readonly U[]>;
  run(unit: U, config: Config, context: ExperimentContext, onShare: (share: number) => void): Promise<Result>;
  summarize(
    config: Config,
    results: readonly { unit: U; result: Result }[],
    context: ExperimentContext,
  ): Promise<Summary>;
}

/** Runs what is not stored yet, in order, and summarises. Throws `run/cancelled`; finished units stay stored. */
export async function runExperiment<Config, U extends Unit, Result, Summary>(
  experiment: Experiment<Config, U, Result, Summary>,
  config: Config,
  context: ExperimentContext,
): Promise<Summary> {
  experiment.check?.(config);
  const units = await experiment.plan(config, context);
  const results: { unit: U; result: Result }[] = [];
  for (const [i, unit] of units.entries()) {
    throwIfCancelled(context.signal);
    const report = (share: number): void =>
      context.onProgress?.({ done: i + share, total: units.length, label: unit.label });
    report(0);
    const key = `${experiment.kind}@${experiment.version} ${context.engine.identity} ${unit.key}`;
    const stored = unit.stored === false ? null : experiment.result.safeParse(await context.store.get(key));
    const result = stored?.success ? stored.data : await experiment.run(unit, config, context, report);
    if (stored?.success === false) await context.store.put(key, result);
    results.push({ unit, result });
    report(1);
  }
  return experiment.summarize(config, results, context);
}

/** A store for one process. */
export function memoryStore(): UnitStore {
  const values = new Map<string, unknown>();
  return {
    get: async (key) => values.get(key),
    put: async (key, value) => {
      values.set(key, value);
    },
  };
}
