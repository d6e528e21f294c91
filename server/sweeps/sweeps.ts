/** @file Sweeps: trials as runs of their own, and the next rung when one has ended. */
import { and, asc, desc, eq } from "drizzle-orm";
import { rungsOf } from "../../experiments/sweep/rungs.ts";
import { firstTrials, nextRung, type SweepDefinition, sweepDefinition } from "../../experiments/sweep/sweep.ts";
import { EspalierError } from "../../lib/errors.ts";
import type { Core } from "../core.ts";
import { runs, sweeps } from "../db/schema.ts";
import { newId } from "../ids.ts";
import { submitMaker } from "../runs/evaluation.ts";
import { cancelRun, ended, type Run, resumeRun } from "../runs/lifecycle.ts";
import { checkSubmission } from "../runs/submission.ts";

export type SweepRow = typeof sweeps.$inferSelect;

const MOST_TRIALS = 2_000;

const definitionOf = (row: SweepRow): SweepDefinition => sweepDefinition.parse(row.definition);

export async function createSweep(core: Core, given: SweepDefinition): Promise<SweepRow> {
  const configs = firstTrials(given);
  if (configs.length > MOST_TRIALS)
    throw new EspalierError(
      "input/invalid",
      `the sweep has ${configs.length} trials, at most ${MOST_TRIALS} are allowed`,
      {
        hint: "Use fewer points, or method random with a number of trials.",
      },
    );
  if (given.method === "halving" && (!given.budget || !given.objective))
    throw new EspalierError("input/invalid", "successive halving needs a budget and an objective", {
      hint: "Give the field that grows, and the number to judge by.",
    });
  // All or none: a config that does not fit is found before the first trial is submitted.
  for (const config of configs) await checkSubmission(core, given.kind, config);
  const [row] = await core.db
    .insert(sweeps)
    .values({ id: newId("sweep"), title: given.title, kind: given.kind, definition: given })
    .returning();
  if (!row) throw new EspalierError("internal/invariant", "internal: an insert returned no row");
  await submitTrials(core, row, configs, 0);
  await core.events.publish("sweeps", { id: row.id });
  return row;
}

async function submitTrials(
  core: Core,
  sweep: SweepRow,
  configs: Record<string, unknown>[],
  from: number,
): Promise<void> {
  const { axes, budget, method, trials } = definitionOf(sweep);
  const last = method === "halving" && budget ? rungsOf({ trials, budget }).at(-1) : undefined;
  for (const [i, config] of configs.entries()) {
    const what = Object.keys(axes).map((field) => `${field} ${shortValue(config[field])}`);
    const name = `${sweep.title} ${what.join(", ")}`.slice(0, 120);
    // Of rungs only the last is worth a place on the curve.
    const evaluation = last && budget && Number(config[budget.field]) < last.budget ? "none" : "follow";
    await submitMaker(
      core,
      { kind: sweep.kind, config, name, tags: [], evaluation },
      { sweepId: sweep.id, trial: from + i },
    );
  }
}

/** Four figures of a number that was drawn: names are read. */
const shortValue = (value: unknown): string =>
  typeof value === "number" ? String(Number(value.toPrecision(4))) : String(value);

/** Looks at sweeps whose trials have all ended: submits the next rung, or calls the sweep finished. */
export async function advanceSweeps(core: Core): Promise<void> {
  for (const sweep of await core.db.select().from(sweeps).where(eq(sweeps.state, "running"))) {
    const trials = await trialsOf(core, sweep.id);
    if (trials.some((t) => !ended.includes(t.state) || t.state === "lost")) continue;
    const definition = definitionOf(sweep);
    const { budget, objective } = definition;
    const rungOf = (t: Run): number => (budget ? Number(t.config[budget.field]) : 0);
    const last = Math.max(...trials.map(rungOf));
    const rung = trials.filter((t) => rungOf(t) === last);
    const next = nextRung(
      definition,
      rung.map((t) => ({
        config: t.config,
        score: t.state === "succeeded" && objective ? (t.numbers[objective.number] ?? null) : null,
      })),
    );
    if (next.length > 0) await submitTrials(core, sweep, next, trials.length);
    else await setState(core, sweep.id, "finished");
  }
}

async function setState(core: Core, id: string, state: SweepRow["state"]): Promise<SweepRow> {
  const [row] = await core.db.update(sweeps).set({ state }).where(eq(sweeps.id, id)).returning();
  if (!row) throw new EspalierError("run/unknown", `there is no sweep ${id}`);
  await core.events.publish("sweeps", { id });
  return row;
}

const trialsOf = (core: Core, sweepId: string): Promise<Run[]> =>
  core.db.select().from(runs).where(eq(runs.sweepId, sweepId)).orderBy(asc(runs.trial));

/** No new rungs, and its queued and running trials are cancelled. */
export async function stopSweep(core: Core, id: string): Promise<SweepRow> {
  const row = await setState(core, id, "stopped");
  for (const trial of await trialsOf(core, id)) if (!ended.includes(trial.state)) await cancelRun(core, trial.id);
  return row;
}

/** Trials that were cancelled go on. */
export async function resumeSweep(core: Core, id: string): Promise<SweepRow> {
  const row = await setState(core, id, "running");
  for (const trial of await trialsOf(core, id)) if (trial.state === "cancelled") await resumeRun(core, trial.id);
  return row;
}

export async function getSweep(
  core: Core,
  id: string,
): Promise<{ sweep: SweepRow; definition: SweepDefinition; trials: Run[] }> {
  const [sweep] = await core.db
    .select()
    .from(sweeps)
    .where(and(eq(sweeps.id, id)));
  if (!sweep) throw new EspalierError("run/unknown", `there is no sweep ${id}`);
  return { sweep, definition: definitionOf(sweep), trials: await trialsOf(core, id) };
}

export const listSweeps = (core: Core): Promise<SweepRow[]> =>
  core.db.select().from(sweeps).orderBy(desc(sweeps.createdAt));
