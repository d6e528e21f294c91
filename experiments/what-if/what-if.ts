/**
 * @file What if these units were removed: the change in loss and the divergence of any selection,
 * within moments.
 *
 *   Δ_s = NLL_s(gates of the selection 0) − NLL_s(all gates 1), per sequence s, in nats per token
 *
 * The untouched model's stream at every layer boundary is kept, so a selection re-runs only the layers from its first on. Few
 * sequences are run first and twice as many each time, so that the first answer with an interval comes soon and narrows.
 * Differences are paired by sequence. Text before and after, and answers to questions, come from a model whose closed columns
 * are 0, which is the gated one number by number.
 */

import { throwIfCancelled } from "../../lib/cancel.ts";
import { gateGradients } from "../../lib/compress/importance/taylor.ts";
import { matrices } from "../../lib/compress/importance/tensor-sensitivity.ts";
import type { DecoderArchitecture } from "../../lib/decoder/architecture.ts";
import { generate } from "../../lib/decoder/generate.ts";
import { DecoderRunner } from "../../lib/decoder/runner.ts";
import { stepModel } from "../../lib/decoder/step-model.ts";
import { f64At, itemAt } from "../../lib/elements.ts";
import type { Engine } from "../../lib/engines/engine.ts";
import { type MultipleChoiceItem, scoreChoices } from "../../lib/eval/choice-scoring.ts";
import { PrefixStreams, type SequenceComparison } from "../../lib/eval/prefix-streams.ts";
import { type PaddedBatch, predictedTokens, tokensOf } from "../../lib/eval/sequences.ts";
import { sharedLosses } from "../../lib/eval/shared-losses.ts";
import { promptIds } from "../../lib/eval/text-codec.ts";
import { elementCount } from "../../lib/mil/types.ts";
import type { Clock } from "../../lib/random.ts";
import { mcnemar } from "../../lib/stats/mcnemar.ts";
import { type Interval, wilsonInterval } from "../../lib/stats/proportion.ts";
import { meanAndError } from "../../lib/stats/ratio.ts";
import { tokenText } from "../../lib/tokenizer/token-text.ts";
import { eventLoopTurn } from "../../lib/turn.ts";
import { taskSequences } from "../kinds/evaluate/evaluate.ts";
import type { ModelSession } from "../model-session.ts";
import { type TextConfig, textSequences } from "../text.ts";
import { type ClosedLayer, closedBy, gatesFor, isGone, isOpen, nothingClosed, silenced } from "./closed-gates.ts";
import { type AttentionPattern, attentionOn, explainUnit, type UnitExplanation } from "./explain.ts";
import { Predictor, type Refinement, type SelectionPrediction } from "./predictor.ts";

export interface MeanWithError {
  readonly mean: number;
  readonly standardError: number;
}

export interface WhatIfMeasurement {
  /** Nats per token. */
  readonly difference: number;
  readonly standardError: number;
  /** Nats per token of the untouched model, on the same sequences. */
  readonly baseNll: number;
  /** From the untouched model, nats per token. */
  readonly kl: MeanWithError;
  /** Share of positions where both choose the same token. */
  readonly agreement: MeanWithError;
  /** Measured so far, and in all. */
  readonly sequences: number;
  readonly of: number;
  readonly milliseconds: number;
}

export interface WhatIfAccuracy {
  readonly items: number;
  readonly base: { correct: number; interval: Interval };
  readonly selected: { correct: number; interval: Interval };
  /** Right before and wrong after, and the other way round. */
  readonly lost: number;
  readonly won: number;
  /** McNemar's, of no difference. */
  readonly p: number;
}

interface Asked {
  readonly signal?: AbortSignal | undefined;
  /** Awaited between steps of long work, so that urgent requests go first. */
  readonly pause?: (() => Promise<void>) | undefined;
}

