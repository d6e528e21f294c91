/** @file The kinds of runs: the one list, from which the command line, the API, the pages and the queue know them. */
import { EspalierError } from "../lib/errors.ts";
import type { AnyExperiment, Maker, Measurement, Unit } from "./definition.ts";
import { distill } from "./kinds/distill/distill.ts";
import { evaluate } from "./kinds/evaluate/evaluate.ts";
import { exportExperiment } from "./kinds/export/export.ts";
import { prune } from "./kinds/prune/prune.ts";
import { quantize } from "./kinds/quantize/quantize.ts";
import { sensitivity } from "./kinds/sensitivity/sensitivity.ts";
import { tradeoff } from "./kinds/tradeoff/tradeoff.ts";

export const experiments = [evaluate, sensitivity, prune, distill, quantize, tradeoff, exportExperiment] as const;

type Listed = (typeof experiments)[number];
export type ExperimentKind = Listed["kind"];
export const experimentKinds: readonly ExperimentKind[] = experiments.map((e) => e.kind);

type SummaryOf<E> =
  E extends Measurement<string, infer _C, infer _U extends Unit, infer _R, infer S>
    ? S
    : E extends Maker<string, infer _M, infer S>
      ? S
      : never;

/** What each kind of run sums up to. */
export type Summaries = { [E in Listed as E["kind"]]: SummaryOf<E> };

/** Throws `input/invalid` for a kind that does not exist. */
export function experimentOf(kind: string): AnyExperiment {
  const found = experiments.find((e) => e.kind === kind);
  if (found) return found as AnyExperiment;
  throw new EspalierError("input/invalid", `there is no experiment "${kind}"`, {
    hint: `One of ${experimentKinds.join(", ")}.`,
  });
}

/** The finite numbers of a summary by name; `x ±` is the standard error of `x`. */
export function headlineNumbers(experiment: AnyExperiment, summary: unknown): Record<string, number> {
  const all = Object.entries(experiment.headline(summary));
  return Object.fromEntries(all.flatMap(([k, v]) => (typeof v === "number" && Number.isFinite(v) ? [[k, v]] : [])));
}
