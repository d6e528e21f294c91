/**
 * @file Command-line flags from a zod schema, so that a config is described once.
 *
 * `maxTokens` becomes `--max-tokens <integer>`, a boolean `--name`, a list `--name a,b`; description, choices and default
 * come from the schema. An object is JSON, or a file of it. Parsing gives the config back, or one error naming the flag.
 */
import { readFileSync } from "node:fs";
import { type Command, Option } from "commander";
import { z } from "zod";
import { EspalierError } from "../lib/errors.ts";

interface PropertySchema {
  type?: string;
  description?: string;
  default?: unknown;
  enum?: unknown[];
  items?: { enum?: unknown[]; type?: string };
  /** Whether \n and \t in the flag stand for a line end and a tab. Elsewhere, as in paths and prompts, a text is taken as it is. */
  escapes?: boolean;
}

const jsonSchema = z.object({
  properties: z.record(
    z.string(),
    z.object({
      type: z.string().optional(),
      description: z.string().optional(),
      default: z.unknown().optional(),
      enum: z.array(z.unknown()).optional(),
      items: z.object({ enum: z.array(z.unknown()).optional(), type: z.string().optional() }).optional(),
      escapes: z.boolean().optional(),
    }),
  ),
  required: z.array(z.string()).optional(),
});

export const kebab = (name: string): string => name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`);

/** Adds a flag for every property of `schema` but those in `positional`. */
export function addFlags(command: Command, schema: z.ZodType, positional: readonly string[] = []): void {
  const { properties, required } = jsonSchema.parse(z.toJSONSchema(schema, { io: "input" }));
  for (const [name, property] of Object.entries(properties)) {
    if (positional.includes(name)) continue;
    command.addOption(flag(name, property as PropertySchema, required?.includes(name) ?? false));
  }
}

function flag(name: string, p: PropertySchema, required: boolean): Option {
  const values = p.enum ?? p.items?.enum;
  const word =
    p.type === "integer" ? "integer" : p.type === "number" ? "number" : p.type === "array" ? "list" : "value";
  const spec = p.type === "boolean" ? `--${kebab(name)}` : `--${kebab(name)} <${word}>`;
  const notes = [
    p.description ?? "",
    values ? `(${values.join(", ")})` : "",
    p.default !== undefined && p.default !== false ? `[default: ${[p.default].flat().join(",")}]` : "",
    required ? "[required]" : "",
  ];
  return new Option(spec, notes.filter((n) => n !== "").join(" "));
}

/** The config that flags and positionals say. Throws `input/invalid` naming the flag, what is wrong and the value. */
export function parseFlags<T>(schema: z.ZodType<T>, given: Record<string, unknown>): T {
  const { properties } = jsonSchema.parse(z.toJSONSchema(schema, { io: "input" }));
  const raw: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(given)) {
    const p = properties[name];
    if (p && value !== undefined) raw[name] = typeof value === "string" ? fromText(value, p as PropertySchema) : value;
  }
  const parsed = schema.safeParse(raw);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const name = String(issue?.path[0] ?? "");
  throw new EspalierError(
    "input/invalid",
    `--${kebab(name)}: ${issue?.message ?? "not valid"}${name in raw ? `, found ${JSON.stringify(raw[name])}` : ""}`,
    {
      hint: "See --help for what each flag takes.",
    },
  );
}

function fromText(text: string, p: PropertySchema): unknown {
  if (p.type === "integer" || p.type === "number")
    return text.trim() === "" || Number.isNaN(Number(text)) ? text : Number(text);
  if (p.type === "object" && !text.trim().startsWith("{")) return fromJson(fromFile(text));
  if (p.type === "object" || (p.type === "array" && text.trim().startsWith("["))) return fromJson(text);
  if (p.type === "boolean") return text === "true" ? true : text === "false" ? false : text;
  if (p.type === "array") {
    const items = text
      .split(",")
      .map((t) => t.trim())
      .filter((t) => t !== "");
    return p.items?.type === "number" || p.items?.type === "integer" ? items.map(Number) : items;
  }
  // `ios18` is as good as `iOS18`.
  const choice = p.enum?.find((e) => typeof e === "string" && e.toLowerCase() === text.toLowerCase());
  return choice ?? (p.escapes ? unescaped(text) : text);
}

const escapes: Readonly<Record<string, string>> = { "\\n": "\n", "\\r": "\r", "\\t": "\t", "\\\\": "\\" };

const unescaped = (text: string): string => text.replaceAll(/\\[nrt\\]/g, (found) => escapes[found] ?? found);

function fromFile(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new EspalierError("model/missing-file", `${path.slice(0, 200)} is neither JSON nor a file that can be read`, {
      hint: "Give the path of a JSON file, or the JSON itself in quotes.",
      cause,
    });
  }
}

function fromJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new EspalierError("input/invalid", `${text.slice(0, 80)} is not JSON`, { cause });
  }
}
