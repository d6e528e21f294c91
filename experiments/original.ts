/**
 * @file Finds the first original of a model made here and measures the loss against it, for the
 * record in config.json.
 *
 * Whenever something is made from a model, its path is stored under its hash, so that the end of a
 * chain can be compared with its beginning. If the original is missing or has changed, the direct
 * parent replaces it, and the record says so.
 */
import { basename } from "node:path";
import { z } from "zod";
import { type MeasuredLoss, type OriginRecord, originOf, perplexityRatio } from "../lib/checkpoint/origin.ts";
import { DecoderRunner } from "../lib/decoder/runner.ts";
import { type DecoderWeights, parameterCount } from "../lib/decoder/weights.ts";
import { EspalierError, toEspalierError } from "../lib/errors.ts";
import { BesideBase } from "../lib/eval/beside-base.ts";
import type { SequenceLoss } from "../lib/eval/perplexity.ts";
import type { TokenSequence } from "../lib/eval/sequences.ts";
import { summarizeLosses } from "../lib/eval/summary.ts";
import type { ExperimentContext, Headline } from "./definition.ts";
import type { OpenModel } from "./model-session.ts";
import { requireSameTokens } from "./same-tokens.ts";
import type { UnitName } from "./unit-name.ts";

/** A text to measure on, under a name. */
export interface MeasuredText {
  readonly sequences: readonly TokenSequence[];
  readonly protocol: string;
}

/** What a model is measured against. */
export interface Original {
  readonly model: OpenModel;
  readonly against: MeasuredLoss["against"];
  /** Of the record: the first original, whether it could be opened or not. */
  readonly hash: string;
  readonly name: string;
  /** Of the first original; null where it is not here and no record says them. */
  readonly parameters: number | null;
  readonly note: string | null;
}

const place = z.object({ path: z.string() });
const placeOf = (model: string): UnitName => ({ engine: "", model, subject: "the folder it lies in", shard: "" });

/**
 * The model with which one made from `parent` is compared. `given` is what a person named; `known`
 * are models that are open anyway. Throws `input/invalid` when `given` is another model than the
 * one that `parent` says it was made from, or has other tokens.
 */
export async function originalOf(
  parent: OpenModel,
  context: ExperimentContext,
  options: { given?: string | undefined; known?: readonly OpenModel[] } = {},
): Promise<Original> {
  const recorded = originOf(parent.checkpoint.config);
  const given = options.given === undefined ? null : await context.models.openToRun(options.given);
  if (given && recorded && given.hash !== recorded.hash) {
    throw new EspalierError(
      "input/invalid",
      `${parent.reference} was made from ${recorded.name} (${recorded.hash.slice(0, 12)}), not from ${options.given} (${given.hash.slice(0, 12)})`,
      { hint: "Give the model that it was made from, or leave out --original." },
    );
  }
  if (given) requireSameTokens(given, parent);
  const hash = recorded?.hash ?? given?.hash ?? parent.hash;
  const open = [parent, ...(given ? [given] : []), ...(options.known ?? [])].find((m) => m.hash === hash);
  const found = open ?? (await remembered(hash, context));
  if (found) {
    // Whoever hands originals over knows where they lie; a path is of this machine alone.
    if (!context.originals) await context.store.put(placeOf(hash), { path: found.checkpoint.path });
    const name = recorded?.name ?? basename(found.reference);
    const parameters = parameterCount(found.checkpoint.architecture);
    return { model: found, against: "original", hash, name, parameters, note: null };
  }
  const name = recorded?.name ?? hash.slice(0, 12);
  const note = `the original ${name} was not found here, so the loss is against ${basename(parent.reference)}, which was made from it`;
  return { model: parent, against: "parent", hash, name, parameters: recorded?.parameters ?? null, note };
}

async function remembered(hash: string, context: ExperimentContext): Promise<OpenModel | null> {
  const known = context.originals?.[hash];
  if (known !== undefined) return context.models.openToRun(known);
  const stored = place.safeParse(await context.store.get(placeOf(hash)));
  if (!stored.success) return null;
  try {
    const files = await context.models.files(stored.data.path);
    return files.hash === hash ? await context.models.openToRun(stored.data.path) : null;
  } catch (thrown) {
    if (toEspalierError(thrown).code === "run/cancelled") throw thrown;
    return null;
  }
}

const estimate = (e: { mean: number; standardError: number } | null) => ({
  mean: e?.mean ?? Number.NaN,
  standardError: e && Number.isFinite(e.standardError) ? e.standardError : null,
});

/** The summary of a model's losses relative to its base. */
export function lossBeside(
  base: BesideBase,
  losses: readonly SequenceLoss[],
  protocol: string,
  against: MeasuredLoss["against"],
): MeasuredLoss {
  const summary = summarizeLosses(losses);
  return {
    against,
    protocol,
    tokens: summary.tokens,
    kl: estimate(summary.kl),
    perplexity: summary.perplexity,
    basePerplexity: summarizeLosses(base.losses).perplexity,
    agreement: estimate(summary.agreement),
    questions: null,
  };
}

/** The record of a model with these weights, measured on `text`. */
export async function originRecordFor(
  made: DecoderWeights,
  original: Original,
  text: MeasuredText,
  context: ExperimentContext,
  onShare: (share: number) => void = () => undefined,
): Promise<OriginRecord> {
  const { hash, name, parameters, note } = original;
  const options = { signal: context.signal };
  const base = await BesideBase.compute(original.model.runner, text.sequences, {
    ...options,
    onShare: (s) => onShare(s / 2),
  });
  const runner = new DecoderRunner(context.engine, made, original.model.runner.programs);
  const losses = await base.compare(runner, { ...options, onShare: (s) => onShare((1 + s) / 2) });
  return { hash, name, parameters, loss: lossBeside(base, losses, text.protocol, original.against), note };
}

/** What a made model lost, under the names that an evaluation uses. */
export const lossNumbers = ({ loss }: OriginRecord): Headline => ({
  KL: loss?.kl.mean,
  "KL ±": loss?.kl.standardError,
  "perplexity ratio": loss ? perplexityRatio(loss) : null,
  agreement: loss?.agreement.mean,
  "agreement ±": loss?.agreement.standardError,
});