export interface WhatIf {
  readonly protocol: string;
  readonly sequences: number;
  readonly tokens: number;
  /** Nats per token of the untouched model, on the sequences that are looked at first. */
  readonly baseNll: number;
  measure(
    selection: readonly string[],
    options?: Asked & { onPartial?: (partial: WhatIfMeasurement) => void },
  ): Promise<WhatIfMeasurement>;
  /** At once, from gradients that the first question computes. */
  predict(selection: readonly string[]): Promise<SelectionPrediction>;
  /** Makes predictions for selections like this one better, a few seconds at a time. */
  refine(selection: readonly string[], options?: Asked): Promise<Refinement>;
  generate(
    prompt: string,
    selection: readonly string[],
    options: Asked & { maxTokens: number },
  ): Promise<{
    base: { text: string; tokens: string[] };
    pruned: { text: string; tokens: string[] };
    firstDifference: number | null;
  }>;
  attention(prompt: string, unit: string): Promise<AttentionPattern>;
  explain(unit: string, options?: Asked): Promise<UnitExplanation>;
  /** `tasks` is a JSONL file of multiple-choice items. */
  accuracy(tasks: string, selection: readonly string[], options?: Asked & { limit?: number }): Promise<WhatIfAccuracy>;
}

/** Multiplications that the first answer may cost: about a second of one core. */
const FIRST_MULTIPLICATIONS = 4e10;
/** Selections measured by one call of `refine`. */
const REFINED_AT_A_TIME = 4;

