/** @file From what is typed into a form to a config: values by the schema of their field, several of one field to an axis. */
import { quoted } from "../runs/[id]/run-facts.ts";

export interface FieldSchema {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly enum?: readonly unknown[];
  readonly items?: FieldSchema;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly exclusiveMaximum?: number;
}

export type FormAxis =
  | { values: (string | number | boolean)[] }
  | { from: number; to: number; scale: "linear" | "logarithmic"; integer: boolean; points: number };

const isNumeric = (s: FieldSchema): boolean => s.type === "number" || s.type === "integer";
/** Choices of a field, or of the members of a list. */
export const choicesOf = (s: FieldSchema): string[] =>
  s.type === "boolean" ? ["false", "true"] : (s.enum ?? s.items?.enum ?? []).map(String);
/** Whether several values make a sweep; lists take several by themselves. */
export const mayVary = (s: FieldSchema): boolean => isNumeric(s) || s.type === "boolean" || s.enum !== undefined;

const one = (text: string, schema: FieldSchema): string | number | boolean => {
  if (isNumeric(schema)) return Number.isNaN(Number(text)) ? text : Number(text);
  if (schema.type === "boolean") return text === "true";
  return text.replaceAll("\\n", "\n");
};

export const pieces = (text: string): string[] =>
  text
    .split(",")
    .map((t) => t.trim())
    .filter((t) => t !== "");

const POINTS = 5;
const LOGARITHMIC_SPAN = 30;

/** `1e-4..1e-2` or `1e-4..1e-2 x7`: logarithmic where it is positive and wide. */
function range(text: string, schema: FieldSchema): FormAxis | null {
  const found = /^\s*(-?[\d.]+(?:e[+-]?\d+)?)\s*\.\.\s*(-?[\d.]+(?:e[+-]?\d+)?)(?:\s*x\s*(\d+))?\s*$/i.exec(text);
  if (!found || !isNumeric(schema)) return null;
  const [from, to] = [Number(found[1]), Number(found[2])];
  if (!Number.isFinite(from) || !Number.isFinite(to)) return null;
  const scale = from > 0 && to / from >= LOGARITHMIC_SPAN ? "logarithmic" : "linear";
  return { from, to, scale, integer: schema.type === "integer", points: found[3] ? Number(found[3]) : POINTS };
}

export interface TypedConfig {
  readonly config: Record<string, unknown>;
  /** Fields of which several values were given; a sweep over all of them when there are any. */
  readonly axes: Record<string, FormAxis>;
}

/** Empty fields are left to their defaults. A number or a choice may be several, separated by commas, or a range. */
export function typedConfig(
  given: Readonly<Record<string, string>>,
  schemas: Readonly<Record<string, FieldSchema>>,
): TypedConfig {
  const config: Record<string, unknown> = {};
  const axes: Record<string, FormAxis> = {};
  for (const [name, text] of Object.entries(given)) {
    const schema = schemas[name];
    if (!schema || text.trim() === "") continue;
    const stretch = range(text, schema);
    if (stretch) axes[name] = stretch;
    else if (schema.type === "array") config[name] = pieces(text).map((t) => one(t, schema.items ?? {}));
    else if (mayVary(schema) && pieces(text).length > 1)
      axes[name] = { values: pieces(text).map((t) => one(t, schema)) };
    else config[name] = one(text, schema);
  }
  return { config, axes };
}

/** Trials of a grid. */
export const gridSize = (axes: Readonly<Record<string, FormAxis>>): number =>
  Object.values(axes).reduce((n, a) => n * ("values" in a ? a.values.length : a.points), 1);

/** The config of a sweep's first trial, to be checked before all of them. */
export const firstConfig = ({ config, axes }: TypedConfig): Record<string, unknown> => ({
  ...config,
  ...Object.fromEntries(Object.entries(axes).map(([k, a]) => [k, "values" in a ? a.values[0] : a.from])),
});

/** What is wrong with the text of a field, in words; null when nothing is. */
export function fieldIssue(text: string, schema: FieldSchema): string | null {
  if (text.trim() === "") return null;
  if (isNumeric(schema)) {
    const stretch = range(text, schema);
    const values = stretch && "from" in stretch ? [stretch.from, stretch.to] : pieces(text).map(Number);
    for (const [i, v] of values.entries()) {
      if (Number.isNaN(v)) return `“${pieces(text)[i] ?? text}” is not a number`;
      if (schema.type === "integer" && !Number.isInteger(v)) return `${v} is not a whole number`;
      const { minimum, maximum, exclusiveMinimum, exclusiveMaximum } = schema;
      if (minimum !== undefined && minimum > -1e15 && v < minimum) return `at least ${minimum}, not ${v}`;
      if (maximum !== undefined && maximum < 1e15 && v > maximum) return `at most ${maximum}, not ${v}`;
      if (exclusiveMinimum !== undefined && v <= exclusiveMinimum) return `greater than ${exclusiveMinimum}, not ${v}`;
      if (exclusiveMaximum !== undefined && v >= exclusiveMaximum) return `less than ${exclusiveMaximum}, not ${v}`;
    }
    return null;
  }
  const choices = choicesOf(schema);
  const odd = choices.length > 0 ? pieces(text).find((t) => !choices.includes(t)) : undefined;
  return odd === undefined ? null : `“${odd}” is not one of ${choices.join(", ")}`;
}

/** A value of a config as the form's text; what is the default is left empty. */
export function fieldText(value: unknown, schema: FieldSchema): string {
  if (value === undefined || value === null) return "";
  if (JSON.stringify(value) === JSON.stringify(schema.default)) return "";
  if (Array.isArray(value)) return value.join(", ");
  return String(value).replaceAll("\n", "\\n");
}

/** What a clone changes: fields with other values, null for those taken out. Defaults are as if written. */
export function cloneChanges(
  before: Readonly<Record<string, unknown>>,
  config: Readonly<Record<string, unknown>>,
  schemas: Readonly<Record<string, FieldSchema>>,
): Record<string, unknown> {
  const changes: Record<string, unknown> = {};
  for (const [name, schema] of Object.entries(schemas)) {
    const now = config[name] ?? schema.default;
    if (JSON.stringify(now) !== JSON.stringify(before[name] ?? schema.default)) changes[name] = now ?? null;
  }
  return changes;
}

/** The command that creates the same sweep. */
export const sweepCommand = (sweep: Readonly<Record<string, unknown>>): string =>
  [
    "npm run -s espalier -- api sweeps create",
    ...Object.entries(sweep).map(([k, v]) => `--${k} ${quoted(typeof v === "string" ? v : JSON.stringify(v))}`),
  ].join(" ");
