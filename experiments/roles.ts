/**
 * @file The kind of thing each field of a config refers to, so that forms offer the right choices
 * and the workbench can use ids instead of paths.
 *
 * On the command line a model is a folder or an id and an output is a folder. In the workbench the same fields hold ids; the
 * role, kept as metadata of the schema, says which fields those are.
 */
import { z } from "zod";

export const roles = ["model", "models", "text", "tasks", "output", "replace"] as const;
export type Role = (typeof roles)[number];

const described = z.object({
  properties: z.record(z.string(), z.looseObject({ role: z.enum(roles).optional() })),
});

/** The fields of an object schema that have a role. */
export function fieldRoles(schema: z.ZodType): Map<string, Role> {
  const { properties } = described.parse(z.toJSONSchema(schema, { io: "input" }));
  return new Map(Object.entries(properties).flatMap(([name, p]) => (p.role ? [[name, p.role] as const] : [])));
}

/** All fields of an object schema. */
export const fieldNames = (schema: z.ZodType): string[] =>
  Object.keys(described.parse(z.toJSONSchema(schema, { io: "input" })).properties);
