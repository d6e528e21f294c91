/**
 * @file What the search field of the runs understands: `state:lost,failed kl<0.05 tag:paper -kind:export bits>=3 "no pruning"`.
 *
 * All terms must hold; commas within one mean any of them; a minus before a term turns it round. Numbers are those of the run
 * (`kl`, `bits-per-weight`, `mb`, `took`) and of its config (`temperature`, `seed`).
 */
import { aliases, configText, numbersOf, type RunRow } from "./run-row.ts";

const fields = ["state", "kind", "tag", "model", "text", "study", "sweep", "id", "name", "note", "reason"] as const;
type Field = (typeof fields)[number];
type Operator = "<" | "<=" | ">" | ">=" | "=" | "!=";

export type Term = { readonly not: boolean } & (
  | { readonly type: "field"; readonly field: Field; readonly values: readonly string[] }
  | { readonly type: "number"; readonly name: string; readonly operator: Operator; readonly value: number }
  | { readonly type: "config"; readonly name: string; readonly operator: "=" | "!="; readonly value: string }
  | { readonly type: "word"; readonly word: string }
);

export function parseSearch(text: string): Term[] {
  return [...text.matchAll(/-?(?:[^\s"]*"[^"]*"?|\S+)/g)].map(([raw]): Term => {
    const not = raw.startsWith("-") && raw.length > 1;
    const token = (not ? raw.slice(1) : raw).replaceAll('"', "");
    const field = /^([a-z]+):(.*)$/i.exec(token);
    const name = fields.find((f) => f === field?.[1]?.toLowerCase());
    if (name && field) {
      const values = (field[2] ?? "")
        .toLowerCase()
        .split(",")
        .filter((v) => v !== "" && v !== "any");
      return { not, type: "field", field: name, values };
    }
    const compared = /^([\p{L}_][\p{L}\p{N}._-]*)(<=|>=|!=|=|<|>)(.+)$/u.exec(token);
    if (compared) {
      const [, left = "", operator, right = ""] = compared;
      const value = inUnits(right);
      if (value !== null)
        return { not, type: "number", name: left.toLowerCase(), operator: operator as Operator, value };
      if (operator === "=" || operator === "!=")
        return { not, type: "config", name: left.toLowerCase(), operator, value: right.toLowerCase() };
    }
    return { not, type: "word", word: token.toLowerCase() };
  });
}

const states = ["queued", "running", "stopping", "succeeded", "failed", "cancelled", "lost"];

/** What of a search cannot mean anything, in words. */
export function searchIssues(text: string): string[] {
  const unknown = parseSearch(text).flatMap((t): string[] =>
    t.type === "field" && t.field === "state"
      ? t.values
          .filter((v) => !states.includes(v))
          .map((v) => `no state is called ${v}; there are ${states.join(", ")}`)
      : [],
  );
  const numbers = [...text.matchAll(/(?:^|\s)-?([\p{L}_][\p{L}\p{N}._-]*)(<=|>=|<|>)(\S+)/gu)].flatMap(
    ([, name, operator, value = ""]) =>
      inUnits(value) === null ? [`${name}${operator}${value} compares with what is no number`] : [],
  );
  return [...unknown, ...numbers];
}

/** A number, or a stretch of time in seconds: `90s`, `5min`, `2h`, `1d`. */
function inUnits(text: string): number | null {
  const found = /^(-?[\d.]+(?:e[+-]?\d+)?)(s|min|h|d)?$/i.exec(text);
  const value = Number(found?.[1]);
  if (!found || !Number.isFinite(value)) return null;
  return value * ({ s: 1, min: 60, h: 3_600, d: 86_400 }[found[2]?.toLowerCase() ?? ""] ?? 1);
}

/** Names are compared without spaces or case: `bits-per-weight<4`, `learningrate=1e-3`. */
const plainName = (name: string): string => name.toLowerCase().replaceAll(/[ ._-]/g, "");

function numberOf(run: RunRow, name: string): number | undefined {
  const wanted = plainName(aliases[name] ?? name);
  const own = Object.entries(numbersOf(run)).find(([k]) => plainName(k) === wanted)?.[1];
  if (own !== undefined) return own;
  const [, value] = Object.entries(run.config).find(([k]) => plainName(k) === wanted.replace(/^config/, "")) ?? [];
  return typeof value === "number" ? value : undefined;
}

function textsOf(run: RunRow, field: Field): readonly string[] {
  if (field === "tag") return run.tags;
  if (field === "study") return [run.studyId ?? "", run.step ?? ""];
  if (field === "sweep") return [run.sweepId ?? ""];
  if (field === "reason") return [run.reason ?? "", run.error?.message ?? ""];
  if (field === "model")
    return [run.outputModelId ?? "", ...["model", "models", "student", "base"].map((f) => configText(run.config[f]))];
  if (field === "text") return ["text", "heldOut", "tasks"].map((f) => configText(run.config[f]));
  return [run[field]];
}

/** Free words and names hold a part; states, kinds and tags are whole. */
const isWhole = (field: Field): boolean => field === "state" || field === "kind" || field === "tag";

function holds(term: Term, run: RunRow): boolean {
  if (term.type === "word")
    return `${run.name} ${run.id} ${run.kind} ${run.reason ?? ""} ${run.note} ${run.tags.join(" ")}`
      .toLowerCase()
      .includes(term.word);
  if (term.type === "field") {
    if (term.values.length === 0) return true;
    const texts = textsOf(run, term.field).map((t) => t.toLowerCase());
    return term.values.some((v) => texts.some((t) => (isWhole(term.field) ? t === v : t !== "" && t.includes(v))));
  }
  if (term.type === "config") {
    const [, value] = Object.entries(run.config).find(([k]) => plainName(k) === plainName(term.name)) ?? [];
    const isEqual = configText(value).toLowerCase() === term.value;
    return value !== undefined && (term.operator === "=" ? isEqual : !isEqual);
  }
  const value = numberOf(run, term.name);
  if (value === undefined) return false;
  const by: Record<Operator, boolean> = {
    "<": value < term.value,
    "<=": value <= term.value,
    ">": value > term.value,
    ">=": value >= term.value,
    "=": value === term.value,
    "!=": value !== term.value,
  };
  return by[term.operator];
}

export const matches = (terms: readonly Term[], run: RunRow): boolean => terms.every((t) => holds(t, run) !== t.not);

/** Names in comparisons that no run has a number or field for: probably misspelt. */
export function unknownNames(terms: readonly Term[], runs: readonly RunRow[]): string[] {
  if (runs.length === 0) return [];
  return terms.flatMap((t) => {
    if (t.type === "number") return runs.some((r) => numberOf(r, t.name) !== undefined) ? [] : [t.name];
    if (t.type === "config")
      return runs.some((r) => Object.keys(r.config).some((k) => plainName(k) === plainName(t.name))) ? [] : [t.name];
    return [];
  });
}