export async function openWhatIf(
  context: { engine: Engine; models: ModelSession; clock: Clock },
  config: Pick<TextConfig, "text" | "separator" | "bos"> & { model: string; limit?: number },
): Promise<WhatIf> {
  const model = await context.models.openToRun(config.model);
  const { runner, tokenizer } = model;
  const { arch } = model.weights;
  const { sequences, protocol } = await textSequences(
    { text: config.text, separator: config.separator, bos: config.bos, limit: config.limit ?? 24, context: 128 },
    model,
  );
  const prefix = PrefixStreams.open(runner, sequences, {
    tokensPerBatch: 1024,
    firstTokens: Math.floor(FIRST_MULTIPLICATIONS / multiplicationsPerToken(arch)),
  });
  const firstSequences = prefix.batches.slice(0, prefix.firstBatches).flatMap((b) => b.rows).length;
  for (let b = 0; b < prefix.firstBatches; b++) await prefix.prepare(b);
  const tokens = tokensOf(sequences);
  const baseNllOf = (indices: readonly number[]): number => {
    const count = (i: number): number => predictedTokens(itemAt(sequences, i));
    return (
      indices.reduce((n, i) => n + f64At(prefix.baseNll, i) * count(i), 0) / indices.reduce((n, i) => n + count(i), 0)
    );
  };

  const compareBatch = async (
    b: number,
    batch: PaddedBatch,
    closed: readonly ClosedLayer[],
  ): Promise<SequenceComparison[]> => {
    const first = closed.findIndex((c) => !isOpen(c));
    if (first < 0) {
      await prefix.prepare(b);
      return batch.rows.map(() => ({ loss: 0, kl: 0, agreement: 1 }));
    }
    let x = await prefix.stream(b, first);
    for (let l = first; l < arch.layers.length; l++) {
      const c = closed[l] ?? nothingClosed;
      if (!isGone(arch, l, c)) x = await runner.block(l, x, gatesFor(arch, l, c, batch.shape.batch));
    }
    return prefix.compare(b, x);
  };

  const predictor = new Predictor({
    arch,
    sequences,
    first: firstSequences,
    async gradients(some, units) {
      const found = await gateGradients(context.engine, model.weights, some, units, { tokensPerBatch: 512 });
      return found.map((u) => u.perSequence);
    },
    async measureFirst(closed) {
      const found: SequenceComparison[] = [];
      for (const [b, batch] of prefix.batches.slice(0, prefix.firstBatches).entries())
        found.push(...(await compareBatch(b, batch, closed)));
      return summary(found.map((f) => f.loss)).mean;
    },
  });

  const measure: WhatIf["measure"] = async (selection, options = {}) => {
    const started = context.clock.nowMs();
    const closed = closedBy(arch, selection);
    const found: SequenceComparison[] = [];
    const measured: number[] = [];
    const sum = (): WhatIfMeasurement => {
      const { mean, standardError } = summary(found.map((f) => f.loss));
      return {
        difference: mean,
        standardError,
        baseNll: baseNllOf(measured),
        kl: summary(found.map((f) => f.kl)),
        agreement: summary(found.map((f) => f.agreement)),
        sequences: found.length,
        of: sequences.length,
        milliseconds: context.clock.nowMs() - started,
      };
    };
    for (const [b, batch] of prefix.batches.entries()) {
      await options.pause?.();
      throwIfCancelled(options.signal);
      found.push(...(await compareBatch(b, batch, closed)));
      measured.push(...batch.rows);
      if (b + 1 === prefix.firstBatches) predictor.observe(selection, closed, summary(found.map((f) => f.loss)).mean);
      options.onPartial?.(sum());
      // Lets a cancellation that has arrived be seen.
      await eventLoopTurn();
    }
    return sum();
  };

  const baseAnswers = new Map<string, boolean[]>();
  const answersOf = async (
    r: DecoderRunner,
    items: readonly MultipleChoiceItem[],
    asked: Awaited<ReturnType<typeof taskSequences>>["sequences"],
    options: Asked,
  ): Promise<boolean[]> => scoreChoices(items, await sharedLosses(r, asked, { signal: options.signal }));

  return {
    protocol,
    sequences: sequences.length,
    tokens,
    baseNll: baseNllOf(Array.from({ length: firstSequences }, (_, i) => i)),
    measure,
    predict: (selection) => predictor.predict(selection),
    refine: (selection, { pause } = {}) => predictor.refine(selection, REFINED_AT_A_TIME, pause),
    async generate(prompt, selection, { maxTokens, signal }) {
      const ids = promptIds(tokenizer, prompt);
      const closed = closedBy(arch, selection);
      const positions = Math.min(arch.maxPositions, ids.length + maxTokens);
      const say = async (weights: typeof model.weights) => {
        const step = await stepModel(context.engine, weights, { context: positions });
        const made = await generate(step, ids, { maxTokens: positions - ids.length, signal });
        return { text: tokenizer.decodeAfter(ids, made), tokens: made.map((id) => tokenText(tokenizer, id)) };
      };
      const before = await say(model.weights);
      const after = closed.every(isOpen) ? before : await say(silenced(model.weights, closed));
      const at = before.tokens.findIndex((t, i) => after.tokens[i] !== t);
      return { base: before, pruned: after, firstDifference: at < 0 ? null : at };
    },
    attention: (prompt, unit) => attentionOn(model, prompt, unit),
    explain: (unit, { signal } = {}) => explainUnit(model, prefix, unit, signal),
    async accuracy(tasks, selection, options = {}) {
      const closed = closedBy(arch, selection);
      const { items, sequences: asked } = await taskSequences({ tasks, limit: options.limit }, model);
      const key = `${tasks} ${items.length}`;
      const base = baseAnswers.get(key) ?? (await answersOf(runner, items, asked, options));
      baseAnswers.set(key, base);
      const changed = closed.every(isOpen)
        ? base
        : await answersOf(
            new DecoderRunner(context.engine, silenced(model.weights, closed), runner.programs),
            items,
            asked,
            options,
          );
      const scored = (answers: readonly boolean[]) => {
        const correct = answers.filter(Boolean).length;
        return { correct, interval: wilsonInterval(correct, answers.length) };
      };
      return {
        items: items.length,
        base: scored(base),
        selected: scored(changed),
        lost: base.filter((right, i) => right && !changed[i]).length,
        won: base.filter((right, i) => !right && changed[i]).length,
        p: mcnemar(base, changed).p,
      };
    },
  };
}

/** Of no sequences 0; of one, an unknown error is 0 until the second comes. */
function summary(values: readonly number[]): MeanWithError {
  if (values.length === 0) return { mean: 0, standardError: 0 };
  const { mean, standardError } = meanAndError(values);
  return { mean, standardError: values.length > 1 ? standardError : 0 };
}

/** Multiplications of one token's pass. */
const multiplicationsPerToken = (arch: DecoderArchitecture): number =>
  matrices(arch).reduce((n, w) => n + elementCount(w.shape), 0);
