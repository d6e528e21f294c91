/**
 * @file The smallest mixture of widths whose measured divergence from the model as it was stays under a limit, or the best one in a budget.
 *
 *   1. e(t, w): the share of noise that tensor t has in its output at width w, from some of its rows (`sampled-error.ts`)
 *   2. KL of a few whole parts stored at one probe width: bands of layers, roles (all `down`), the embedding
 *   3. k(t): the cost of each tensor at the probe width, the table nearest to e with these sums (`margins.ts`);
 *      at other widths k(t) · e(t, w) / e(t, probe)
 *   4. for a limit: the mixture of the Lagrangian curve that is predicted to reach it is stored as it would be written and measured
 *      whole, the prediction is corrected by what was found, and so on until the limit is met closely or nothing smaller is left
 *
 * Sensitivities and trials are measured on the calibrating part of the text; what is reported is measured elsewhere, on the part
 * held out. Every measurement is kept in the unit store, so that a search that was stopped goes on. Reference: HAWQ-V2 (Dong et
 * al., 2020) for a sensitivity of each tensor times its error at each width; here the sensitivity is measured, not a trace.
 */

import { createHash } from "node:crypto";
import { z } from "zod";
import { throwIfCancelled } from "../../../lib/cancel.ts";
import { allocate, allocationCurve, type Choice } from "../../../lib/compress/allocate/knapsack.ts";
import { fitMargins } from "../../../lib/compress/allocate/margins.ts";
import { matrices } from "../../../lib/compress/importance/tensor-sensitivity.ts";
import { type Granularity, granularityFor } from "../../../lib/compress/quantize/granularity.ts";
import { sampledError } from "../../../lib/compress/quantize/sampled-error.ts";
import { formAt } from "../../../lib/compress/quantize/stored-form.ts";
import { bitsOf, type ErrorWeights, type Width } from "../../../lib/compress/quantize/width.ts";
import { decodedWeights } from "../../../lib/decoder/decoded-weights.ts";
import { DecoderRunner } from "../../../lib/decoder/runner.ts";
import { type WeightEntry, weight } from "../../../lib/decoder/weights.ts";
import { itemAt } from "../../../lib/elements.ts";
import { BesideBase } from "../../../lib/eval/beside-base.ts";
import { predictedTokens, type TokenSequence, tokensOf } from "../../../lib/eval/sequences.ts";
import { summarizeLosses } from "../../../lib/eval/summary.ts";
import { float32Data } from "../../../lib/mil/tensor.ts";
import { tensorUnit } from "../../../lib/units.ts";
import { formSizeBytes } from "../../../lib/weights/form.ts";
import type { CompressedWeight } from "../../../lib/weights/weight.ts";
import type { ExperimentContext } from "../../definition.ts";
import type { OpenModel } from "../../model-session.ts";
import type { Phases } from "../../phases.ts";
import { shardName, type UnitName } from "../../unit-name.ts";
import { STORING_TOKENS } from "./store-recipe.ts";

/** Estimating the errors of all matrices, as tokens of a forward pass that take as long. */
const ERRORS_TOKENS = 2500;
/** Tokens on which the divergence of each part is measured. */
const PROBE_TOKENS = 576;
const BANDS = 16;
const MOST_TRIALS = 4;
/** A mixture this near below the limit is near enough. */
const NEAR = 0.8;
/** Assumed ratio of the divergence with GPTQ and tuning to that with nearest codes, until a trial
 * measures it. */
const GAIN = 2;

export interface MixtureTask {
  /** What is stored, and what divergence is measured from. */
  readonly model: OpenModel;
  /** What probes, and trials of the whole, are measured on; fitting takes `trialParts(…).fit` of it. */
  readonly calibrate: readonly TokenSequence[];
  readonly errorWeights: ReadonlyMap<string, ErrorWeights>;
  /** Names everything that decides how a tensor is stored. */
  readonly storedHow: string;
  /** Names what else decides how a whole model is stored. */
  readonly wholeHow: string;
  readonly granularity: Granularity;
  readonly widths: readonly Width[];
  /** Stores one matrix to its nearest codes, from a cache where it can. */
  store(entry: WeightEntry, width: Width): Promise<CompressedWeight>;
  /** Stores the whole model as it will be written; widths by the name of a matrix as a unit. */
  storeWhole(
    tensors: Readonly<Record<string, Width>>,
    onShare: (share: number) => void,
  ): Promise<ReadonlyMap<string, CompressedWeight>>;
  /** What that costs, in tokens of a forward pass. */
  readonly wholeTokens: number;
  /** Bytes that are not part of the choice: norms and lookup tables. */
  readonly fixedBytes: number;
}

