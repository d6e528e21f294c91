/** @file Studies: graphs of runs submitted together. */
import { asc, desc, eq } from "drizzle-orm";
import { z } from "zod";
import { experimentKinds } from "../../experiments/registry.ts";
import { starterStudy, starterStudyOptions, starterTexts } from "../../experiments/studies/starter-study.ts";
import { type Study, withRuns } from "../../experiments/studies/study.ts";
import { EspalierError } from "../../lib/errors.ts";
import type { Core } from "../core.ts";
import { runs, studies } from "../db/schema.ts";
import { newId } from "../ids.ts";
import { evaluation, evaluationsOf } from "../runs/evaluation.ts";
import { FOLLOWING, insertRun, type Run, submitTogether } from "../runs/lifecycle.ts";
import { addText } from "../texts/texts.ts";

export type StudyRow = typeof studies.$inferSelect;

export const studySubmission = z.object({
  title: z.string().trim().min(1).max(120).describe("A name, shown in lists"),
  steps: z
    .array(
      z.object({
        key: z
          .string()
          .regex(/^[\w-]{1,40}$/)
          .describe("Key by which later steps refer to it, as step:KEY"),
        kind: z.enum(experimentKinds).describe("The experiment"),
        name: z.string().trim().min(1).max(120).describe("A name, shown in lists"),
        config: z
          .record(z.string(), z.unknown())
          .describe("Its config; name models by id, or as step:KEY of an earlier step"),
      }),
    )
    .min(1)
    .max(50)
    .describe("A step refers only to earlier steps"),
  tags: z.array(z.string().trim().min(1).max(40)).max(20).default([]),
  evaluation,
});

/** All runs of a study, or none; models that no step of it measures are followed by their evaluation. */
export async function submitStudy(
  core: Core,
  study: Study,
  given: {
    readonly kind: string;
    readonly options?: Record<string, unknown>;
    readonly tags?: readonly string[];
    readonly evaluation?: z.infer<typeof evaluation>;
  },
): Promise<{ study: StudyRow; runs: Run[] }> {
  const id = newId("study");
  const tags = [...(given.tags ?? [])];
  const members = await submitTogether(core, async (within) => {
    const submitted = new Map<string, Run>();
    const runOf = (key: string): string => {
      const run = submitted.get(key);
      if (run) return run.id;
      throw new EspalierError("input/invalid", `no step before this one is called "${key}"`, {
        hint: "A step can refer only to earlier steps, as step:KEY.",
      });
    };
    for (const { key, kind, name, config } of study.steps) {
      if (submitted.has(key)) throw new EspalierError("input/invalid", `two steps are called "${key}"`);
      const made = { kind, name, config: withRuns(config, runOf), tags };
      submitted.set(key, await insertRun(within, made, { studyId: id, step: key }));
    }
    const following: Run[] = [];
    for (const run of given.evaluation === "none" ? [] : submitted.values()) {
      const next = await evaluationsOf(within, run);
      if (next.some(({ config }) => [...submitted.values()].some((by) => isMeasuredBy(by, run, config.text)))) continue;
      for (const one of next) following.push(await insertRun(within, one, { studyId: id, step: FOLLOWING }));
    }
    await within.db.insert(studies).values({ id, title: study.title, kind: given.kind, options: given.options ?? {} });
    await core.events.publish("studies", { id }, within.db);
    return [...submitted.values(), ...following];
  });
  return { study: (await getStudy(core, id)).study, runs: members };
}

/** A trade-off compares it already, or an evaluation measures it on that very text. */
const isMeasuredBy = (by: Run, maker: Run, text: unknown): boolean =>
  by.waitsFor.includes(maker.id) && (by.kind === "tradeoff" || (by.kind === "evaluate" && by.config.text === text));

/** The texts it needs, then its runs. */
export async function submitStarterStudy(core: Core, given: z.input<typeof starterStudyOptions>) {
  const options = starterStudyOptions.parse(given);
  for (const text of starterTexts(options.questions)) await addText(core, text);
  return submitStudy(core, starterStudy(options), { kind: "starter", options, tags: ["starter"] });
}

export async function getStudy(core: Core, id: string): Promise<{ study: StudyRow; runs: Run[] }> {
  const [study] = await core.db.select().from(studies).where(eq(studies.id, id));
  if (!study) throw new EspalierError("run/unknown", `there is no study ${id}`);
  const members = await core.db.select().from(runs).where(eq(runs.studyId, id)).orderBy(asc(runs.createdAt));
  return { study, runs: members };
}

export const listStudies = (core: Core): Promise<StudyRow[]> =>
  core.db.select().from(studies).orderBy(desc(studies.createdAt));
