/** @file All kinds of runs by name, and the few numbers of each that a table of runs shows. */
import { type OriginRecord, perplexityRatio } from "../lib/checkpoint/origin.ts";
import { EspalierError } from "../lib/errors.ts";
import type { Experiment, Unit } from "./definition.ts";
import { type DistillSummary, distill } from "./distill/distill.ts";
import { type EvaluateSummary, evaluate } from "./evaluate/evaluate.ts";
import { type ExportSummary, exportExperiment } from "./export/export.ts";
import { type PruneSummary, prune } from "./prune/prune.ts";
import { type QuantizeSummary, quantize } from "./quantize/quantize.ts";
import { type SensitivitySummary, sensitivity } from "./sensitivity/sensitivity.ts";
import { type TradeoffSummary, tradeoff } from "./tradeoff/tradeoff.ts";

export const experiments = { evaluate, sensitivity, prune, distill, quantize, tradeoff, export: exportExperiment };

export const experimentKinds = [
  "evaluate",
  "sensitivity",
  "prune",
  "distill",
  "quantize",
  "tradeoff",
  "export",
] as const;
export type ExperimentKind = (typeof experimentKinds)[number];

/** What each kind of run sums up to. */
export interface Summaries {
  evaluate: EvaluateSummary;
  sensitivity: SensitivitySummary;
  prune: PruneSummary;
  distill: DistillSummary;
  quantize: QuantizeSummary;
  tradeoff: TradeoffSummary;
  export: ExportSummary;
}

export type AnyExperiment = Experiment<unknown, Unit, unknown, unknown>;

/** Throws `input/invalid` for a kind there is not. */
export function experimentOf(kind: string): AnyExperiment {
  const found = experimentKinds.find((k) => k === kind);
  if (!found) {
    throw new EspalierError("input/invalid", `there is no experiment "${kind}"`, {
      hint: `One of ${experimentKinds.join(", ")}.`,
    });
  }
  return experiments[found];
}

/** The kinds that write a checkpoint, and the one that writes a package. */
export const writesModel = (kind: string): boolean => kind === "prune" || kind === "distill" || kind === "quantize";
export const writesPackage = (kind: string): boolean => kind === "export";

/** What a made model lost, under the names that an evaluation uses. */
const lossNumbers = ({ loss }: OriginRecord): Record<string, number | null | undefined> => ({
  KL: loss?.kl.mean,
  "KL ±": loss?.kl.standardError,
  "perplexity ratio": loss ? perplexityRatio(loss) : null,
  agreement: loss?.agreement.mean,
  "agreement ±": loss?.agreement.standardError,
});

const numbersOf: { [K in ExperimentKind]: (summary: Summaries[K]) => Record<string, number | null | undefined> } = {
  evaluate: (s) => ({
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
  sensitivity: (s) => ({
    units: new Set(s.units.map((u) => u.unit)).size,
    cells: s.tensors?.cells.length,
    "rank agreement": s.agreement?.spearman,
    "noise ceiling": s.agreement?.noiseCeiling,
  }),
  prune: (s) => ({
    "heads left": s.heads.after,
    "heads dropped": s.heads.before - s.heads.after,
    "neurons left": s.neurons.after,
    "layers left": s.layers.after,
    parameters: s.parameters.after,
    ...lossNumbers(s.origin),
  }),
  distill: (s) => ({
    KL: Math.min(...s.curve.map((p) => p.heldOutKl)),
    "KL ±": s.curve.find((p) => p.step === s.bestStep)?.heldOutKlError,
    "KL before": s.curve[0]?.heldOutKl,
    "best step": s.bestStep,
    tokens: s.tokens,
  }),
  quantize: (s) => ({ "bits per weight": s.bitsPerWeight, bytes: s.sizeBytes, ...lossNumbers(s.origin) }),
  tradeoff: (s) => {
    const winner = s.points.find((p) => p.model === s.winner);
    return {
      points: s.points.length,
      bytes: winner?.sizeBytes,
      KL: winner?.kl.mean,
      "KL ±": winner?.kl.standardError,
      accuracy: winner?.accuracy?.value,
    };
  },
  export: (s) => ({
    bytes: s.card.sizeBytes,
    "bits per weight": s.card.bitsPerWeight,
    "parity KL": s.card.parity.meanKl,
    ready: s.card.ready ? 1 : 0,
  }),
};

/** The finite numbers of a summary by name; `x ±` is the standard error of `x`. */
export function headlineNumbers<K extends ExperimentKind>(kind: K, summary: Summaries[K]): Record<string, number> {
  const all = Object.entries(numbersOf[kind](summary));
  return Object.fromEntries(all.flatMap(([k, v]) => (typeof v === "number" && Number.isFinite(v) ? [[k, v]] : [])));
}