export interface Trial {
  readonly sizeBytes: number;
  /** The sum of single effects, nats per token. */
  readonly predicted: number;
  /** On the calibrating part. */
  readonly kl: number;
}

export interface Mixture {
  /** Width by the name of a matrix as a unit. */
  readonly tensors: Readonly<Record<string, Width>>;
  readonly sizeBytes: number;
  readonly trials: readonly Trial[];
  /** The whole as a trial stored it; absent where no trial was needed or its figure was known. */
  readonly stored?: ReadonlyMap<string, CompressedWeight> | undefined;
}

/** Costs of every matrix at every width. */
export interface Sensitivities {
  readonly entries: readonly WeightEntry[];
  readonly widths: readonly Width[];
  readonly choices: readonly (readonly Choice[])[];
}

/** Of the calibrating text: what whole models are fitted to, and the third that trials of them are measured on. */
export function trialParts(calibrate: readonly TokenSequence[]): { fit: TokenSequence[]; trial: TokenSequence[] } {
  if (calibrate.length < 3) return { fit: [...calibrate], trial: [...calibrate] };
  return { fit: calibrate.filter((_, i) => i % 3 !== 2), trial: calibrate.filter((_, i) => i % 3 === 2) };
}

/** The first sequences that have so many tokens. */
function firstTokens(sequences: readonly TokenSequence[], tokens: number): TokenSequence[] {
  const taken: TokenSequence[] = [];
  let left = tokens;
  for (const s of sequences) {
    if (left <= 0) break;
    taken.push(s);
    left -= predictedTokens(s);
  }
  return taken;
}

const probesOf = (entries: readonly WeightEntry[], layers: number) => {
  const width = Math.ceil(layers / BANDS);
  const bands = Array.from({ length: Math.ceil(layers / width) }, (_, b) => b);
  const inLayers = entries.filter((e) => e.layer !== null);
  const bandOf = (e: WeightEntry): number => Math.floor((e.layer ?? 0) / width);
  const roles = [...new Set(inLayers.map((e) => e.role))];
  return { bands, bandOf, roles, inLayers, outside: entries.filter((e) => e.layer === null) };
};

/** How tensors are stored hangs on all of the calibrating text, on whatever part of it they are then measured. */
const nameOf = (
  what: string,
  { model, storedHow, calibrate }: MixtureTask,
  sequences: readonly TokenSequence[],
  { engine }: ExperimentContext,
): UnitName => ({
  engine: engine.identity,
  model: model.hash,
  subject: `mixture@4 ${what} ${storedHow} calibrated on ${shardName(calibrate)}`,
  shard: shardName(sequences),
});

const numbers = z.record(z.string(), z.number());

async function kept<T>(
  context: ExperimentContext,
  name: UnitName,
  schema: z.ZodType<T>,
  make: () => Promise<T>,
): Promise<T> {
  throwIfCancelled(context.signal);
  const found = schema.safeParse(await context.store.get(name));
  if (found.success) return found.data;
  const made = await make();
  await context.store.put(name, made);
  return made;
}

const digest = (value: unknown): string =>
  createHash("sha256").update(JSON.stringify(value)).digest("hex").slice(0, 24);

