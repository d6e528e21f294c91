/**
 * @file Runs as a table shows them: what they are, what they made, and what was measured of what they made.
 *
 * A quantize run has no accuracy of its own. Where a trade-off or an evaluation measured the model it made, those numbers stand
 * in its row, and say which run they come from.
 */
import { createHash } from "node:crypto";
import { and, desc, eq, inArray, isNotNull, isNull, or, sql } from "drizzle-orm";
import type { TradeoffPoint } from "../../experiments/kinds/tradeoff/tradeoff.ts";
import type { Core } from "../core.ts";
import { models, type RunState, runFiles, runs } from "../db/schema.ts";
import { canonical } from "../notebooks/notebooks.ts";
import { boardId, measuredOn, measuringKinds } from "../tradeoff/measurement-protocol.ts";
import { getRun, type Run } from "./lifecycle.ts";
import { artifactsOf, relativesOf } from "./lineage.ts";

/** All but the summary, which may be large. */
const listed = {
  id: runs.id,
  kind: runs.kind,
  name: runs.name,
  config: runs.config,
  state: runs.state,
  reason: runs.reason,
  attempt: runs.attempt,
  parentId: runs.parentId,
  studyId: runs.studyId,
  step: runs.step,
  sweepId: runs.sweepId,
  trial: runs.trial,
  tags: runs.tags,
  note: runs.note,
  archived: runs.archived,
  progress: runs.progress,
  numbers: runs.numbers,
  error: runs.error,
  hostId: runs.hostId,
  outputModelId: runs.outputModelId,
  outputPackageId: runs.outputPackageId,
  computeSeconds: runs.computeSeconds,
  heartbeatAt: runs.heartbeatAt,
  createdAt: runs.createdAt,
  startedAt: runs.startedAt,
  endedAt: runs.endedAt,
};

const madeColumns = {
  modelBytes: sql<number | null>`(${models.facts}->>'weightBytes')::float8`,
  bits: sql<number | null>`(${models.facts}->>'bitsPerWeight')::float8`,
  parameters: sql<number | null>`(${models.facts}->>'parameters')::float8`,
  heads: sql<
    number | null
  >`(select sum(h::int)::int from jsonb_array_elements_text(${models.facts}->'queryHeads') as h)`,
};

export interface ListFilter {
  readonly ids?: readonly string[] | undefined;
  readonly states?: readonly RunState[] | undefined;
  readonly kinds?: readonly string[] | undefined;
  readonly studyId?: string | undefined;
  readonly sweepId?: string | undefined;
  readonly archived: boolean;
  readonly limit: number;
}

export interface Measured {
  readonly numbers: Record<string, number>;
  /** The run that measured them, and what it measured on. */
  readonly runId: string;
  readonly on: string;
  /** Names base, text and how it was cut: numbers of two of these are not compared. */
  readonly protocol: string;
}

/** Newest first. With `ids`, archived or not. */
export async function listRuns(core: Core, filter: ListFilter) {
  const rows = await core.db
    .select({ ...listed, ...madeColumns })
    .from(runs)
    .leftJoin(
      models,
      or(
        eq(models.id, sql`coalesce(${runs.outputModelId}, ${runs.config}->>'model')`),
        // A config may name a model by the run that makes it.
        and(isNull(runs.outputModelId), eq(sql`'run:' || ${models.runId}`, sql`${runs.config}->>'model'`)),
      ),
    )
    .where(
      and(
        filter.ids ? inArray(runs.id, [...filter.ids]) : eq(runs.archived, filter.archived),
        filter.states ? inArray(runs.state, [...filter.states]) : undefined,
        filter.kinds ? inArray(runs.kind, [...filter.kinds]) : undefined,
        filter.studyId ? eq(runs.studyId, filter.studyId) : undefined,
        filter.sweepId ? eq(runs.sweepId, filter.sweepId) : undefined,
      ),
    )
    .orderBy(desc(runs.createdAt), desc(runs.id))
    .limit(filter.limit);
  const measured = rows.some((r) => r.outputModelId !== null) ? await measurements(core) : new Map<string, Measured>();
  const open = rows
    .filter((r) => r.state === "lost" || r.state === "cancelled" || r.state === "failed")
    .map((r) => r.id);
  const kept =
    open.length > 0 && open.length <= 2_000
      ? new Set(
          (
            await core.db.selectDistinct({ id: runFiles.runId }).from(runFiles).where(inArray(runFiles.runId, open))
          ).map((f) => f.id),
        )
      : new Set<string>();
  return rows.map((r) => ({
    ...r,
    measured: r.outputModelId === null ? null : (measured.get(r.outputModelId) ?? null),
    protocol: measuringKinds.some((k) => k === r.kind) ? protocolOf(r.config) : null,
    hasCheckpoint: kept.has(r.id),
  }));
}

