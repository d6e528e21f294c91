/**
 * @file The smallest mixture of widths whose measured divergence from the original stays under a limit, or the best one in a budget.
 *
 *   1. e(t, w): the share of noise that tensor t has in its output at width w, from some of its rows (`sampled-error.ts`)
 *   2. KL of a few whole parts stored at one probe width: bands of layers, roles (all `down`), the embedding
 *   3. k(t): the cost of each tensor at the probe width, the table nearest to e with these sums (`margins.ts`);
 *      at other widths k(t) · e(t, w) / e(t, probe)
 *   4. for a limit: the mixture of the Lagrangian curve that is predicted to reach it is measured whole, the prediction is
 *      corrected by what was found, and so on until the limit is met closely or nothing smaller is left
 *
 * Sensitivities and trials are measured on the calibrating part of the text; what is reported is measured elsewhere, on the part
 * held out. Every measurement is kept in the unit store, so that a search that was stopped goes on. Reference: HAWQ-V2 (Dong et
 * al., 2020) for a sensitivity of each tensor times its error at each width; here the sensitivity is measured, not a trace.
 */
import { createHash } from "node:crypto";
import { z } from "zod";
import { throwIfCancelled } from "../../lib/cancel.ts";
import { allocate, allocationCurve, type Choice } from "../../lib/compress/allocate/knapsack.ts";
import { fitMargins } from "../../lib/compress/allocate/margins.ts";
import { matrices } from "../../lib/compress/importance/tensor-sensitivity.ts";
import { type Granularity, granularityFor } from "../../lib/compress/quantize/granularity.ts";
import { sampledError } from "../../lib/compress/quantize/sampled-error.ts";
import { formAt } from "../../lib/compress/quantize/stored-form.ts";
import { bitsOf, type ErrorWeights, type Width } from "../../lib/compress/quantize/width.ts";
import { decodedWeights } from "../../lib/decoder/decoded-weights.ts";
import { DecoderRunner } from "../../lib/decoder/runner.ts";
import { type WeightEntry, weight } from "../../lib/decoder/weights.ts";
import { BesideBase } from "../../lib/eval/beside-base.ts";
import { predictedTokens, type TokenSequence } from "../../lib/eval/sequences.ts";
import { summarizeLosses } from "../../lib/eval/summary.ts";
import { tensorUnit } from "../../lib/ids.ts";
import { float32Data } from "../../lib/mil/tensor.ts";
import { formSizeBytes } from "../../lib/weights/form.ts";
import type { CompressedWeight } from "../../lib/weights/weight.ts";
import type { ExperimentContext } from "../definition.ts";
import type { OpenModel } from "../models.ts";
import type { Phases } from "../phases.ts";
import { shardName } from "../text.ts";

/** Storing a whole model once, as tokens of a forward pass that take as long; and estimating its errors. */
export const STORING_TOKENS = 6600;
const ERRORS_TOKENS = 2500;
/** Tokens whose divergence decides how much a part matters. */
const PROBE_TOKENS = 576;
const BANDS = 16;
const MOST_TRIALS = 6;
/** A mixture this near below the limit is near enough. */
const NEAR = 0.88;

export interface MixtureTask {
  readonly model: OpenModel;
  /** What divergence is measured from; usually the model itself. */
  readonly original: OpenModel;
  readonly calibrate: readonly TokenSequence[];
  readonly errorWeights: ReadonlyMap<string, ErrorWeights>;
  /** Names everything that decides how a tensor is stored, for keys. */
  readonly storedHow: string;
  readonly granularity: Granularity;
  readonly widths: readonly Width[];
  /** Stores one matrix, from a cache where it can. */
  store(entry: WeightEntry, width: Width): Promise<CompressedWeight>;
  /** What is not among the choices: norms and tables of which only rows are read, as they will be written. */
  readonly fixed: ReadonlyMap<string, CompressedWeight>;
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
}

/** Costs of every matrix at every width. */
export interface Sensitivities {
  readonly entries: readonly WeightEntry[];
  readonly widths: readonly Width[];
  readonly choices: readonly (readonly Choice[])[];
}

/** The part of the calibrating text that trials are measured on. */
const trialSequences = (calibrate: readonly TokenSequence[]): TokenSequence[] =>
  calibrate.length < 3 ? [...calibrate] : calibrate.filter((_, i) => i % 3 === 2);

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

const tokensOf = (sequences: readonly TokenSequence[]): number => sequences.reduce((n, s) => n + predictedTokens(s), 0);

const probesOf = (entries: readonly WeightEntry[], layers: number) => {
  const width = Math.ceil(layers / BANDS);
  const bands = Array.from({ length: Math.ceil(layers / width) }, (_, b) => b);
  const inLayers = entries.filter((e) => e.layer !== null);
  const bandOf = (e: WeightEntry): number => Math.floor((e.layer ?? 0) / width);
  const roles = [...new Set(inLayers.map((e) => e.role))];
  return { bands, bandOf, roles, inLayers, outside: entries.filter((e) => e.layer === null) };
};

/** What the search will cost beside the storing of the result, in tokens of a forward pass. */
export function searchTokens({
  model,
  calibrate,
  widths,
}: Pick<MixtureTask, "model" | "calibrate" | "widths">): number {
  const { arch } = model.weights;
  const { bands, roles, outside } = probesOf(matrices(arch), arch.layers.length);
  const probes = (bands.length + roles.length + outside.length + 1) * PROBE_TOKENS;
  return ERRORS_TOKENS * (widths.length / 5) + STORING_TOKENS + probes + 4 * trialTokens(calibrate);
}