/** Costs of all matrices at all widths, from a few measurements. */
export async function quickSensitivities(
  task: MixtureTask,
  context: ExperimentContext,
  phases: Phases,
): Promise<Sensitivities> {
  const { model, widths } = task;
  const { weights } = model;
  const entries = matrices(weights.arch);
  const layoutOf = (e: WeightEntry): Granularity => granularityFor(e.shape, task.granularity).granularity;

  const onErrors = phases.part(ERRORS_TOKENS * (widths.length / 5));
  const errors = new Map<string, Record<string, number>>();
  for (const [i, e] of entries.entries()) {
    const values = (): Float32Array => float32Data(weight(weights, e.name));
    const found = await kept(
      context,
      nameOf(`errors of ${e.name} at ${widths}`, task, task.calibrate, context),
      numbers,
      async () => {
        const own: Record<string, number> = {};
        for (const w of widths)
          own[w] = await sampledError(w, values(), e.shape, layoutOf(e), task.errorWeights.get(e.name), context.signal);
        return own;
      },
    );
    errors.set(e.name, found);
    onErrors((i + 1) / entries.length);
  }

  // The probe width should do clear but not destructive damage: the width nearest to 4 bits.
  const probe = itemAt(
    [...widths].sort((a, b) => Math.abs(bitsOf(a) - 4) - Math.abs(bitsOf(b) - 4)),
    0,
  );
  const sequences = firstTokens(task.calibrate, PROBE_TOKENS);
  const measured = new Measured(task, context, sequences);
  const { bands, bandOf, roles, inLayers, outside } = probesOf(entries, weights.arch.layers.length);
  const onProbes = phases.part((bands.length + roles.length + outside.length + 1) * PROBE_TOKENS + STORING_TOKENS);
  const total = bands.length + roles.length + outside.length;
  let done = 0;
  context.log?.(`measuring ${total} parts of the model at ${probe}, one at a time`);
  const costOf = async (part: readonly WeightEntry[]): Promise<number> => {
    const kl = await measured.nearest(new Map(part.map((e) => [e.name, probe])));
    onProbes(++done / total);
    return kl;
  };
  const ofBands: number[] = [];
  for (const b of bands) ofBands.push(await costOf(inLayers.filter((e) => bandOf(e) === b)));
  const ofRoles: number[] = [];
  for (const r of roles) ofRoles.push(await costOf(inLayers.filter((e) => e.role === r)));
  const single = new Map<string, number>();
  for (const e of outside) single.set(e.name, await costOf([e]));

  const errorAt = (e: WeightEntry, w: Width): number => errors.get(e.name)?.[w] ?? 0;
  const sums = fitMargins(
    bands.map((b) =>
      roles.map((r) =>
        inLayers.filter((e) => bandOf(e) === b && e.role === r).reduce((n, e) => n + errorAt(e, probe), 0),
      ),
    ),
    ofBands,
    ofRoles,
  );
  const atProbe = (e: WeightEntry): number => {
    if (e.layer === null) return single.get(e.name) ?? 0;
    const [b, r] = [bandOf(e), roles.indexOf(e.role)];
    const together = inLayers
      .filter((o) => bandOf(o) === b && o.role === e.role)
      .reduce((n, o) => n + errorAt(o, probe), 0);
    return together > 0 ? ((sums[b]?.[r] ?? 0) * errorAt(e, probe)) / together : 0;
  };
  const choices = entries.map((e) =>
    widths.map((w): Choice => {
      const reference = errorAt(e, probe);
      return {
        sizeBytes: formSizeBytes(formAt(w, e.shape, layoutOf(e))),
        cost: reference > 0 ? (atProbe(e) * errorAt(e, w)) / reference : 0,
      };
    }),
  );
  return { entries, widths, choices };
}

/** Divergence of changed models on a text, each measured once and kept. */
class Measured {
  private readonly task: MixtureTask;
  private readonly context: ExperimentContext;
  private readonly sequences: readonly TokenSequence[];
  private base: Promise<BesideBase> | undefined;

  constructor(task: MixtureTask, context: ExperimentContext, sequences: readonly TokenSequence[]) {
    this.task = task;
    this.context = context;
    this.sequences = sequences;
  }

  /** Nats per token, with `changed` by flat name at their nearest codes and everything else as it is. */
  nearest(changed: ReadonlyMap<string, Width>): Promise<number> {
    return this.kl(`nearest ${digest([...changed])}`, async () => {
      const stored = new Map<string, CompressedWeight>();
      for (const e of matrices(this.task.model.weights.arch)) {
        const width = changed.get(e.name);
        if (width) stored.set(e.name, await this.task.store(e, width));
      }
      return stored;
    });
  }

