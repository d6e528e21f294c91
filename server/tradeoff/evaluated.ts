/**
 * @file Everything that has been evaluated beside a base: points of trade-off runs and single evaluations, gathered by base, text
 * and protocol, one point a model, the newest measurement of it.
 *
 * Differences between points are told pair by pair where the losses by sequence were kept; older runs have none, and say so.
 */
import { and, desc, eq, inArray, isNotNull } from "drizzle-orm";
import type { EvaluateSummary } from "../../experiments/kinds/evaluate/evaluate.ts";
import {
  type MadeOf,
  madeOf,
  type PairedLosses,
  pairedLosses,
  shippedForms,
  storedSize,
} from "../../experiments/kinds/tradeoff/made-of.ts";
import type { TradeoffPoint, TradeoffSummary } from "../../experiments/kinds/tradeoff/tradeoff.ts";
import { openCheckpoint } from "../../lib/checkpoint/checkpoint.ts";
import type { MeasuredFigures } from "../../lib/report/measured-figures.ts";
import { wilsonInterval } from "../../lib/stats/proportion.ts";

import type { Core } from "../core.ts";
import { models, runs, texts } from "../db/schema.ts";
import { type Model, modelFolder } from "../models/model-registry.ts";
import {
  chipOf,
  type DecodeSpeed,
  knownFigures,
  type ModelFigures,
  type OriginalSize,
  originalSize,
  speedOn,
} from "../packages/model-figures.ts";
import { boardId, type MeasuredOn, measuredOn, measuringKinds } from "./measurement-protocol.ts";

export interface MadeBy {
  readonly runId: string;
  readonly kind: string;
  readonly name: string;
  readonly seconds: number;
  readonly config: Record<string, unknown>;
}

interface Estimate {
  readonly mean: number;
  readonly standardError: number;
}

export interface EvaluatedPoint {
  /** Id of the model. */
  readonly model: string;
  readonly hash: string;
  readonly isBase: boolean;
  readonly sizeBytes: number;
  readonly parameters: number;
  readonly bitsPerWeight: number;
  readonly kl: Estimate;
  readonly agreement: Estimate;
  readonly nllPerToken: number;
  readonly perplexity: number;
  readonly accuracy: { value: number; items: number; low: number; high: number } | null;
  /** Null for what was measured before it was kept. */
  readonly made: MadeOf | null;
  readonly paired: PairedLosses | null;
  /** Of decoding. Null where no phone reported and it cannot be modelled. */
  readonly speed: DecodeSpeed | null;
  /** Its bytes as it would ship; null for what has no package of the usual target. */
  readonly package: Pick<ModelFigures, "packageBytes" | "packageIs" | "packageId" | "contexts" | "target"> | null;
  /** What devices measured of its packages. */
  readonly reported: readonly MeasuredFigures[];
  /** The runs from the base to this model, oldest first. */
  readonly madeBy: readonly MadeBy[];
  readonly measuredBy: { readonly runId: string; readonly kind: string; readonly seconds: number };
  /** Made from the base by one uniform quantization: what others are compared with. */
  readonly reference: "uniform palettes" | "uniform integers" | null;
}

export interface EvaluatedBoard {
  /** Names base, text and protocol; the same as long as these are. */
  readonly id: string;
  readonly base: string;
  readonly text: string;
  readonly split: string | null;
  readonly tasks: string | null;
  readonly protocol: string | null;
  /** What "times smaller" is counted from. */
  readonly original: OriginalSize;
  readonly points: readonly EvaluatedPoint[];
  /** The newest trade-off run of it, which can be run again to measure more. */
  readonly tradeoffRun: string | null;
  /** The model that run chose, by the rule it was given. */
  readonly winner: { readonly model: string; readonly reason: string } | null;
}

type Run = typeof runs.$inferSelect;
type Measured = Omit<EvaluatedPoint, "isBase" | "hash" | "madeBy" | "speed" | "package" | "reported" | "reference"> & {
  readonly tasks: string | null;
};

const madeOn: ReadonlySet<string> = new Set(["train", "calibrate"]);

