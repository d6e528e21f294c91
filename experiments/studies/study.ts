/**
 * @file A study: a graph of runs, where a config may name what an earlier step makes.
 *
 * `step:KEY` stands for the model that step writes, `step:KEY/winner` for the model a trade-off chooses.
 */
import type { ExperimentKind } from "../registry.ts";

export interface StudyStep {
  readonly key: string;
  readonly kind: ExperimentKind;
  readonly name: string;
  readonly config: Readonly<Record<string, unknown>>;
}

export interface Study {
  readonly title: string;
  /** In an order in which each names only earlier ones. */
  readonly steps: readonly StudyStep[];
}

/** A config with its references to steps replaced by references to runs. */
export function withRuns(
  config: Readonly<Record<string, unknown>>,
  runOf: (key: string) => string,
): Record<string, unknown> {
  const replace = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(replace);
    const match = typeof value === "string" ? /^step:([\w-]+)(\/winner)?$/.exec(value) : null;
    return match ? `run:${runOf(match[1] ?? "")}${match[2] ?? ""}` : value;
  };
  return Object.fromEntries(Object.entries(config).map(([k, v]) => [k, replace(v)]));
}
