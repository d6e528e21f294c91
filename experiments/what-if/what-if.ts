/**
 * @file What if these units were gone: the change in loss and the divergence of any selection, within moments.
 *
 *   Δ_s = NLL_s(gates of the selection 0) − NLL_s(all gates 1), per sequence s, in nats per token
 *
 * The untouched model's stream at every layer boundary is kept, so a selection re-runs only the layers from its first on;
 * programs are compiled beforehand. Differences are paired by sequence. Text before and after, and answers to questions, come
 * from a model whose closed columns are 0, which is the gated one number by number.
 */

import { throwIfCancelled } from "../../lib/cancel.ts";
import type { DecoderArchitecture } from "../../lib/decoder/architecture.ts";
import { generate } from "../../lib/decoder/generate.ts";
import { DecoderRunner } from "../../lib/decoder/runner.ts";
import { stepModel } from "../../lib/decoder/step-model.ts";
import type { Engine } from "../../lib/engines/engine.ts";
import { EspalierError } from "../../lib/errors.ts";
import { type MultipleChoiceItem, scoreChoices } from "../../lib/eval/choice-scoring.ts";
import { PrefixStreams, type SequenceComparison } from "../../lib/eval/prefix-streams.ts";
import { type PaddedBatch, predictedTokens } from "../../lib/eval/sequences.ts";
import { sharedLosses } from "../../lib/eval/shared-losses.ts";
import { parseUnit } from "../../lib/ids.ts";
import { type Clock, createRng } from "../../lib/random.ts";
import { mcnemar } from "../../lib/stats/mcnemar.ts";
import { type Interval, wilsonInterval } from "../../lib/stats/proportion.ts";
import { meanAndError } from "../../lib/stats/ratio.ts";
import { taskSequences } from "../evaluate/evaluate.ts";
import type { ModelSession } from "../models.ts";
import { NEURON_BLOCK, unitsOf } from "../sensitivity/units.ts";
import { textSequences } from "../text.ts";
import { type AttentionPattern, attentionOn, explainUnit, type UnitExplanation } from "./explain.ts";
import {
  type Calibration,
  calibrate,
  drawSelections,
  type MeasuredSelection,
  predictSelection,
  type SelectionPrediction,
} from "./prediction.ts";
import {
  allGates,
  type ClosedLayer,
  closedBy,
  gatesFor,
  gatesOf,
  headGates,
  isGone,
  isOpen,
  nothingClosed,
  silenced,
} from "./selection.ts";

export interface MeanWithError {
  readonly mean: number;
  readonly standardError: number;
}

export interface WhatIfMeasurement {
  /** Nats per token. */
  readonly difference: number;
  readonly standardError: number;
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
  /** Awaited between steps of long work, so that what cannot wait goes first. */
  readonly pause?: (() => Promise<void>) | undefined;
}

