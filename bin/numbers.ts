/** @file Numbers for people: a true minus, a sign on differences, thin spaces, SI bytes, errors beside values. */
const thin = "\u2009";

export const count = (n: number): string =>
  Math.round(n)
    .toString()
    .replace(/\B(?=(\d{3})+(?!\d))/g, thin);

export const fixed = (v: number, digits: number): string => v.toFixed(digits).replace("-", "−");

export const signed = (v: number, digits: number): string => (v >= 0 ? "+" : "") + fixed(v, digits);

/** `12.3 ± 0.4`; an unknown error is written as "unknown". */
export const withError = (v: number, error: number, digits: number): string =>
  `${fixed(v, digits)} ± ${Number.isFinite(error) ? fixed(error, digits) : "unknown"}`;

export const percent = (share: number, digits = 1): string => `${fixed(share * 100, digits)} %`;

/** Rows as aligned columns; the first column left, the others right. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows];
  const widths = head.map((_, c) => Math.max(...all.map((r) => [...(r[c] ?? "")].length)));
  const line = (r: readonly string[]): string =>
    r
      .map((cell, c) => (c === 0 ? cell.padEnd(widths[c] ?? 0) : cell.padStart(widths[c] ?? 0)))
      .join("  ")
      .trimEnd();
  return [line(head), widths.map((w) => "─".repeat(w)).join("  "), ...rows.map(line)].join("\n");
}
