/**
 * @file Every run that makes a model is followed by an evaluation, so that the model appears on the curve of its base without
 * further work.
 *
 * The base is what the model was first made from. It is measured as others of that base were measured last, questions included;
 * where none were, on the text to select on that is nearest: the one the run holds out, else one of the same kind of text.
 */
import { and, desc, eq, inArray, notInArray } from "drizzle-orm";
import { z } from "zod";
import { experimentOf } from "../../experiments/registry.ts";
import { EspalierError } from "../../lib/errors.ts";
import type { Core } from "../core.ts";
import { models, runs, texts } from "../db/schema.ts";
import { firstAncestor } from "../models/model-registry.ts";
import { type MeasuredOn, measuredOn, measuringKinds } from "../tradeoff/measurement-protocol.ts";
import {
  FOLLOWING,
  followsRun,
  getRun,
  insertRun,
  type Origin,
  type Run,
  type Submission,
  submitTogether,
} from "./lifecycle.ts";

export const evaluation = z
  .enum(["follow", "none"])
  .default("follow")
  .describe("Whether a run that makes a model is followed by an evaluation against its base");

/**
 * What would measure the model that a run makes, and its base where nothing of that has been measured yet; none for a run that
 * makes no model, or where there is nothing to measure on.
 */
export async function evaluationsOf(core: Core, run: Run): Promise<Submission[]> {
  if (experimentOf(run.kind).makes !== "model") return [];
  const base = await baseOf(core, run);
  if (base === null) return [];
  const known = await lastProtocol(core, base);
  const on = known ?? (await firstProtocol(core, run));
  if (!on) return [];
  const beside = (model: string, name: string): Submission => ({
    kind: "evaluate",
    name: `${name}, measured`.slice(0, 120),
    config: { ...on, base, model },
    tags: run.tags,
  });
  return [beside(`run:${run.id}`, run.name), ...(known ? [] : [beside(base, base)])];
}

/** The model that what a run makes is first made from, also while earlier runs are still to make what lies between. */
async function baseOf(core: Core, run: Run): Promise<string | null> {
  let from: unknown = run.config.student ?? run.config.model;
  for (let steps = 0; typeof from === "string" && steps < 50; steps++) {
    const maker = /^run:(run_\w+)(\/winner)?$/.exec(from);
    if (!maker) return (await firstAncestor(core, from)).id;
    const made = await getRun(core, maker[1] ?? "");
    from = made.config.student ?? (maker[2] === undefined ? made.config.model : made.config.base);
  }
  return null;
}

type Protocol = Omit<MeasuredOn, "base">;

/** Of the newest measurement beside that base on a text that points are chosen on. */
async function lastProtocol(core: Core, base: string): Promise<Protocol | null> {
  const [own] = await core.db.select({ runId: models.runId }).from(models).where(eq(models.id, base));
  const names = [base, ...(own?.runId ? [`run:${own.runId}`] : [])];
  const newest = await core.db
    .select({ config: runs.config })
    .from(runs)
    .where(
      and(
        inArray(runs.kind, measuringKinds),
        notInArray(runs.state, ["failed", "cancelled"]),
        eq(runs.archived, false),
      ),
    )
    .orderBy(desc(runs.createdAt));
  const splits = new Map(
    (await core.db.select({ id: texts.id, split: texts.split }).from(texts)).map((t) => [t.id, t.split]),
  );
  for (const { config } of newest) {
    const on = measuredOn.safeParse(config);
    if (!on.success || !names.includes(on.data.base)) continue;
    const { base: _, ...protocol } = on.data;
    const split = splits.get(protocol.text);
    if (split === null || split === "select") return protocol;
  }
  return null;
}

/** Where nothing of the base has been measured yet. */
async function firstProtocol(core: Core, run: Run): Promise<Protocol | null> {
  const { config } = run;
  const known = await core.db.select().from(texts).where(eq(texts.kind, "text")).orderBy(desc(texts.createdAt));
  const named = [config.heldOut, config.text].flatMap((id) => known.filter((t) => t.id === id));
  const text =
    named.find((t) => t.split === null || t.split === "select") ?? known.find((t) => t.split === "select") ?? named[0];
  return text ? { text: text.id } : null;
}

/** A run, followed by its evaluation where it makes a model: both or neither. */
export async function submitMaker(
  core: Core,
  given: Submission & { readonly evaluation?: z.infer<typeof evaluation> | undefined },
  origin: Origin = {},
): Promise<Run> {
  const [run] = await submitTogether(core, async (within) => {
    const made = [await insertRun(within, given, origin)];
    for (const maker of given.evaluation === "none" ? [] : [...made])
      for (const next of await evaluationsOf(within, maker))
        made.push(await insertRun(within, next, { step: FOLLOWING }));
    return made;
  });
  if (!run) throw new EspalierError("internal/invariant", "internal: a run was submitted and is not there");
  return run;
}

/** Measures the same config and seed again; followed by an evaluation when the first was. */
export async function retryRun(core: Core, id: string): Promise<Run> {
  const { kind, config, name, tags, priority } = await getRun(core, id);
  const [following] = await core.db.select({ id: runs.id }).from(runs).where(followsRun(id)).limit(1);
  const again = { kind, config, name, tags, priority, evaluation: following ? "follow" : "none" } as const;
  return submitMaker(core, again, { parentId: id, fresh: true });
}

/** A new run of this one's config with some fields changed; null takes a field out. */
export async function cloneRun(core: Core, id: string, changes: Record<string, unknown>, name?: string): Promise<Run> {
  const { kind, config, tags, priority } = await getRun(core, id);
  const changed = Object.fromEntries(Object.entries({ ...config, ...changes }).filter(([, v]) => v !== null));
  const given = { kind, config: changed, tags, priority, ...(name ? { name } : {}) };
  return submitMaker(core, given, { parentId: id });
}
