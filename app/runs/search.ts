/** @file What the search field of the runs understands: `state:lost KL<0.05 tag:paper palette`. */

export interface SearchedRun {
  readonly id: string;
  readonly name: string;
  readonly kind: string;
  readonly state: string;
  readonly reason: string | null;
  readonly tags: readonly string[];
  readonly numbers: Readonly<Record<string, number>>;
}

type Term =
  | { type: "field"; field: "state" | "kind" | "tag"; value: string }
  | { type: "number"; name: string; operator: "<" | ">" | "="; value: number }
  | { type: "word"; word: string };

export function parseSearch(text: string): Term[] {
  return text
    .split(/\s+/)
    .filter((t) => t !== "")
    .map((token): Term => {
      const field = /^(state|kind|tag):(.+)$/.exec(token);
      if (field)
        return { type: "field", field: field[1] as "state" | "kind" | "tag", value: (field[2] ?? "").toLowerCase() };
      const number = /^([\w-]+)([<>=])(-?[\d.eE+-]+)$/.exec(token);
      if (number && Number.isFinite(Number(number[3])))
        return {
          type: "number",
          name: (number[1] ?? "").toLowerCase(),
          operator: number[2] as "<" | ">" | "=",
          value: Number(number[3]),
        };
      return { type: "word", word: token.toLowerCase() };
    });
}

/** Names of numbers are compared without spaces: `bits-per-weight<4`. */
const plainName = (name: string): string => name.toLowerCase().replaceAll(" ", "-");

export function matches(terms: readonly Term[], run: SearchedRun): boolean {
  return terms.every((t) => {
    if (t.type === "word")
      return `${run.name} ${run.id} ${run.kind} ${run.reason ?? ""} ${run.tags.join(" ")}`
        .toLowerCase()
        .includes(t.word);
    if (t.type === "field")
      return t.field === "tag" ? run.tags.some((g) => g.toLowerCase() === t.value) : run[t.field] === t.value;
    const value = Object.entries(run.numbers).find(([k]) => plainName(k) === t.name)?.[1];
    if (value === undefined) return false;
    return t.operator === "<" ? value < t.value : t.operator === ">" ? value > t.value : value === t.value;
  });
}