export interface WhatIf {
  readonly protocol: string;
  readonly sequences: number;
  readonly tokens: number;
  /** Nats per token of the untouched model. */
  readonly baseNll: number;
  measure(
    selection: readonly string[],
    options?: Asked & { onPartial?: (partial: WhatIfMeasurement) => void },
  ): Promise<WhatIfMeasurement>;
  /** Measures single units and selections the first time, which takes seconds; at once from then on. */
  predict(selection: readonly string[], options?: Asked): Promise<SelectionPrediction>;
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

/** Selections measured to correct predictions by. */
const CALIBRATING = 40;

export async function openWhatIf(
  context: { engine: Engine; models: ModelSession; clock: Clock },
  config: { model: string; text: string; separator?: string | undefined; limit?: number },
): Promise<WhatIf> {
  const model = await context.models.open(config.model);
  const { runner, tokenizer } = model;
  const { arch } = model.weights;
  const { sequences, protocol } = await textSequences(
    { text: config.text, separator: config.separator, limit: config.limit ?? 24, context: 128 },
    model,
  );
  const prefix = await PrefixStreams.compute(runner, sequences, { tokensPerBatch: 1024 });
  // The gated programs of every layer shape are compiled now, not when somebody waits for them.
  const shapes = new Set<string>();
  for (const [b, batch] of prefix.batches.entries()) {
    const { batch: rows, length } = batch.shape;
    if (shapes.has(`${rows}x${length}`)) continue;
    shapes.add(`${rows}x${length}`);
    for (let l = 0; l < arch.layers.length; l++) {
      const x = await prefix.stream(b, l);
      for (const kinds of [headGates, allGates(arch)])
        await runner.block(l, x, gatesOf(arch, l, kinds, nothingClosed, rows));
    }
  }
  await prefix.compare(0, await prefix.stream(0, arch.layers.length));
  const tokens = sequences.reduce((n, s) => n + predictedTokens(s), 0);
  const baseNll = sequences.reduce((n, s, i) => n + (prefix.baseNll[i] as number) * predictedTokens(s), 0) / tokens;

  const compareBatch = async (
    b: number,
    batch: PaddedBatch,
    closed: readonly ClosedLayer[],
  ): Promise<SequenceComparison[]> => {
    const first = closed.findIndex((c) => !isOpen(c));
    if (first < 0) return batch.rows.map(() => ({ loss: 0, kl: 0, agreement: 1 }));
    let x = await prefix.stream(b, first);
    for (let l = first; l < arch.layers.length; l++) {
      const c = closed[l] ?? nothingClosed;
      if (!isGone(arch, l, c)) x = await runner.block(l, x, gatesFor(arch, l, c, batch.shape.batch));
    }
    return prefix.compare(b, x);
  };

  const measure: WhatIf["measure"] = async (selection, options = {}) => {
    const started = context.clock.nowMs();
    const closed = closedBy(arch, selection);
    const found: SequenceComparison[] = [];
    const sum = (): WhatIfMeasurement => {
      const { mean, standardError } = summary(found.map((f) => f.loss));
      return {
        difference: mean,
        standardError,
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
      options.onPartial?.(sum());
      // Lets a cancellation that has arrived be seen.
      await new Promise((resolve) => setImmediate(resolve));
    }
    return sum();
  };

  /** Loss and divergence of single units, measured once. */
  const singles = new Map<string, { loss: number; kl: number }>();
  const effectsOf = async (names: readonly string[], options: Asked) => {
    for (const name of names) {
      if (singles.has(name)) continue;
      const { difference, kl } = await measure([name], options);
      singles.set(name, { loss: difference, kl: kl.mean });
    }
    const found = names.map((n) => singles.get(n) ?? { loss: Number.NaN, kl: Number.NaN });
    return {
      additive: found.reduce((t, f) => t + f.loss, 0),
      divergence: found.reduce((t, f) => t + f.kl, 0),
      losses: found.map((f) => f.loss),
    };
  };

  /** Which units selections are drawn from: heads alone for heads and groups, heads and blocks of neurons for all else. */
  const pools = { heads: ["heads"], all: ["heads", "neurons"] } as const;
  const calibrations = new Map<keyof typeof pools, { fitted: Calibration; units: number }>();
  const calibrationFor = async (pool: keyof typeof pools, options: Asked) => {
    const known = calibrations.get(pool);
    if (known) return known;
    const names = unitsOf(arch, pools[pool]).map((u) => u.name);
    const { losses } = await effectsOf(names, options);
    const measured: MeasuredSelection[] = [];
    for (const drawn of drawSelections(losses, CALIBRATING, createRng(0, `what-if ${pool}`))) {
      const kept = withoutEmptyLayers(
        arch.layers.map((l) => l.queryHeads),
        drawn.map((i) => names[i] as string),
      );
      const { additive, divergence } = await effectsOf(kept, options);
      const { difference } = await measure(kept, options);
      measured.push({ additive, divergence, share: kept.length / names.length, measured: difference });
    }
    const found = { fitted: calibrate(measured), units: names.length };
    calibrations.set(pool, found);
    return found;
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
    baseNll,
    measure,
    async predict(selection, options = {}) {
      const closed = closedBy(arch, selection);
      const names = [...new Set(selection)];
      const onlyHeads = names.every((n) => ["head", "group"].includes(parseUnit(n).kind));
      const { fitted, units } = await calibrationFor(onlyHeads ? "heads" : "all", options);
      const { additive, divergence } = await effectsOf(names, options);
      return predictSelection(fitted, { additive, divergence, share: unitsClosed(closed, arch, onlyHeads) / units });
    },
    async generate(prompt, selection, { maxTokens, signal }) {
      const ids = tokenizer.encode(prompt, { bos: true });
      if (ids.length === 0) throw new EspalierError("input/empty", "the prompt has no tokens");
      const closed = closedBy(arch, selection);
      const positions = Math.min(arch.maxPositions, ids.length + maxTokens);
      const say = async (weights: typeof model.weights) => {
        const step = await stepModel(context.engine, weights, { context: positions });
        const made = await generate(step, ids, { maxTokens: positions - ids.length, signal });
        return { text: tokenizer.decode(made), tokens: made.map((id) => tokenizer.decode([id])) };
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

/** Draws may take all heads of a layer; its last one is left in. */
function withoutEmptyLayers(heads: readonly number[], names: readonly string[]): string[] {
  const gone = heads.map(() => 0);
  return names.filter((name) => {
    const { kind, layer } = parseUnit(name);
    if (kind !== "head") return true;
    if ((gone[layer] ?? 0) + 1 >= (heads[layer] ?? 0)) return false;
    gone[layer] = (gone[layer] ?? 0) + 1;
    return true;
  });
}

/** How many units of the pool a selection amounts to: heads, and blocks of neurons. */
function unitsClosed(closed: readonly ClosedLayer[], arch: DecoderArchitecture, onlyHeads: boolean): number {
  return closed.reduce((n, c, l) => {
    const layer = arch.layers[l];
    const heads = c.attention ? (layer?.queryHeads ?? 0) : c.heads.size;
    const neurons = c.mlp ? (layer?.neurons ?? 0) : c.neurons.size;
    return n + heads + (onlyHeads ? 0 : neurons / NEURON_BLOCK);
  }, 0);
}
