/** @file Studies over the API. */
import { z } from "zod";
import { starterStudyOptions } from "../../experiments/studies/starter-study.ts";
import { getStudy, listStudies, studySubmission, submitStarterStudy, submitStudy } from "../studies/studies.ts";
import { procedure, router } from "./trpc.ts";

const id = z.object({ id: z.string().min(1).max(60) });

export const studiesRouter = router({
  list: procedure.query(({ ctx }) => listStudies(ctx.core)),
  get: procedure.input(id).query(({ ctx, input }) => getStudy(ctx.core, input.id)),
  /** Runs that name what earlier ones make, submitted together or not at all. */
  submit: procedure
    .input(studySubmission)
    .mutation(({ ctx, input: { tags, evaluation, ...study } }) =>
      submitStudy(ctx.core, study, { kind: "chain", tags, evaluation }),
    ),
  /** The whole job on the starter model. */
  startStarter: procedure
    .input(starterStudyOptions.prefault({}))
    .mutation(({ ctx, input }) => submitStarterStudy(ctx.core, input)),
});
