/** @file A run as the table sees it: its numbers by name, with what was measured of the model it made. */
import type { inferRouterOutputs } from "@trpc/server";
import type { AppRouter } from "../../server/api/router.ts";
import { bytes, duration } from "../parts/format.ts";

export type RunRow = inferRouterOutputs<AppRouter>["runs"]["list"][number];

export interface Value {
  readonly value: number;
  /** One standard error; null when it is not known. */
  readonly error: number | null;
}

/** What the numbers are called in the search field, besides their own names. */
export const aliases: Readonly<Record<string, string>> = {
  kl: "KL",
  top: "agreement",
  ppl: "perplexity",
  bits: "bits per weight",
  mb: "MB",
  size: "MB",
  took: "took",
};

const known = new WeakMap<RunRow, Readonly<Record<string, number>>>();

/** Its own numbers, those a trade-off or an evaluation measured of its model, then what the weights of its model take. */
export function numbersOf(run: RunRow): Readonly<Record<string, number>> {
  const before = known.get(run);
  if (before) return before;
  const ofOneModel = run.outputModelId !== null || ["evaluate", "sensitivity", "export"].includes(run.kind);
  const facts: [string, number | null | undefined][] = ofOneModel
    ? [
        ["MB", run.modelBytes === null ? null : run.modelBytes / 1e6],
        ["bits per weight", run.bits],
        ["parameters", run.parameters],
        ["heads left", run.heads],
        ["package MB", run.kind === "export" && run.numbers.bytes !== undefined ? run.numbers.bytes / 1e6 : null],
      ]
    : [];
  const found: Record<string, number> = {};
  for (const [name, v] of facts) if (v !== null && v !== undefined) found[name] = v;
  if (run.computeSeconds > 0) found.took = run.computeSeconds;
  // What was measured beside other models says more than what its maker saw of it on a text of its own.
  const all = { ...found, ...run.numbers, ...run.measured?.numbers };
  known.set(run, all);
  return all;
}

/** Null when the run has no such number. */
export function measuredValue(run: RunRow, name: string): Value | null {
  const numbers = numbersOf(run);
  const value = numbers[name];
  return value === undefined ? null : { value, error: numbers[`${name} ±`] ?? null };
}

/** Whether a number was measured by another run, on what it made. */
export const measuredElsewhere = (run: RunRow, name: string): { runId: string; on: string } | null =>
  run.measured?.numbers[name] !== undefined ? run.measured : null;

/** Numbers that mean nothing without what they were measured on. */
const onText: ReadonlySet<string> = new Set([
  "KL",
  "agreement",
  "accuracy",
  "perplexity",
  "nats per token",
  "perplexity ratio",
]);
const OWN = "a text of its own, while it was made";

/** What a number was measured on; equal for numbers that may stand on one axis. Empty for those that no text decides. */
export function protocolOf(run: RunRow, name: string): string {
  if (!onText.has(name)) return "";
  return (run.measured?.numbers[name] === undefined ? null : run.measured.protocol) ?? run.protocol ?? OWN;
}

/** The protocol of most of the runs that have this number; the first of equals. */
export function usualProtocol(runs: readonly RunRow[], name: string): string | null {
  const counts = new Map<string, number>();
  for (const run of runs)
    if (measuredValue(run, name)) counts.set(protocolOf(run, name), (counts.get(protocolOf(run, name)) ?? 0) + 1);
  const [most] = [...counts].sort((a, b) => b[1] - a[1]);
  return most?.[0] ?? null;
}

export const isError = (name: string): boolean => name.endsWith(" ±");

/** A number whose unit is written with it; null for all others. */
export function inUnit(name: string, value: number): string | null {
  if (name === "took") return duration(value);
  return name === "bytes" ? bytes(value) : null;
}

/** Names of runs by id, so that `run:ID` reads as what that run is called. */
export type RunNames = ReadonlyMap<string, string>;

/** Texts of a config field: lists by their members. */
export function configText(value: unknown, names?: RunNames): string {
  if (value === undefined || value === null) return "";
  if (typeof value === "string") {
    const [, id = "", winner = ""] = /^run:(run_\w+)(\/winner)?$/.exec(value) ?? [];
    const name = names?.get(id);
    return name === undefined ? value.replaceAll("\n", "\\n") : `${winner && "winner of "}${name}`;
  }
  return Array.isArray(value)
    ? value.map((v) => configText(v, names)).join(", ")
    : typeof value === "object"
      ? JSON.stringify(value)
      : String(value);
}
