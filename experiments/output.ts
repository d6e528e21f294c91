/** @file The part of a maker's config that sets its output folder. */
import { z } from "zod";

export const outputConfig = (what: string) => ({
  out: z.string().describe(what).meta({ role: "output" }),
  replace: z.boolean().default(false).describe("Overwrite the folder at --out").meta({ role: "replace" }),
});

export const outputSchema = z.object(outputConfig("Folder"));