/** All boards, the one with the newest measurement first. */
export async function evaluatedBoards(core: Core): Promise<EvaluatedBoard[]> {
  const measured = await core.db
    .select()
    .from(runs)
    .where(and(inArray(runs.kind, measuringKinds), eq(runs.state, "succeeded"), eq(runs.archived, false)))
    .orderBy(desc(runs.endedAt));
  const known = new Map((await core.db.select().from(models)).map((m) => [m.id, m]));
  const makers = new Map(
    (await core.db.select().from(runs).where(isNotNull(runs.outputModelId))).map((r) => [r.id, r]),
  );
  const splits = new Map(
    (await core.db.select({ id: texts.id, split: texts.split }).from(texts)).map((t) => [t.id, t.split]),
  );
  // Configs name a model by its id, or by the run that makes it.
  const madeIn = new Map<string, string>(
    [...known.values()].flatMap((m) => (m.runId ? [[`run:${m.runId}`, m.id] as const] : [])),
  );
  const idOf = (reference: unknown): string => madeIn.get(String(reference)) ?? String(reference);
  const figures = new Map<string, ModelFigures | null>();
  const figuresOf = async (id: string): Promise<ModelFigures | null> => {
    const found = figures.get(id) ?? (await knownFigures(core, id).catch(() => null));
    figures.set(id, found);
    return found;
  };
  const gathered = new Map<string, { on: MeasuredOn; runs: Run[] }>();
  for (const run of measured) {
    const on = measuredOn.safeParse({ ...run.config, base: idOf(run.config.base) });
    if (!on.success || !known.has(on.data.base)) continue;
    // What was chosen or trained on a text is not compared on it.
    if (madeOn.has(splits.get(on.data.text) ?? "")) continue;
    const id = boardId(on.data);
    const board = gathered.get(id) ?? { on: on.data, runs: [] };
    board.runs.push(run);
    gathered.set(id, board);
  }
  const boards: EvaluatedBoard[] = [];
  for (const [id, { on, runs: own }] of gathered) {
    const base = known.get(on.base);
    if (!base) continue;
    const found = new Map<string, Measured>();
    for (const run of own)
      for (const point of await pointsOf(core, run, base, known.get(idOf(run.config.model)))) {
        const before = found.get(point.model);
        found.set(point.model, before ? completed(before, point) : point);
      }
    const counts = new Map<string, number>();
    for (const p of found.values()) if (p.tasks) counts.set(p.tasks, (counts.get(p.tasks) ?? 0) + 1);
    const tasks = [...counts].sort((a, b) => b[1] - a[1])[0]?.[0] ?? null;
    for (const id of found.keys()) if (known.has(id)) await figuresOf(id);
    const chip = chipOf([...found.keys()].map((id) => figures.get(id)?.reported ?? []));
    const points: EvaluatedPoint[] = [];
    for (const p of found.values()) {
      const model = known.get(p.model);
      if (!model) continue;
      const { tasks: answered, ...rest } = p;
      const own = await figuresOf(model.id);
      const madeBy = stepsFrom(base.id, model, known, makers);
      points.push({
        ...rest,
        ...(own ? { sizeBytes: own.weightBytes, bitsPerWeight: own.bitsPerWeight, parameters: own.parameters } : {}),
        accuracy: answered === tasks ? p.accuracy : null,
        isBase: p.model === base.id,
        hash: model.hash,
        madeBy,
        speed: own && speedOn(own, chip),
        package: own && {
          packageBytes: own.packageBytes,
          packageIs: own.packageIs,
          packageId: own.packageId,
          contexts: own.contexts,
          target: own.target,
        },
        reported: own?.reported ?? [],
        reference: model.parentId === base.id ? referenceOf(madeBy) : null,
      });
    }
    const summary = own.find((r) => r.kind === "tradeoff")?.summary as TradeoffSummary | undefined;
    const single = own.find((r) => r.kind === "evaluate")?.summary as EvaluateSummary | undefined;
    boards.push({
      id,
      base: base.id,
      text: on.text,
      split: splits.get(on.text) ?? null,
      tasks,
      protocol: summary?.protocol ?? single?.protocol ?? null,
      original: await originalSize(core, base.id),
      points: points.sort((a, b) => a.sizeBytes - b.sizeBytes),
      tradeoffRun: own.find((r) => r.kind === "tradeoff")?.id ?? null,
      winner: summary?.winner ? { model: idOf(summary.winner), reason: summary.reason } : null,
    });
  }
  return boards;
}

/** The newer measurement, with what only an older one has. */
const completed = (newer: Measured, older: Measured): Measured => ({
  ...newer,
  made: newer.made ?? older.made,
  paired: newer.paired ?? older.paired,
  ...(newer.accuracy ? {} : { accuracy: older.accuracy, tasks: older.tasks }),
});

