/**
 * @file Evaluate: perplexity, bits per byte, divergence from a base, multiple choice.
 */

import { z } from "zod";
import { itemAt } from "../../../lib/elements.ts";
import { EspalierError } from "../../../lib/errors.ts";
import { BesideBase } from "../../../lib/eval/beside-base.ts";
import {
  choiceSequences,
  type MultipleChoiceItem,
  multipleChoiceItem,
  scoreChoices,
} from "../../../lib/eval/choice-scoring.ts";
import { type SequenceLoss, sequenceLosses } from "../../../lib/eval/perplexity.ts";
import { predictedTokens, type TokenSequence } from "../../../lib/eval/sequences.ts";
import { sharedLosses } from "../../../lib/eval/shared-losses.ts";
import { type LossSummary, summarizeLosses } from "../../../lib/eval/summary.ts";
import type { BosRule } from "../../../lib/eval/text-codec.ts";
import type { CheckContext, ExperimentContext, Measurement, Unit } from "../../definition.ts";
import type { ModelFiles } from "../../model-session.ts";
import { requireSameTokens } from "../../same-tokens.ts";
import { shards, textConfig, textSequences } from "../../text.ts";
import { fileText } from "../../text-file.ts";
import { shardName } from "../../unit-name.ts";

export const evaluateConfig = z.object({
  model: z.string().describe("A checkpoint folder, a .gguf file or the id of a known model").meta({ role: "model" }),
  ...textConfig,
  text: textConfig.text.optional(),
  base: z
    .string()
    .optional()
    .describe("Also measure KL divergence and agreement with this model")
    .meta({ role: "model" }),
  tasks: z
    .string()
    .optional()
    .describe("Multiple-choice items, a JSONL file of {prompt, choices, answer}")
    .meta({ role: "tasks" }),
});
export type EvaluateConfig = z.infer<typeof evaluateConfig>;

const sequenceLoss = z.object({
  id: z.string(),
  tokens: z.number(),
  sizeBytes: z.number(),
  nll: z.number(),
  correct: z.number().nullable(),
  // Results from before it was measured lack it.
  baseNll: z.number().nullable().default(null),
  kl: z.number().nullable(),
  agreed: z.number().nullable(),
});
const result = z.object({ losses: z.array(sequenceLoss), seconds: z.number() });

interface EvaluateUnit extends Unit {
  readonly part: "text" | "tasks";
  readonly sequences: TokenSequence[];
}

/** Losses of a text or of the choices of questions, beside the base of that hash or beside none. */
export const lossSubject = (part: "text" | "tasks", baseHash: string | null): string =>
  baseHash === null ? part : `${part} beside ${baseHash}`;

export interface TaskSummary {
  readonly items: number;
  readonly correct: number;
  readonly accuracy: number;
  /** Of the accuracy: √(a (1 − a) / n). */
  readonly standardError: number;
  /** Right or wrong by item, for paired comparisons. */
  readonly perItem: boolean[];
}

export interface EvaluateSummary {
  readonly model: string;
  readonly hash: string;
  readonly protocol: string | null;
  readonly text: LossSummary | null;
  readonly perSequence: SequenceLoss[];
  readonly tasks: TaskSummary | null;
  readonly tokensPerSecond: number;
}

export const evaluate: Measurement<
  "evaluate",
  EvaluateConfig,
  EvaluateUnit,
  z.infer<typeof result>,
  EvaluateSummary
> = {
  kind: "evaluate",
  makes: null,
  version: 2,
  title: "Perplexity, divergence and questions",
  step: null,
  figure: null,
  config: evaluateConfig,
  result,

  async check(config, context) {
    if (config.text === undefined && config.tasks === undefined) {
      throw new EspalierError("input/invalid", "nothing to evaluate on", { hint: "Give --text, --tasks or both." });
    }
    if (config.base !== undefined) await requireSameVocabulary(config.model, config.base, context);
  },

  async plan(config, context) {
    const model = await context.models.files(config.model);
    const base = config.base === undefined ? null : await context.models.files(config.base);
    if (base) requireSameTokens(model, base);
    const unitsFor = (part: "text" | "tasks", sequences: TokenSequence[], size: number): EvaluateUnit[] =>
      shards(sequences, size).map((shard) => ({
        model: model.hash,
        subject: lossSubject(part, part === "text" && base ? base.hash : null),
        shard: shardName(shard.sequences),
        label: `${part}, sequences ${shard.from + 1}–${shard.from + shard.sequences.length}`,
        part,
        sequences: shard.sequences,
      }));
    const texts =
      config.text === undefined ? [] : (await textSequences({ ...config, text: config.text }, model)).sequences;
    const tasks = await tasksOf(config, model);
    return [...unitsFor("text", texts, 64), ...unitsFor("tasks", tasks.sequences, 512)];
  },

  async run(unit, config, context, onShare) {
    const options = { signal: context.signal, onProgress: (done: number, total: number) => onShare(done / total) };
    if (unit.part === "text" && config.base !== undefined && config.base !== config.model)
      return besideBase(unit.sequences, { base: config.base, model: config.model }, context, onShare);
    const model = await context.models.openToRun(config.model);
    const base = unit.part === "text" && config.base !== undefined ? model.runner : undefined;
    const started = context.clock.nowMs();
    const losses =
      unit.part === "text"
        ? await sequenceLosses(model.runner, unit.sequences, { base, ...options })
        : (await sharedLosses(model.runner, unit.sequences, options)).map((loss, i): SequenceLoss => {
            const { id, sizeBytes } = itemAt(unit.sequences, i);
            return { id, sizeBytes, ...loss, correct: null, baseNll: null, kl: null, agreed: null };
          });
    return { losses, seconds: (context.clock.nowMs() - started) / 1000 };
  },

  async summarize(config, results, context) {
    const model = await context.models.files(config.model);
    const of = (part: "text" | "tasks") => results.filter((r) => r.unit.part === part).flatMap((r) => r.result.losses);
    const texts = of("text");
    const { items } = await tasksOf(config, model);
    const seconds = results.reduce((t, r) => t + r.result.seconds, 0);
    const tokens = results.reduce((t, r) => t + r.unit.sequences.reduce((n, s) => n + predictedTokens(s), 0), 0);
    const protocol =
      config.text === undefined ? null : (await textSequences({ ...config, text: config.text }, model)).protocol;
    return {
      model: config.model,
      hash: model.hash,
      protocol,
      text: texts.length > 0 ? summarizeLosses(texts) : null,
      perSequence: texts,
      tasks: items.length > 0 ? summarizeTasks(items, of("tasks")) : null,
      tokensPerSecond: tokens / seconds,
    };
  },

  headline: (s) => ({
    perplexity: s.text?.perplexity,
    "nats per token": s.text?.nllPerToken,
    "bits per byte": s.text?.bitsPerByte,
    KL: s.text?.kl?.mean,
    "KL ±": s.text?.kl?.standardError,
    agreement: s.text?.agreement?.mean,
    "agreement ±": s.text?.agreement?.standardError,
    accuracy: s.tasks?.accuracy,
    "accuracy ±": s.tasks?.standardError,
    "tokens per second": s.tokensPerSecond,
  }),
};

