/**
 * @file The address of a maker's result: a SHA-256 of exactly the inputs that decide it.
 *
 * Models count by their hash and texts by the SHA-256 of their content, so a text that changed at the same path is another one,
 * and the same text elsewhere is the same. Where the result is written does not count.
 */
import { createHash } from "node:crypto";
import { z } from "zod";
import type { ModelSession } from "./model-session.ts";
import { fieldRoles } from "./roles.ts";
import { fileText } from "./text-file.ts";

/** The config with each name replaced by the content it refers to, fields in the order of the
 * config. */
export async function decidedBy(
  schema: z.ZodType,
  config: unknown,
  models: Pick<ModelSession, "files">,
): Promise<Record<string, unknown>> {
  const roles = fieldRoles(schema);
  const decided: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(z.record(z.string(), z.unknown()).parse(config))) {
    const role = roles.get(name);
    if (role === "output" || role === "replace") continue;
    if (value === undefined || role === undefined) decided[name] = value;
    else if (role === "text" || role === "tasks") decided[name] = await contentHash(String(value));
    else if (Array.isArray(value)) {
      const hashes: string[] = [];
      for (const model of value) hashes.push((await models.files(String(model))).hash);
      decided[name] = hashes;
    } else decided[name] = (await models.files(String(value))).hash;
  }
  return decided;
}

export const addressOf = (decided: unknown): string =>
  createHash("sha256").update(JSON.stringify(decided)).digest("hex");

const contentHash = async (path: string): Promise<string> =>
  createHash("sha256")
    .update(await fileText(path))
    .digest("hex");
