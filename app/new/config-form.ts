/** @file From what is typed into a form to a config: values by the schema of their field, several of one field to an axis. */

export interface FieldSchema {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly enum?: readonly unknown[];
  readonly items?: FieldSchema;
}

const one = (text: string, schema: FieldSchema): unknown => {
  if (schema.type === "number" || schema.type === "integer") return Number.isNaN(Number(text)) ? text : Number(text);
  if (schema.type === "boolean") return text === "true";
  return text.replaceAll("\\n", "\n");
};

const pieces = (text: string): string[] =>
  text
    .split(",")
    .map((t) => t.trim())
    .filter((t) => t !== "");

export interface TypedConfig {
  readonly config: Record<string, unknown>;
  /** Fields of which several values were given; a sweep over all of them when there are any. */
  readonly axes: Record<string, { values: unknown[] }>;
}

/** Empty fields are left to their defaults. A number or a choice may be several, separated by commas. */
export function typedConfig(
  given: Readonly<Record<string, string>>,
  schemas: Readonly<Record<string, FieldSchema>>,
): TypedConfig {
  const config: Record<string, unknown> = {};
  const axes: Record<string, { values: unknown[] }> = {};
  for (const [name, text] of Object.entries(given)) {
    const schema = schemas[name];
    if (!schema || text.trim() === "") continue;
    const mayVary = schema.type === "number" || schema.type === "integer" || schema.enum !== undefined;
    if (schema.type === "array") config[name] = pieces(text).map((t) => one(t, schema.items ?? {}));
    else if (mayVary && pieces(text).length > 1) axes[name] = { values: pieces(text).map((t) => one(t, schema)) };
    else config[name] = one(text, schema);
  }
  return { config, axes };
}