/** Throws `input/invalid` for two models that divergence is not defined for, as far as both are made. */
export async function requireSameVocabulary(model: string, base: string, { modelShape }: CheckContext): Promise<void> {
  const [own, others] = [await modelShape(model), await modelShape(base)];
  if (!own || !others || own.vocab === others.vocab) return;
  throw new EspalierError("input/invalid", `${model} has ${own.vocab} tokens, the --base ${base} has ${others.vocab}`, {
    hint: "Divergence needs two models with the same vocabulary.",
  });
}

/** The base first, then the model: never both in memory. */
async function besideBase(
  sequences: readonly TokenSequence[],
  names: { readonly base: string; readonly model: string },
  context: ExperimentContext,
  onShare: (share: number) => void,
): Promise<z.infer<typeof result>> {
  const { models, clock, signal } = context;
  models.release(names.model);
  const { base, ms } = await baseStreams(sequences, names.base, context, (share) => onShare(share / 2));
  models.release(names.base);
  const model = await models.openToRun(names.model);
  const started = clock.nowMs();
  const losses = await base.compare(model.runner, { signal, onShare: (share) => onShare((1 + share) / 2) });
  return { losses, seconds: (ms + clock.nowMs() - started) / 1000 };
}

/** In a function of its own, so that nothing here holds the base when it is over. */
async function baseStreams(
  sequences: readonly TokenSequence[],
  name: string,
  { models, clock, signal }: ExperimentContext,
  onShare: (share: number) => void,
): Promise<{ base: BesideBase; ms: number }> {
  const { runner } = await models.openToRun(name);
  const started = clock.nowMs();
  return { base: await BesideBase.streams(runner, sequences, { signal, onShare }), ms: clock.nowMs() - started };
}

/** The items of a JSONL file and a sequence for each of their choices. Throws `format/malformed`, `input/empty`. */
export async function taskSequences(
  config: { tasks: string; limit?: number | undefined; bos?: BosRule | undefined },
  model: ModelFiles,
): Promise<{ items: MultipleChoiceItem[]; sequences: TokenSequence[] }> {
  const lines = (await fileText(config.tasks)).split("\n").filter((l) => l.trim() !== "");
  const items = lines.slice(0, config.limit).map((line, i) => parseItem(line, config.tasks, i + 1));
  if (items.length === 0) throw new EspalierError("input/empty", `${config.tasks} contains no questions`);
  return {
    items,
    sequences: items.flatMap((item, i) =>
      choiceSequences(item, i, model.tokenizer, model.checkpoint.architecture.maxPositions, config.bos),
    ),
  };
}

async function tasksOf(config: EvaluateConfig, model: ModelFiles) {
  return config.tasks === undefined
    ? { items: [], sequences: [] }
    : taskSequences({ tasks: config.tasks, bos: config.bos }, model);
}

const LIST_OF_QUESTIONS = "A question stands on a line of its own (JSONL); jq -c '.[]' writes a list so.";

function parseItem(line: string, path: string, lineNumber: number): MultipleChoiceItem {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw new EspalierError("format/malformed", `${path} line ${lineNumber} is not JSON`, {
      hint: line.trim().startsWith("[")
        ? LIST_OF_QUESTIONS
        : 'Each line is {"prompt": "…", "choices": ["…", "…"], "answer": 0}.',
      cause,
    });
  }
  if (Array.isArray(value)) {
    throw new EspalierError("format/malformed", `${path} line ${lineNumber} is a list`, { hint: LIST_OF_QUESTIONS });
  }
  const parsed = multipleChoiceItem.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new EspalierError(
    "format/malformed",
    `${path} line ${lineNumber}: ${parsed.error.issues[0]?.path.join(".")} ${parsed.error.issues[0]?.message}`,
    {
      hint: 'Each line is {"prompt": "…", "choices": ["…", "…"], "answer": 0}.',
    },
  );
}

function summarizeTasks(items: readonly MultipleChoiceItem[], losses: readonly SequenceLoss[]): TaskSummary {
  const perItem = scoreChoices(items, losses);
  const correct = perItem.filter(Boolean).length;
  const accuracy = correct / items.length;
  return {
    items: items.length,
    correct,
    accuracy,
    standardError: Math.sqrt((accuracy * (1 - accuracy)) / items.length),
    perItem,
  };
}
