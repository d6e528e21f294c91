/** @file What a submission is refused for before there is a run: by its schema, by what it names, by its kind. */

import type { z } from "zod";
import { fieldsIn, withoutFlags } from "../../experiments/flags.ts";
import { experimentOf } from "../../experiments/registry.ts";
import { fieldNames, fieldRoles } from "../../experiments/roles.ts";
import { EspalierError, toEspalierError } from "../../lib/errors.ts";
import type { Core } from "../core.ts";
import { getText } from "../texts/texts.ts";
import { checkReferences, modelShape, referencesIn } from "./references.ts";

export interface Issue {
  /** Empty when the issue belongs to no single field. */
  readonly field: string;
  readonly message: string;
}

/** What does not fit its schema, field by field. */
function schemaIssues(kind: string, config: Record<string, unknown>): Issue[] {
  const { parsed } = parsedConfig(kind, config);
  return (parsed.error?.issues ?? []).map((i) => ({ field: i.path.join("."), message: i.message }));
}

/** What the workbench decides itself is stood in for. */
function parsedConfig(kind: string, config: Record<string, unknown>) {
  const experiment = experimentOf(kind);
  const decided = [...fieldRoles(experiment.config)].filter(([, r]) => r === "output" || r === "replace");
  const standIns = Object.fromEntries(decided.map(([name, role]) => [name, role === "output" ? "output" : true]));
  return { decided, parsed: experiment.config.safeParse({ ...config, ...standIns }) };
}

/** The config as it is kept: checked, defaults filled in, without what the workbench decides itself. Throws `input/invalid`. */
function checkConfig(kind: string, config: Record<string, unknown>): Record<string, unknown> {
  const [issue] = schemaIssues(kind, config);
  if (issue) {
    throw new EspalierError("input/invalid", `${kind}: ${issue.field}: ${issue.message}`, {
      hint: "Correct that field.",
    });
  }
  const { decided, parsed } = parsedConfig(kind, config);
  const kept = { ...(parsed.data as Record<string, unknown>) };
  for (const [name] of decided) delete kept[name];
  return kept;
}

/** Of the text a config names without saying where its documents end, when the kind asks for that. */
async function separatorOf(core: Core, schema: z.ZodType, config: Record<string, unknown>): Promise<string | null> {
  if (config.separator !== undefined || !fieldNames(schema).includes("separator")) return null;
  const [text] = referencesIn(schema, config, ["text"]);
  return text === undefined ? null : (await getText(core, text)).separator;
}

/**
 * The config as it is kept, with the separator of its text, once its models and texts are there and its kind does not refuse it.
 * Throws `input/invalid`, what is
 * missing, or what the kind's `check` throws.
 */
export async function checkSubmission(
  core: Core,
  kind: string,
  given: Record<string, unknown>,
): Promise<Record<string, unknown>> {
  const experiment = experimentOf(kind);
  const config = checkConfig(kind, given);
  await checkReferences(core, experiment.config, config);
  const separator = await separatorOf(core, experiment.config, config);
  if (separator !== null) config.separator = separator;
  await experiment.check?.(parsedConfig(kind, config).parsed.data, { modelShape: (name) => modelShape(core, name) });
  return config;
}

/** What is wrong with a config, for a form: everything that can be said of single fields first, then what its kind refuses. */
export async function submissionIssues(core: Core, kind: string, config: Record<string, unknown>): Promise<Issue[]> {
  const issues = schemaIssues(kind, config);
  if (issues.length > 0) return issues;
  const schema = experimentOf(kind).config;
  // References one field at a time, so that each refusal appears beside its field.
  for (const [field] of fieldRoles(schema)) {
    await checkReferences(core, schema, { [field]: config[field] }).catch((thrown: unknown) => {
      issues.push({ field, message: toEspalierError(thrown).message });
    });
  }
  if (issues.length > 0) return issues;
  try {
    await checkSubmission(core, kind, config);
    return [];
  } catch (thrown) {
    // It appears beside each field that it names.
    const { message } = toEspalierError(thrown);
    const fields = fieldsIn(message);
    return (fields.length > 0 ? fields : [""]).map((field) => ({ field, message: withoutFlags(message) }));
  }
}