  /** Nats per token of what `stored` gives; `what` names that. */
  kl(what: string, stored: () => Promise<ReadonlyMap<string, CompressedWeight>>): Promise<number> {
    const { model } = this.task;
    return kept(this.context, nameOf(`kl ${what}`, this.task, this.sequences, this.context), z.number(), async () => {
      const { signal, engine } = this.context;
      this.base ??= BesideBase.compute(model.runner, this.sequences, { signal });
      const base = await this.base;
      const runner = new DecoderRunner(engine, decodedWeights(model.weights, await stored()), model.runner.programs);
      const { kl } = summarizeLosses(await base.compare(runner, { signal }));
      return kl?.mean ?? Number.NaN;
    });
  }
}

/**
 * The smallest mixture whose divergence on the trial part stays under `limit`, nats per token. Where even the widest widths miss
 * it, those.
 */
export async function smallestUnder(
  limit: number,
  found: Sensitivities,
  task: MixtureTask,
  context: ExperimentContext,
  phases: Phases,
): Promise<Mixture> {
  const { entries, widths, choices } = found;
  const curve = allocationCurve(choices);
  const sequences = trialParts(task.calibrate).trial;
  const measured = new Measured(task, context, sequences);
  const tensorsAt = (index: number): Record<string, Width> =>
    Object.fromEntries(entries.map((e, u) => [tensorUnit(e.name), itemAt(widths, curve[index]?.choices[u] ?? 0)]));
  const trials: Trial[] = [];
  // Indices into the curve, smallest mixture first; `under` meets the limit, `over` does not.
  let over = -1;
  let under = curve.length;
  let aim = GAIN * limit;
  let best: { index: number; stored: ReadonlyMap<string, CompressedWeight> | undefined } | null = null;
  while (trials.length < MOST_TRIALS && under - over > 1) {
    const wanted = curve.findIndex((p) => p.cost <= aim);
    const index = Math.min(under - 1, Math.max(over + 1, wanted < 0 ? curve.length - 1 : wanted));
    const point = curve[index];
    if (!point) break;
    const tensors = tensorsAt(index);
    const sizeBytes = point.sizeBytes + task.fixedBytes;
    context.log?.(`trial ${trials.length + 1}: storing ${(sizeBytes / 1e6).toFixed(1)} MB`);
    const onTrial = phases.part(task.wholeTokens + tokensOf(sequences));
    let stored: ReadonlyMap<string, CompressedWeight> | undefined;
    const kl = await measured.kl(`whole ${task.wholeHow} ${digest(tensors)}`, async () => {
      stored = await task.storeWhole(tensors, (share) => onTrial(0.95 * share));
      return stored;
    });
    onTrial(1);
    trials.push({ sizeBytes, predicted: point.cost, kl });
    context.log?.(
      `trial ${trials.length}: ${(sizeBytes / 1e6).toFixed(1)} MB, KL ${kl.toPrecision(3)} (limit ${limit})`,
    );
    if (kl <= limit) {
      under = index;
      best = { index, stored };
      if (kl >= NEAR * limit) break;
    } else over = index;
    // The prediction is off by a factor that changes slowly along the curve.
    aim = (0.92 * limit * point.cost) / kl;
  }
  const index = best?.index ?? curve.length - 1;
  const sizeBytes = (curve[index]?.sizeBytes ?? 0) + task.fixedBytes;
  return { tensors: tensorsAt(index), sizeBytes, trials, stored: best?.stored };
}

/** The mixture with the least predicted divergence in `budgetBytes`; null with what the smallest takes when none fits. */
export function bestWithin(
  budgetBytes: number,
  { entries, widths, choices }: Sensitivities,
  fixedBytes: number,
): Mixture | { readonly tensors: null; readonly sizeBytes: number } {
  const found = allocate(choices, budgetBytes - fixedBytes);
  const sizeBytes = found.sizeBytes + fixedBytes;
  if (!found.choices) return { tensors: null, sizeBytes };
  const tensors = Object.fromEntries(
    entries.map((e, u) => [tensorUnit(e.name), itemAt(widths, found.choices?.[u] ?? 0)]),
  );
  return { tensors, sizeBytes, trials: [] };
}
