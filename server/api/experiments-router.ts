/** @file The kinds of runs over the API: schemas for forms, and what is wrong with a config. */
import { z } from "zod";
import { experimentKinds, experiments } from "../../experiments/registry.ts";
import { fieldRoles } from "../../experiments/roles.ts";
import { submissionIssues } from "../runs/submission.ts";
import { procedure, router } from "./trpc.ts";

/** Schemas of all experiments, for forms. */
export const experimentsRouter = router({
  list: procedure.query(() =>
    experiments.map(({ kind, title, step, figure, makes, config }) => ({
      kind,
      title,
      step,
      figure,
      makes,
      schema: z.toJSONSchema(config, { io: "input" }) as Record<string, unknown>,
      roles: Object.fromEntries(fieldRoles(config)),
    })),
  ),

  /** What is wrong with a config, field by field; nothing is submitted. */
  check: procedure
    .input(
      z.object({ kind: z.enum(experimentKinds).describe("The experiment"), config: z.record(z.string(), z.unknown()) }),
    )
    .query(({ ctx, input }) => submissionIssues(ctx.core, input.kind, input.config)),
});