async function pointsOf(core: Core, run: Run, base: Model, model: Model | undefined): Promise<Measured[]> {
  const tasks = typeof run.config.tasks === "string" ? run.config.tasks : null;
  if (run.kind === "tradeoff") {
    const { points } = run.summary as TradeoffSummary;
    const seconds = run.computeSeconds / Math.max(1, points.length);
    return points.map(
      (p: Omit<TradeoffPoint, "made" | "paired"> & Partial<Pick<TradeoffPoint, "made" | "paired">>) => ({
        model: p.model,
        sizeBytes: p.sizeBytes,
        parameters: p.parameters,
        bitsPerWeight: p.bitsPerWeight,
        kl: p.kl,
        agreement: p.agreement,
        nllPerToken: p.nllPerToken,
        perplexity: p.perplexity,
        accuracy: p.accuracy ? { value: p.accuracy.value, items: p.accuracy.items, ...p.accuracy.interval } : null,
        made: p.made ?? null,
        paired: p.paired ?? null,
        measuredBy: { runId: run.id, kind: run.kind, seconds },
        tasks,
      }),
    );
  }
  const score = run.summary as EvaluateSummary;
  if (!model || !score.text?.kl || !score.text.agreement) return [];
  return [
    {
      model: model.id,
      ...(await storedFacts(core, model, base)),
      kl: score.text.kl,
      agreement: score.text.agreement,
      nllPerToken: score.text.nllPerToken,
      perplexity: score.text.perplexity,
      accuracy: score.tasks
        ? {
            value: score.tasks.accuracy,
            items: score.tasks.items,
            ...wilsonInterval(score.tasks.correct, score.tasks.items),
          }
        : null,
      paired: pairedLosses(score),
      measuredBy: { runId: run.id, kind: run.kind, seconds: run.computeSeconds },
      tasks,
    },
  ];
}

type Facts = Pick<EvaluatedPoint, "sizeBytes" | "parameters" | "bitsPerWeight"> & { readonly made: MadeOf };

/** By hash of model and base: a checkpoint never changes. */
const factsKept = new Map<string, Promise<Facts>>();

function storedFacts(core: Core, model: Model, base: Model): Promise<Facts> {
  const key = `${model.hash} ${base.hash}`;
  const found = factsKept.get(key) ?? readFacts(core, model, base);
  factsKept.set(key, found);
  found.catch(() => factsKept.delete(key));
  return found;
}

async function readFacts(core: Core, model: Model, base: Model): Promise<Facts> {
  const checkpoint = await openCheckpoint(await modelFolder(core, model.id));
  const origin = await openCheckpoint(await modelFolder(core, base.id));
  try {
    const arch = checkpoint.architecture;
    const shipped = shippedForms(checkpoint);
    return {
      ...storedSize(shipped.values()),
      parameters: model.facts.parameters,
      made: madeOf({ config: checkpoint.config, arch }, { config: origin.config, arch: origin.architecture }, shipped),
    };
  } finally {
    await checkpoint.close();
    await origin.close();
  }
}

function stepsFrom(
  base: string,
  model: Model,
  known: ReadonlyMap<string, Model>,
  makers: ReadonlyMap<string, Run>,
): MadeBy[] {
  const steps: MadeBy[] = [];
  for (let at: Model | undefined = model; at && at.id !== base && steps.length < 50; ) {
    const run = makers.get(at.runId ?? "");
    if (run)
      steps.unshift({ runId: run.id, kind: run.kind, name: run.name, seconds: run.computeSeconds, config: run.config });
    at = known.get(at.parentId ?? "");
  }
  return steps;
}

function referenceOf(madeBy: readonly MadeBy[]): EvaluatedPoint["reference"] {
  const [only] = madeBy;
  if (madeBy.length !== 1 || only?.kind !== "quantize") return null;
  const { recipe, maxBytes, maxBits, embeddingBits, embedding, attention, mlp, method, scheme, bits } = only.config;
  // Without a width or a budget it is a mixture.
  const isUniform =
    (scheme !== undefined || bits !== undefined) &&
    [recipe, maxBytes, maxBits, embeddingBits, embedding, attention, mlp].every((v) => v === undefined);
  if (!isUniform || (method !== undefined && method !== "nearest")) return null;
  return scheme === "affine" ? "uniform integers" : "uniform palettes";
}
