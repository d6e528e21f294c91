/** @file Studies: graphs of runs submitted together. */
import { asc, desc, eq } from "drizzle-orm";
import type { z } from "zod";
import { starterStudy, starterStudyOptions, starterTexts } from "../../experiments/studies/starter.ts";
import { type Study, withRuns } from "../../experiments/studies/study.ts";
import { EspalierError } from "../../lib/errors.ts";
import type { Core } from "../core.ts";
import { runs, studies } from "../db/schema.ts";
import { newId } from "../ids.ts";
import { type Run, submitRun } from "../runs/lifecycle.ts";
import { addText } from "../texts/texts.ts";

export type StudyRow = typeof studies.$inferSelect;

export async function submitStudy(
  core: Core,
  study: Study,
  kind: string,
  options: Record<string, unknown>,
): Promise<{ study: StudyRow; runs: Run[] }> {
  const [row] = await core.db
    .insert(studies)
    .values({ id: newId("study"), title: study.title, kind, options })
    .returning();
  if (!row) throw new EspalierError("internal/invariant", "internal: an insert returned no row");
  const submitted = new Map<string, Run>();
  const runOf = (key: string): string => {
    const run = submitted.get(key);
    if (!run) throw new EspalierError("internal/invariant", `internal: step ${key} is not submitted yet`);
    return run.id;
  };
  for (const step of study.steps) {
    const config = withRuns(step.config, runOf);
    const run = await submitRun(
      core,
      { kind: step.kind, name: step.name, config, tags: [kind] },
      { studyId: row.id, step: step.key },
    );
    submitted.set(step.key, run);
  }
  await core.events.publish("studies", { id: row.id });
  return { study: row, runs: [...submitted.values()] };
}

/** The texts it needs, then its runs. */
export async function submitStarterStudy(core: Core, given: z.input<typeof starterStudyOptions>) {
  const options = starterStudyOptions.parse(given);
  for (const text of starterTexts(options.questions)) await addText(core, text);
  return submitStudy(core, starterStudy(options), "starter", options);
}

export async function getStudy(core: Core, id: string): Promise<{ study: StudyRow; runs: Run[] }> {
  const [study] = await core.db.select().from(studies).where(eq(studies.id, id));
  if (!study) throw new EspalierError("run/unknown", `there is no study ${id}`);
  const members = await core.db.select().from(runs).where(eq(runs.studyId, id)).orderBy(asc(runs.createdAt));
  return { study, runs: members };
}

export const listStudies = (core: Core): Promise<StudyRow[]> =>
  core.db.select().from(studies).orderBy(desc(studies.createdAt));
