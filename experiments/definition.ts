/**
 * @file The definition of a kind of run, in one record: either a measurement or a maker.
 *
 * A measurement is split into units, the smallest pieces of work that are kept: each named by everything that decides its result,
 * idempotent, stored raw before it is summarised. Resuming is running again: units already stored are not computed twice.
 *
 * A maker writes a folder, a model or a package. Nothing of it is a unit: folders are moved and removed, so a maker runs whenever
 * it is asked to, and what lets a stopped one go on are checkpoints under its address (`address.ts`).
 *
 * Nothing here knows of databases or processes; the store, the clock and the engine are passed in.
 */
import type { z } from "zod";
import { throwIfCancelled } from "../lib/cancel.ts";
import type { DecoderArchitecture } from "../lib/decoder/architecture.ts";
import type { Engine } from "../lib/engines/engine.ts";
import type { Clock } from "../lib/random.ts";
import { addressOf, decidedBy } from "./address.ts";
import type { ArrayStore } from "./array-files.ts";
import type { FigureKind } from "./figures/figure.ts";
import type { ModelSession } from "./model-session.ts";
import { outputSchema } from "./output.ts";
import { type UnitName, unitHash } from "./unit-name.ts";

export interface Unit {
  /** Hash of the model. */
  readonly model: string;
  /** What is measured, with every setting that decides the result. */
  readonly subject: string;
  /** `shardName` of the text; empty where none decides. */
  readonly shard: string;
  readonly label: string;
}

/** Raw results by name. */
export interface UnitStore {
  get(name: UnitName): Promise<unknown>;
  put(name: UnitName, value: unknown): Promise<void>;
}

export interface Progress {
  readonly done: number;
  readonly total: number;
  readonly label: string;
}

export interface CheckpointFiles {
  /** Restores what was last saved under this path, if anything. */
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
  /** Where statistics of models are stored; if absent, every process computes them again. */
  readonly arrays?: ArrayStore | undefined;
  /** A line for the log of the run. */
  readonly log?: ((line: string) => void) | undefined;
  /** A point of a curve. */
  readonly metric?: ((name: string, step: number, value: number) => void) | undefined;
  /** Where files that let a killed run go on are kept; absent: only where they were written. */
  readonly checkpoints?: CheckpointFiles | undefined;
}

/** What is known of the models that a config names before anything is opened. */
export interface CheckContext {
  /** Null for a model that another run is still to make. */
  modelShape(reference: string): Promise<ModelShape | null>;
}
export type ModelShape = Pick<DecoderArchitecture, "vocab" | "maxPositions">;

/** Numbers of a summary by name, for tables of runs; `x ±` is the standard error of `x`. Those that are not finite are left out. */
export type Headline = Record<string, number | null | undefined>;

interface KindOfRun<Kind extends string, Config, Summary> {
  readonly kind: Kind;
  /** Raised when a config or a result changes meaning. */
  readonly version: number;
  readonly title: string;
  /** What it does to a model in a word and a sentence, for Home, which shows steps in the order of the registry; null for none. */
  readonly step: { readonly name: string; readonly what: string } | null;
  /** The figure that shows what a run of it found, in notebooks and reports; null where numbers say it all. */
  readonly figure: FigureKind | null;
  readonly config: z.ZodType<Config>;
  /**
   * Refuses, before any work, what the config and the shapes of its models show to be impossible: in the command line, the API and
   * the form alike. Throws `input/invalid`, or what the work would throw; the message names fields as flags, `--max-bytes`.
   */
  check?(config: Config, context: CheckContext): Promise<void> | void;
  headline(summary: Summary): Headline;
}

export interface Measurement<Kind extends string, Config, U extends Unit, Result, Summary>
  extends KindOfRun<Kind, Config, Summary> {
  readonly makes: null;
  /** The schema that a stored result must match to be used. */
  readonly result: z.ZodType<Result>;
  plan(config: Config, context: ExperimentContext): Promise<readonly U[]>;
  run(unit: U, config: Config, context: ExperimentContext, onShare: (share: number) => void): Promise<Result>;
  summarize(
    config: Config,
    results: readonly { unit: U; result: Result }[],
    context: ExperimentContext,
  ): Promise<Summary>;
}

