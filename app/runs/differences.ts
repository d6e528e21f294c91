/** @file What compared runs differ in: config first, then numbers; a field as people read it. */
import { groupValue, type RunGroup } from "./groups.ts";
import { configText, isError, numbersOf, type RunNames } from "./run-row.ts";

export interface ComparedField {
  readonly name: string;
  readonly part: "config" | "numbers";
  /** One of each compared group; null where it has none. */
  readonly values: readonly (string | number | null)[];
  readonly intervals: readonly (readonly [number, number] | null)[];
  readonly differs: boolean;
}

/** All fields of all groups, in the order they first appear. Seeds of a group are listed. */
export function comparedFields(groups: readonly RunGroup[], runNames?: RunNames): ComparedField[] {
  const names = (of: (g: RunGroup) => string[]): string[] => [...new Set(groups.flatMap(of))];
  const config = names((g) => g.runs.flatMap((r) => Object.keys(r.config))).map((name): ComparedField => {
    const values = groups.map((g) => {
      const texts = [...new Set(g.runs.map((r) => configText(r.config[name], runNames)))];
      const only = g.runs[0]?.config[name];
      if (texts.length === 1 && typeof only === "number") return only;
      return texts.join(", ") || null;
    });
    return { name, part: "config", values, intervals: groups.map(() => null), differs: new Set(values).size > 1 };
  });
  const numbers = names((g) => g.runs.flatMap((r) => Object.keys(numbersOf(r))))
    .filter((n) => !isError(n))
    .map((name): ComparedField => {
      const found = groups.map((g) => groupValue(g.runs, name));
      const values = found.map((v) => v?.mean ?? null);
      return {
        name,
        part: "numbers",
        values,
        intervals: found.map((v) => (v && v.low !== null && v.high !== null ? [v.low, v.high] : null)),
        differs: new Set(values).size > 1,
      };
    });
  return [...config, ...numbers];
}
