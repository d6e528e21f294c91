/**
 * @file What configs name: models by id, the model another run makes (`run:ID`), the winner a trade-off chose (`run:ID/winner`).
 */
import { eq } from "drizzle-orm";
import type { z } from "zod";
import type { ModelShape } from "../../experiments/definition.ts";
import type { TradeoffSummary } from "../../experiments/kinds/tradeoff/tradeoff.ts";
import { fieldRoles } from "../../experiments/roles.ts";
import { EspalierError } from "../../lib/errors.ts";
import type { Core } from "../core.ts";
import { models, runs, texts } from "../db/schema.ts";

const pattern = /^run:(run_\w+)(\/winner)?$/;

const strings = (value: unknown): string[] =>
  typeof value === "string" ? [value] : Array.isArray(value) ? value.filter((v) => typeof v === "string") : [];

/** Values of the fields of a config that have one of these roles. */
export function referencesIn(schema: z.ZodType, config: Record<string, unknown>, wanted: readonly string[]): string[] {
  return [...fieldRoles(schema)].flatMap(([name, role]) => (wanted.includes(role) ? strings(config[name]) : []));
}

/** The runs that must succeed before this config can be run. */
export function runsNamed(schema: z.ZodType, config: Record<string, unknown>): string[] {
  const found = referencesIn(schema, config, ["model", "models"]).flatMap((r) => pattern.exec(r)?.[1] ?? []);
  return [...new Set(found)];
}

/** The id of the model a reference stands for now. Throws `model/missing-file` or `run/state`. */
export async function resolveModelReference(core: Core, reference: string): Promise<string> {
  const match = pattern.exec(reference);
  if (!match) {
    const [found] = await core.db.select({ id: models.id }).from(models).where(eq(models.id, reference));
    if (found) return found.id;
    throw new EspalierError("model/missing-file", `there is no model "${reference}"`, {
      hint: "Import it first, or pick one from the list of models.",
    });
  }
  const [run] = await core.db
    .select()
    .from(runs)
    .where(eq(runs.id, match[1] ?? ""));
  if (!run) throw new EspalierError("run/unknown", `there is no run ${match[1]}`);
  if (match[2] !== undefined) {
    const { winner, reason } = run.summary as TradeoffSummary;
    if (winner === null) throw new EspalierError("run/state", `${run.id} found no winner: ${reason}`);
    return winner;
  }
  if (run.outputModelId === null)
    throw new EspalierError("run/state", `${run.id} has made no model; it is ${run.state}`);
  return run.outputModelId;
}

/** The shape of the model a reference stands for; null while the run that makes or chooses it has not succeeded. */
export async function modelShape(core: Core, reference: string): Promise<ModelShape | null> {
  const maker = pattern.exec(reference)?.[1];
  if (maker !== undefined) {
    const [run] = await core.db.select({ state: runs.state }).from(runs).where(eq(runs.id, maker));
    if (run?.state !== "succeeded") return null;
  }
  const id = await resolveModelReference(core, reference);
  const [model] = await core.db.select({ facts: models.facts }).from(models).where(eq(models.id, id));
  return model?.facts ?? null;
}

/** Throws unless every model, text and task list the config names is there (or will be, from another run). */
export async function checkReferences(core: Core, schema: z.ZodType, config: Record<string, unknown>): Promise<void> {
  for (const reference of referencesIn(schema, config, ["model", "models"])) {
    const match = pattern.exec(reference);
    if (!match) await resolveModelReference(core, reference);
    else if (
      !(
        await core.db
          .select({ id: runs.id })
          .from(runs)
          .where(eq(runs.id, match[1] ?? ""))
      ).length
    )
      throw new EspalierError("run/unknown", `there is no run ${match[1]}`);
  }
  for (const [kind, role] of [
    ["text", "text"],
    ["tasks", "tasks"],
  ] as const) {
    for (const id of referencesIn(schema, config, [role])) {
      const [found] = await core.db.select({ kind: texts.kind }).from(texts).where(eq(texts.id, id));
      if (found?.kind !== kind) {
        throw new EspalierError(
          "input/invalid",
          found ? `"${id}" holds ${found.kind}, ${kind} is needed` : `there is no text "${id}"`,
          { hint: "Add it first, or pick one from the list." },
        );
      }
    }
  }
}