const trialTokens = (calibrate: readonly TokenSequence[]): number =>
  tokensOf(trialSequences(calibrate)) + STORING_TOKENS / 4;

const numbers = z.record(z.string(), z.number());

async function kept<T>(
  context: ExperimentContext,
  key: string,
  schema: z.ZodType<T>,
  make: () => Promise<T>,
): Promise<T> {
  throwIfCancelled(context.signal);
  const found = schema.safeParse(await context.store.get(key));
  if (found.success) return found.data;
  const made = await make();
  await context.store.put(key, made);
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
  const prefix = `mixture@1 ${context.engine.name} ${model.hash} from ${task.original.hash} ${task.storedHow}`;
  const layoutOf = (e: WeightEntry): Granularity => granularityFor(e.shape, task.granularity).granularity;

  const onErrors = phases.part(ERRORS_TOKENS * (widths.length / 5));
  const errors = new Map<string, Record<string, number>>();
  for (const [i, e] of entries.entries()) {
    const values = (): Float32Array => float32Data(weight(weights, e.name));
    const found = await kept(
      context,
      `${prefix} errors of ${e.name} at ${widths} on ${shardName(task.calibrate)}`,
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

  // The probe width is one whose damage is well above rounding and below ruin: that nearest to 4 bits.
  const probe = [...widths].sort((a, b) => Math.abs(bitsOf(a) - 4) - Math.abs(bitsOf(b) - 4))[0] as Width;
  const sequences = firstTokens(task.calibrate, PROBE_TOKENS);
  const measured = new Measured(task, context, sequences, `${prefix} on ${shardName(sequences)}`);
  const { bands, bandOf, roles, inLayers, outside } = probesOf(entries, weights.arch.layers.length);
  const onProbes = phases.part((bands.length + roles.length + outside.length + 1) * PROBE_TOKENS + STORING_TOKENS);
  const total = bands.length + roles.length + outside.length;
  let done = 0;
  context.log?.(`measuring ${total} parts of the model at ${probe}, one at a time`);
  const costOf = async (part: readonly WeightEntry[]): Promise<number> => {
    const kl = await measured.kl(new Map(part.map((e) => [e.name, probe])));
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
  private readonly prefix: string;
  private base: Promise<BesideBase> | undefined;

  constructor(task: MixtureTask, context: ExperimentContext, sequences: readonly TokenSequence[], prefix: string) {
    this.task = task;
    this.context = context;
    this.sequences = sequences;
    this.prefix = prefix;
  }

  /** Nats per token; `changed` by flat name, everything else as it is. */
  async kl(
    changed: ReadonlyMap<string, Width>,
    fixed: ReadonlyMap<string, CompressedWeight> = new Map(),
  ): Promise<number> {
    const { model, original, store } = this.task;
    const key = `${this.prefix} kl ${digest([[...changed], [...fixed.keys()]])}`;
    return kept(this.context, key, z.number(), async () => {
      const { signal } = this.context;
      this.base ??= BesideBase.compute(original.runner, this.sequences, { signal });
      const base = await this.base;
      const compressed = new Map(fixed);
      for (const e of matrices(model.weights.arch)) {
        const width = changed.get(e.name);
        if (width) compressed.set(e.name, await store(e, width));
      }
      const runner = new DecoderRunner(
        this.context.engine,
        decodedWeights(model.weights, compressed),
        model.runner.programs,
      );
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
  const sequences = trialSequences(task.calibrate);
  const prefix = `mixture@1 ${context.engine.name} ${task.model.hash} from ${task.original.hash} ${task.storedHow}`;
  const measured = new Measured(task, context, sequences, `${prefix} on ${shardName(sequences)}`);
  const widthsAt = (index: number): [string, Width][] =>
    entries.map((e, u) => [e.name, widths[curve[index]?.choices[u] ?? 0] as Width]);
  const trials: Trial[] = [];
  // Indices into the curve, smallest mixture first; `under` meets the limit, `over` does not.
  let over = -1;
  let under = curve.length;
  let aim = limit;
  let best: number | null = null;
  while (trials.length < MOST_TRIALS && under - over > 1) {
    const wanted = curve.findIndex((p) => p.cost <= aim);
    const index = Math.min(under - 1, Math.max(over + 1, wanted < 0 ? curve.length - 1 : wanted));
    const point = curve[index];
    if (!point) break;
    const onTrial = phases.part(trialTokens(task.calibrate));
    const kl = await measured.kl(new Map(widthsAt(index)), task.fixed);
    onTrial(1);
    trials.push({ sizeBytes: point.sizeBytes + task.fixedBytes, predicted: point.cost, kl });
    context.log?.(
      `trial ${trials.length}: ${((point.sizeBytes + task.fixedBytes) / 1e6).toFixed(1)} MB, KL ${kl.toPrecision(3)} (limit ${limit})`,
    );
    if (kl <= limit) {
      under = index;
      best = index;
      if (kl >= NEAR * limit) break;
    } else over = index;
    // The prediction is off by a factor that changes slowly along the curve.
    aim = (0.95 * limit * point.cost) / kl;
  }
  const chosen = curve[best ?? curve.length - 1];
  const tensors = Object.fromEntries(widthsAt(best ?? curve.length - 1).map(([name, w]) => [tensorUnit(name), w]));
  return { tensors, sizeBytes: (chosen?.sizeBytes ?? 0) + task.fixedBytes, trials };
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
    entries.map((e, u) => [tensorUnit(e.name), widths[found.choices?.[u] ?? 0] as Width]),
  );
  return { tensors, sizeBytes, trials: [] };
}
