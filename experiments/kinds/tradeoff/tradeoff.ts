/**
 * @file Trade-off: accuracy against size over several models, the front, and the winner under a budget.
 *
 * Every model is compared with the base on the same text and questions. Differences are paired by
 * sequence or by question, so that differences within noise are reported as such.
 */
import { z } from "zod";
import { parameterCount } from "../../../lib/decoder/weights.ts";
import { EspalierError } from "../../../lib/errors.ts";
import { mcnemar } from "../../../lib/stats/mcnemar.ts";
import { paretoFront } from "../../../lib/stats/pareto.ts";
import { type Interval, wilsonInterval } from "../../../lib/stats/proportion.ts";
import { type Measurement, runExperiment, type Unit } from "../../definition.ts";
import { requireSameTokens } from "../../same-tokens.ts";
import { textConfig } from "../../text.ts";
import { type EvaluateSummary, evaluate, requireSameVocabulary } from "../evaluate/evaluate.ts";
import { type MadeOf, made, madeOf, type PairedLosses, pairedLosses, shippedForms, storedSize } from "./made-of.ts";

export const measures = ["accuracy", "kl"] as const;

export const tradeoffConfig = z.object({
  base: z.string().describe("The model that all others are compared with").meta({ role: "model" }),
  models: z.array(z.string()).min(1).describe("Checkpoints to compare, separated by commas").meta({ role: "models" }),
  ...textConfig,
  tasks: z
    .string()
    .optional()
    .describe("Multiple-choice items, a JSONL file of {prompt, choices, answer}")
    .meta({ role: "tasks" }),
  measure: z
    .enum(measures)
    .default("kl")
    .describe("What accuracy means: share of questions right, or divergence from the base"),
  keep: z.number().gt(0).max(1).optional().describe("Winner: the smallest that keeps this share of the base accuracy"),
  maxKl: z
    .number()
    .positive()
    .optional()
    .describe("Winner: the smallest whose divergence from the base stays below this"),
  maxBytes: z.number().positive().optional().describe("Winner: the most accurate of at most this many bytes"),
});
export type TradeoffConfig = z.infer<typeof tradeoffConfig>;

export interface TradeoffPoint {
  readonly model: string;
  readonly label: string;
  /** Of the weights as a package keeps them: codes, scales, tables, fp16 norms. */
  readonly sizeBytes: number;
  readonly parameters: number;
  readonly bitsPerWeight: number;
  readonly kl: { mean: number; standardError: number };
  readonly agreement: { mean: number; standardError: number };
  readonly nllPerToken: number;
  readonly perplexity: number;
  readonly accuracy: {
    value: number;
    items: number;
    interval: Interval;
    keptOfBase: number;
    pAgainstBase: number;
  } | null;
  readonly made: MadeOf;
  /** By sequence of the text and by question, so that any two points can be compared pair by pair. */
  readonly paired: PairedLosses;
  /** No other point is both smaller and more accurate. */
  readonly onFront: boolean;
}

export interface TradeoffSummary {
  readonly protocol: string | null;
  readonly measure: (typeof measures)[number];
  readonly fp16Bytes: number;
  readonly points: TradeoffPoint[];
  readonly winner: string | null;
  /** Why it won, or why nothing did. */
  readonly reason: string;
}

const result = z.object({ sizeBytes: z.number(), parameters: z.number(), bitsPerWeight: z.number(), made });

interface TradeoffUnit extends Unit {
  readonly reference: string;
}

export const tradeoff: Measurement<
  "tradeoff",
  TradeoffConfig,
  TradeoffUnit,
  z.infer<typeof result>,
  TradeoffSummary
