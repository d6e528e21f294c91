/**
 * @file JSON that passes through with its numbers as they were written: `30.0` stays a float, `1e-06` and long integers keep
 * every digit.
 *
 * `JSON.parse` gives 30 for 30.0, and readers with typed fields (the configs of `transformers` 5) refuse the one for the other.
 * So literals are collected by their place, and put back wherever the value at that place is still the same. Reference:
 * RFC 8259, and the `NaN`, `Infinity` and `-Infinity` of Python. Not included: everything but numbers; `parsedJson` has accepted
 * the text before.
 */

/** The number literals of a JSON text by place: a literal, or those below each key or index. */
export type NumberLiterals = string | { readonly [key: string]: NumberLiterals };

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null;

/** The literals of `text`, which `JSON.parse` takes. Of equal keys the last counts, as there. */
export function numberLiterals(text: string): NumberLiterals {
  let at = 0;
  const space = (): void => {
    while (/\s/.test(text[at] ?? "")) at++;
  };
  const string = (): string => {
    const start = at++;
    while (at < text.length && text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
    at++;
    return String(JSON.parse(text.slice(start, at)));
  };
  const members = (end: "}" | "]"): NumberLiterals => {
    const found: Record<string, NumberLiterals> = Object.create(null);
    at++;
    space();
    for (let index = 0; at < text.length && text[at] !== end; index++) {
      const key = end === "}" ? string() : String(index);
      if (end === "}") {
        space();
        at++;
      }
      found[key] = value();
      space();
      if (text[at] === ",") at++;
      space();
    }
    at++;
    return found;
  };
  const value = (): NumberLiterals => {
    space();
    const c = text[at];
    if (c === "{") return members("}");
    if (c === "[") return members("]");
    if (c === '"') {
      string();
      return {};
    }
    const start = at;
    while (at < text.length && !/[\s,\]}]/.test(text[at] ?? "")) at++;
    const literal = text.slice(start, at);
    return /^(?:[-\d]|Infinity|NaN)/.test(literal) ? literal : {};
  };
  return value();
}

const below = (literals: NumberLiterals | undefined, key: string): NumberLiterals | undefined =>
  typeof literals === "object" && Object.hasOwn(literals, key) ? literals[key] : undefined;

/**
 * As `JSON.stringify(value, null, 2)`, but a number that stood at its place in one of `sources` is written as the first of them
 * wrote it, and a whole one under a key of `floats` with a point. The sources need not be whole: their other places do not count.
 */
export function jsonLike(
  value: unknown,
  sources: readonly (NumberLiterals | undefined)[],
  floats: ReadonlySet<string> = new Set(),
): string {
  const write = (
    v: unknown,
    key: string,
    literals: readonly (NumberLiterals | undefined)[],
    indent: string,
  ): string => {
    if (typeof v === "number") {
      const literal = literals.find((l) => typeof l === "string" && Object.is(Number(l), v));
      if (typeof literal === "string") return literal;
      return floats.has(key) && Number.isInteger(v) && Math.abs(v) < 1e21 ? `${v}.0` : JSON.stringify(v);
    }
    if (!isObject(v)) return JSON.stringify(v);
    const inner = `${indent}  `;
    const entries = Object.entries(v).filter(([, item]) => item !== undefined);
    if (entries.length === 0) return Array.isArray(v) ? "[]" : "{}";
    const lines = entries.map(([k, item]) => {
      const text = write(
        item,
        Array.isArray(v) ? key : k,
        literals.map((l) => below(l, k)),
        inner,
      );
      return `${inner}${Array.isArray(v) ? "" : `${JSON.stringify(k)}: `}${text}`;
    });
    const [open, close] = Array.isArray(v) ? ["[", "]"] : ["{", "}"];
    return `${open}\n${lines.join(",\n")}\n${indent}${close}`;
  };
  return write(value, "", sources, "");
}
