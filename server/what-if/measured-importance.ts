/** @file What has been measured of a model's units: of ended runs all of it, of running ones what is stored so far. */
import { and, desc, eq, inArray, sql } from "drizzle-orm";
import { metrics, type SensitivityMetric } from "../../experiments/kinds/sensitivity/metrics.ts";
import { gateResult, type SensitivitySummary } from "../../experiments/kinds/sensitivity/sensitivity.ts";
import { meanAndError } from "../../lib/stats/ratio.ts";
import type { Core } from "../core.ts";
import { type RunProgress, type RunState, runs } from "../db/schema.ts";
import { unitValues } from "../runs/stored-units.ts";

export interface ImportanceUnit {
  readonly unit: string;
  readonly metric: SensitivityMetric;
  readonly value: number;
  readonly standardError: number;
  /** The change of loss a gradient predicts, with its own error. */
  readonly predicted?: number;
  readonly predictedError?: number;
}

export interface Importance {
  readonly runId: string;
  readonly name: string;
  readonly state: RunState;
  readonly text: string;
  /** Kinds of units the run measures, whether it has come to them or not. */
  readonly kinds: string[];
  readonly metrics: string[];
  /** Empty until the run has ended. */
  readonly protocol: string;
  readonly sequences: number;
  /** Tokens a sequence at most, when the run was told. */
  readonly context: number | null;
  readonly units: ImportanceUnit[];
  readonly agreement: { spearman: number; noiseCeiling: number } | null;
  /** Of every other metric with leave-one-out. */
  readonly agreements: SensitivitySummary["agreements"];
  readonly progress: RunProgress | null;
}

type PerSequence = Record<string, Record<string, number[]>>;

/** `predicted` is −mean of the gradient, so its error is that of the mean. */
function withErrors(perSequence: PerSequence): ImportanceUnit[] {
  return metrics.flatMap(({ id: metric, score: scoreOf }) =>
    Object.entries(perSequence[metric] ?? {}).map(([unit, values]) => {
      const score = scoreOf(values);
      return metric === "taylor"
        ? { unit, metric, ...score, predictedError: meanAndError(values).standardError }
        : { unit, metric, ...score };
    }),
  );
}

const strings = (value: unknown): string[] => (Array.isArray(value) ? value.filter((v) => typeof v === "string") : []);

/** Newest first. */
export async function importanceOf(core: Core, model: string): Promise<Importance[]> {
  const rows = await core.db
    .select()
    .from(runs)
    .where(
      and(
        eq(runs.kind, "sensitivity"),
        inArray(runs.state, ["succeeded", "running", "stopping", "queued", "lost"]),
        sql`${runs.config}->>'model' = ${model}`,
      ),
    )
    .orderBy(desc(sql`coalesce(${runs.endedAt}, now())`), desc(runs.createdAt))
    .limit(30);
  return Promise.all(
    rows.map(async (r): Promise<Importance> => {
      const shared = {
        runId: r.id,
        name: r.name,
        state: r.state,
        text: String(r.config.text),
        kinds: strings(r.config.units),
        metrics: strings(r.config.metric),
        context: typeof r.config.context === "number" ? r.config.context : null,
      };
      if (r.state !== "succeeded") {
        const { perSequence, sequences } = await storedSoFar(core, r.id);
        return {
          ...shared,
          protocol: "",
          sequences,
          units: withErrors(perSequence),
          agreement: null,
          agreements: [],
          progress: r.progress,
        };
      }
      // The summary is what the experiment of this kind wrote.
      const summary = r.summary as SensitivitySummary;
      return {
        ...shared,
        protocol: summary.protocol,
        sequences: summary.sequences,
        units: withErrors(summary.perSequence),
        agreement: summary.agreement,
        agreements: summary.agreements ?? [],
        progress: null,
      };
    }),
  );
}

async function storedSoFar(core: Core, runId: string): Promise<{ perSequence: PerSequence; sequences: number }> {
  const perSequence: PerSequence = {};
  let sequences = 0;
  for (const value of await unitValues(core, runId)) {
    const parsed = gateResult.safeParse(value);
    if (!parsed.success) continue;
    const { metric, perSequence: own } = parsed.data;
    perSequence[metric] ??= {};
    const merged = perSequence[metric];
    for (const [unit, values] of Object.entries(own)) merged[unit] = [...(merged[unit] ?? []), ...values];
    sequences = Math.max(sequences, ...Object.values(merged).map((v) => v.length));
  }
  return { perSequence, sequences };
}
