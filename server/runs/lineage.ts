/** @file Where a run comes from and what came of it: runs it was cloned from, runs it needs, runs that need it; and the files it left. */

import { eq, inArray, or, sql } from "drizzle-orm";
import { experimentOf } from "../../experiments/registry.ts";
import type { Core } from "../core.ts";
import { models, packages, type RunState, runFiles, runs } from "../db/schema.ts";
import { type KeptCard, packageFile } from "../packages/package-profile.ts";
import type { Run } from "./lifecycle.ts";
import { referencesIn } from "./references.ts";

export interface Relative {
  readonly id: string;
  readonly name: string;
  readonly kind: string;
  readonly state: RunState;
  /** How: cloned or retried from it; made what it needs; needs what it made. */
  readonly relation: "parent" | "child" | "made what it needs" | "needs what it made";
}

const short = { id: runs.id, name: runs.name, kind: runs.kind, state: runs.state };
/** Of each relation, at most. */
const MOST = 50;

export async function relativesOf(core: Core, run: Run): Promise<Relative[]> {
  const named = referencesIn(experimentOf(run.kind).config, run.config, ["model", "models"]);
  const made =
    named.length > 0 ? await core.db.select({ runId: models.runId }).from(models).where(inArray(models.id, named)) : [];
  const needs = [...new Set([...run.waitsFor, ...made.flatMap((m) => (m.runId === null ? [] : [m.runId]))])];
  const parents = run.parentId ? await core.db.select(short).from(runs).where(eq(runs.id, run.parentId)) : [];
  const makers =
    needs.length > 0 ? await core.db.select(short).from(runs).where(inArray(runs.id, needs)).limit(MOST) : [];
  const children = await core.db.select(short).from(runs).where(eq(runs.parentId, run.id)).limit(MOST);
  const users = await core.db
    .select(short)
    .from(runs)
    .where(
      or(
        sql`${runs.waitsFor} @> ${JSON.stringify([run.id])}::jsonb`,
        run.outputModelId === null
          ? undefined
          : sql`${run.outputModelId} in (${runs.config}->>'model', ${runs.config}->>'student', ${runs.config}->>'base')`,
      ),
    )
    .limit(MOST);
  const as = (relation: Relative["relation"], list: Omit<Relative, "relation">[]): Relative[] =>
    list.filter((r) => r.id !== run.id).map((r) => ({ ...r, relation }));
  return [
    ...as("made what it needs", makers),
    ...as("parent", parents),
    ...as("child", children),
    ...as("needs what it made", users),
  ];
}

export interface RunArtifact {
  readonly name: string;
  readonly sizeBytes: number;
  readonly sha256: string;
  /** Where it is downloaded from. */
  readonly href: string;
  readonly kind: "model" | "package" | "checkpoint";
}

export async function artifactsOf(core: Core, run: Run): Promise<RunArtifact[]> {
  const found: RunArtifact[] = [];
  if (run.outputModelId !== null) {
    const [model] = await core.db.select().from(models).where(eq(models.id, run.outputModelId));
    if (model)
      found.push({
        name: model.id,
        sizeBytes: model.sizeBytes,
        sha256: model.artifact,
        href: `/api/models/${model.id}.zip`,
        kind: "model",
      });
  }
  if (run.outputPackageId !== null) {
    const [made] = await core.db.select().from(packages).where(eq(packages.id, run.outputPackageId));
    if (made)
      found.push({
        name: packageFile(made.card as KeptCard),
        sizeBytes: made.sizeBytes,
        sha256: made.artifact,
        href: `/api/packages/${made.id}.zip`,
        kind: "package",
      });
  }
  const files = await core.db.select().from(runFiles).where(eq(runFiles.runId, run.id));
  for (const f of files)
    found.push({
      name: f.name,
      sizeBytes: f.sizeBytes,
      sha256: f.sha256,
      href: `/api/artifacts/${f.sha256}`,
      kind: "checkpoint",
    });
  return found;
}