/** What the newest trade-off or evaluation says of each model. */
async function measurements(core: Core): Promise<Map<string, Measured>> {
  const found = await core.db
    .select({
      id: runs.id,
      kind: runs.kind,
      config: runs.config,
      numbers: runs.numbers,
      points: sql<TradeoffPoint[] | null>`case when ${runs.kind} = 'tradeoff' then ${runs.summary}->'points' end`,
      model: sql<string | null>`${runs.summary}->>'model'`,
    })
    .from(runs)
    .where(and(inArray(runs.kind, measuringKinds), eq(runs.state, "succeeded"), isNotNull(runs.summary)))
    .orderBy(runs.endedAt);
  const byModel = new Map<string, Map<string, Measured>>();
  const keep = (model: string, measured: Measured): void => {
    byModel.set(model, (byModel.get(model) ?? new Map<string, Measured>()).set(measured.protocol, measured));
  };
  for (const run of found) {
    const on = String(run.config.text ?? run.config.tasks ?? "unknown");
    const protocol = protocolOf(run.config);
    if (run.model !== null) keep(run.model, { numbers: run.numbers, runId: run.id, on, protocol });
    for (const p of run.points ?? []) {
      const { accuracy } = p;
      keep(p.model, {
        runId: run.id,
        on,
        protocol,
        numbers: {
          KL: p.kl.mean,
          "KL ±": p.kl.standardError,
          agreement: p.agreement.mean,
          "agreement ±": p.agreement.standardError,
          perplexity: p.perplexity,
          "nats per token": p.nllPerToken,
          ...(accuracy
            ? {
                accuracy: accuracy.value,
                "accuracy ±": Math.sqrt((accuracy.value * (1 - accuracy.value)) / accuracy.items),
              }
            : {}),
        },
      });
    }
  }
  // Of several, the one under which most models stand beside it.
  const models = new Map<string, number>();
  for (const own of byModel.values())
    for (const protocol of own.keys()) models.set(protocol, (models.get(protocol) ?? 0) + 1);
  const usual = (own: ReadonlyMap<string, Measured>): Measured | undefined =>
    [...own.values()].reduce((best, m) =>
      (models.get(m.protocol) ?? 0) >= (models.get(best.protocol) ?? 0) ? m : best,
    );
  return new Map(
    [...byModel].flatMap(([id, own]) => {
      const chosen = usual(own);
      return chosen ? [[id, chosen] as const] : [];
    }),
  );
}

/** Of a run that measures beside a base; of any other, and of one without a base, the text and how it is cut. */
function protocolOf(config: Readonly<Record<string, unknown>>): string {
  const on = measuredOn.safeParse({ ...config, base: config.base ?? "" });
  return on.success ? boardId(on.data) : "";
}

/** A run with its place in the queue, its relatives and what it left. */
export async function runInFull(core: Core, id: string) {
  const run = await getRun(core, id);
  const ahead = await core.db.$count(
    runs,
    and(eq(runs.state, "queued"), sql`${runs.createdAt} < ${run.createdAt.toISOString()}::timestamptz`),
  );
  const parent = run.parentId ? await getRun(core, run.parentId).catch(() => null) : null;
  return {
    ...run,
    queuePosition: run.state === "queued" ? ahead + 1 : null,
    relatives: await relativesOf(core, run),
    artifacts: await artifactsOf(core, run),
    configHash: createHash("sha256").update(canonical(run.config)).digest("hex"),
    parentConfig: parent?.config ?? null,
  };
}

/** Whole runs, in no order. */
export const runsById = (core: Core, ids: readonly string[]): Promise<Run[]> =>
  core.db
    .select()
    .from(runs)
    .where(inArray(runs.id, [...ids]));
