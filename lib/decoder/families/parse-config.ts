/** @file Parsing a family's config: one error with the key, the value and the expected type. */
import { z } from "zod";
import { EspalierError } from "../../errors.ts";

export const positive = z
  .number()
  .int()
  .positive()
  .max(2 ** 31);

export function parseConfig<T>(schema: z.ZodType<T>, raw: Record<string, unknown>): T {
  const parsed = schema.safeParse(raw);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const key = issue?.path.join(".") ?? "";
  throw new EspalierError(
    "model/config",
    `config.json: ${key} ${issue?.message ?? "is not valid"}, found ${JSON.stringify(raw[String(issue?.path[0])])}`,
  );
}