> = {
  kind: "tradeoff",
  makes: null,
  version: 2,
  title: "Accuracy against size",
  step: null,
  figure: "tradeoff",
  config: tradeoffConfig,
  result,

  async check(config, context) {
    const asks = config.measure === "accuracy" ? "--measure accuracy" : config.keep === undefined ? null : "--keep";
    if (asks !== null && config.tasks === undefined) {
      throw new EspalierError("input/invalid", `${asks} needs --tasks`, {
        hint: "Accuracy is the share of questions answered right: give a file of questions, or use --max-kl.",
      });
    }
    for (const model of config.models) await requireSameVocabulary(model, config.base, context);
  },

  async plan(config, context) {
    const base = await context.models.files(config.base);
    return Promise.all(
      [config.base, ...config.models].map(async (reference) => {
        const files = await context.models.files(reference);
        requireSameTokens(files, base);
        return {
          model: files.hash,
          subject: `size beside ${base.hash}`,
          shard: "",
          label: `size of ${reference}`,
          reference,
        };
      }),
    );
  },

  async run(unit, config, context) {
    const { checkpoint } = await context.models.files(unit.reference);
    const base = (await context.models.files(config.base)).checkpoint;
    const shipped = shippedForms(checkpoint);
    const { config: described, architecture: arch } = checkpoint;
    return {
      ...storedSize(shipped.values()),
      parameters: parameterCount(arch),
      made: madeOf({ config: described, arch }, { config: base.config, arch: base.architecture }, shipped),
    };
  },

  async summarize(config, results, context) {
    const measured: { unit: TradeoffUnit; size: z.infer<typeof result>; score: EvaluateSummary }[] = [];
    for (const { unit, result: size } of results) {
      const score = await runExperiment(
        evaluate,
        { ...config, model: unit.reference, base: config.base },
        { ...context, onProgress: (p) => context.onProgress?.({ ...p, label: `${unit.reference}: ${p.label}` }) },
      );
      context.models.release(unit.reference);
      measured.push({ unit, size, score });
    }
    const base = measured[0];
    if (!base) throw new EspalierError("internal/invariant", "internal: the base is among the models");
    const points = measured.map(({ unit, size, score }): Omit<TradeoffPoint, "onFront"> => {
      const { text, tasks } = score;
      if (!text?.kl || !text.agreement) throw new EspalierError("internal/invariant", "internal: a base was given");
      const reference = base.score.tasks;
      return {
        model: unit.reference,
        label: unit.reference.split("/").at(-1) ?? unit.reference,
        ...size,
        kl: text.kl,
        agreement: text.agreement,
        nllPerToken: text.nllPerToken,
        perplexity: text.perplexity,
        accuracy:
          tasks && reference
            ? {
                value: tasks.accuracy,
                items: tasks.items,
                interval: wilsonInterval(tasks.correct, tasks.items),
                keptOfBase: tasks.accuracy / reference.accuracy,
                pAgainstBase: mcnemar(reference.perItem, tasks.perItem).p,
              }
            : null,
        paired: pairedLosses(score),
      };
    });
    const lossOf = (p: Omit<TradeoffPoint, "onFront">): number =>
      config.measure === "accuracy" && p.accuracy ? 1 - p.accuracy.value : p.kl.mean;
    const front = new Set(
      paretoFront(points.map((p, index) => ({ sizeBytes: p.sizeBytes, loss: lossOf(p), index }))).map((p) => p.index),
    );
    const { winner, reason } = chooseWinner(config, points, lossOf);
    return {
      protocol: base.score.protocol,
      measure: config.measure,
      fp16Bytes: 2 * base.size.parameters,
      points: points.map((p, i) => ({ ...p, onFront: front.has(i) })),
      winner,
      reason,
    };
  },

  headline(s) {
    const winner = s.points.find((p) => p.model === s.winner);
    return {
      points: s.points.length,
      bytes: winner?.sizeBytes,
      KL: winner?.kl.mean,
      "KL ±": winner?.kl.standardError,
      accuracy: winner?.accuracy?.value,
    };
  },
};

function chooseWinner(
  config: TradeoffConfig,
  points: readonly Omit<TradeoffPoint, "onFront">[],
  lossOf: (p: Omit<TradeoffPoint, "onFront">) => number,
): { winner: string | null; reason: string } {
  const smallest = (list: readonly Omit<TradeoffPoint, "onFront">[]) =>
    [...list].sort((a, b) => a.sizeBytes - b.sizeBytes)[0];
  if (config.keep !== undefined) {
    const share = config.keep;
    const found = smallest(points.filter((p) => p.accuracy !== null && p.accuracy.keptOfBase >= share));
    return found
      ? { winner: found.model, reason: `the smallest that keeps at least ${share * 100} % of the base accuracy` }
      : {
          winner: null,
          reason: `no model keeps ${share * 100} % of the base accuracy; give --tasks, use more bits or distill longer`,
        };
  }
  if (config.maxKl !== undefined) {
    const most = config.maxKl;
    const found = smallest(points.filter((p) => p.kl.mean <= most));
    return found
      ? { winner: found.model, reason: `the smallest with a divergence of at most ${most}` }
      : { winner: null, reason: `every model diverges by more than ${most}` };
  }
  if (config.maxBytes !== undefined) {
    const most = config.maxBytes;
    const found = [...points.filter((p) => p.sizeBytes <= most)].sort((a, b) => lossOf(a) - lossOf(b))[0];
    return found
      ? { winner: found.model, reason: `the most accurate of at most ${most} bytes` }
      : { winner: null, reason: `every model is larger than ${most} bytes` };
  }
  return { winner: null, reason: "no budget was given: --keep, --max-kl or --max-bytes" };
}
