/** @file A curve as static SVG: raw values faint, the moving average dark, broken where a value was not finite. */
import type { FigureCurve } from "./figure.ts";
import { escapeHtml } from "./static-page.ts";

/** Empty where no value is finite. */
export function curveChart(
  title: string,
  { steps, values, smoothed }: Pick<FigureCurve, "steps" | "values" | "smoothed">,
): string {
  const [width, height, left, bottom, top, right] = [760, 200, 64, 28, 20, 12];
  const finite = values.filter((v): v is number => v !== null);
  if (finite.length === 0) return "";
  const [low, high] = [Math.min(...finite), Math.max(...finite)];
  const [from, to] = [steps[0] ?? 0, steps.at(-1) ?? 1];
  const x = (s: number): string =>
    (left + ((s - from) / Math.max(1e-12, to - from)) * (width - left - right)).toFixed(1);
  const y = (v: number): string =>
    (top + ((high - v) / Math.max(1e-12, high - low)) * (height - top - bottom)).toFixed(1);
  const path = (of: readonly (number | null)[]): string =>
    of
      .map((v, i) => (v === null ? "" : `${i === 0 || of[i - 1] === null ? "M" : "L"}${x(steps[i] ?? 0)} ${y(v)}`))
      .join("");
  return `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeHtml(title)}"><text x="${left}" y="12">${escapeHtml(title)}</text><text x="${left - 6}" y="${y(high)}" text-anchor="end">${high.toPrecision(3)}</text><text x="${left - 6}" y="${y(low)}" text-anchor="end">${low.toPrecision(3)}</text><text x="${left}" y="${height - 8}">${from}</text><text x="${width - right}" y="${height - 8}" text-anchor="end">${to}</text><path d="${path(values)}" fill="none" stroke="currentColor" opacity="0.28"/><path d="${path(smoothed)}" fill="none" stroke="currentColor"/></svg>`;
}