/** Where a maker writes. */
export interface OutputFolder {
  readonly path: string;
  /** Whether what is there may go. */
  readonly replace: boolean;
}

export interface MakerContext extends ExperimentContext {
  /** Everything that decides what is made: the config with models and texts by content, without the folder. */
  readonly decidedBy: Readonly<Record<string, unknown>>;
  /** SHA-256 of kind, version, engine and `decidedBy`: names checkpoints, so that none serves other models or texts. */
  readonly address: string;
  onShare(share: number): void;
}

export interface Maker<Kind extends string, Config, Summary> extends KindOfRun<Kind, Config, Summary> {
  readonly makes: "model" | "package";
  /** What it is at while it works: "pruning". */
  readonly doing: string;
  /** `folder` is what the config says with `outputConfig`. */
  make(config: Config, context: MakerContext, folder: OutputFolder): Promise<Summary>;
}

/** Of either sort, whatever its units. */
export type Experiment<Config, Summary> =
  | Measurement<string, Config, Unit, unknown, Summary>
  | Maker<string, Config, Summary>;

export type AnyExperiment = Experiment<unknown, unknown>;

/** Checks the config, then measures what is not stored yet, in order, or makes. Throws `run/cancelled`; finished units stay stored. */
export async function runExperiment<Config, Summary>(
  experiment: Experiment<Config, Summary>,
  config: Config,
  context: ExperimentContext,
): Promise<Summary> {
  const { models } = context;
  await experiment.check?.(config, {
    modelShape: async (name) => (await models.files(name)).checkpoint.architecture,
  });
  return experiment.makes === null ? measure(experiment, config, context) : makeFolder(experiment, config, context);
}

/** The subject of a unit as it is stored: with the kind and version of what measured it. */
export const storedSubject = (experiment: { kind: string; version: number }, subject: string): string =>
  `${experiment.kind}@${experiment.version} ${subject}`;

async function measure<Config, U extends Unit, Result, Summary>(
  experiment: Measurement<string, Config, U, Result, Summary>,
  config: Config,
  context: ExperimentContext,
): Promise<Summary> {
  const units = await experiment.plan(config, context);
  const results: { unit: U; result: Result }[] = [];
  for (const [i, unit] of units.entries()) {
    throwIfCancelled(context.signal);
    const report = (share: number): void =>
      context.onProgress?.({ done: i + share, total: units.length, label: unit.label });
    report(0);
    const { model, shard } = unit;
    const subject = storedSubject(experiment, unit.subject);
    const name: UnitName = { engine: context.engine.identity, model, subject, shard };
    const stored = experiment.result.safeParse(await context.store.get(name));
    const result = stored.success ? stored.data : await experiment.run(unit, config, context, report);
    if (!stored.success) await context.store.put(name, result);
    results.push({ unit, result });
    report(1);
  }
  return experiment.summarize(config, results, context);
}

async function makeFolder<Config, Summary>(
  maker: Maker<string, Config, Summary>,
  config: Config,
  context: ExperimentContext,
): Promise<Summary> {
  throwIfCancelled(context.signal);
  const onShare = (done: number): void => context.onProgress?.({ done, total: 1, label: maker.doing });
  onShare(0);
  const decided = await decidedBy(maker.config, config, context.models);
  const address = addressOf([`${maker.kind}@${maker.version}`, context.engine.identity, decided]);
  const { out: path, replace } = outputSchema.parse(config);
  const made = await maker.make(config, { ...context, decidedBy: decided, address, onShare }, { path, replace });
  onShare(1);
  return made;
}

/** A store for one process. */
export function memoryStore(): UnitStore {
  const values = new Map<string, unknown>();
  return {
    get: async (name) => values.get(unitHash(name)),
    put: async (name, value) => {
      values.set(unitHash(name), value);
    },
  };
}
