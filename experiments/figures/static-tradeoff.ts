/** @file Accuracy against size as static SVG, and its points as a table. */
import { byteSize } from "../../lib/number-text.ts";
import type { FigureOf } from "./figure.ts";
import { labelPlaces } from "./label-places.ts";
import { escapeHtml } from "./static-page.ts";
import { type PlottedPoint, tradeoffFigure } from "./tradeoff-figure.ts";

const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;

/**
 * Better is up by accuracy, down by KL; bars are 95 % intervals, the staircase is the front. `keep` draws the line of a share of the
 * base's accuracy. Empty where no point can be drawn.
 */
export function tradeoffChart(
  data: Pick<FigureOf<"tradeoff">, "measure" | "points" | "winner">,
  keep: number | null,
): string {
  const { measure, title, points } = tradeoffFigure(data);
  if (points.length === 0) return "";
  const [width, height, left, bottom, top, right] = [760, 360, 56, 44, 16, 120];
  const sizes = points.map((p) => Math.log(p.sizeBytes));
  const [low, high] = [Math.min(...sizes) - 0.15, Math.max(...sizes) + 0.1];
  const x = (size: number): number => left + ((Math.log(size) - low) / (high - low)) * (width - left - right);
  const axis = measure === "accuracy" ? accuracyAxis(points) : klAxis(points);
  const y = (v: number): number => top + (1 - axis.share(v)) * (height - top - bottom);
  const written = (v: number): string => (measure === "accuracy" ? percent(v) : v.toPrecision(3));
  const parts: string[] = [];
  for (const { at, text } of axis.ticks)
    parts.push(
      `<line class="grid" x1="${left}" x2="${width - right}" y1="${y(at)}" y2="${y(at)}"/><text x="${left - 8}" y="${y(at) + 4}" text-anchor="end">${text}</text>`,
    );
  for (let power = -2; power < 6; power++)
    for (const step of [1, 2, 5]) {
      const mb = step * 10 ** power;
      const size = mb * 1e6;
      if (Math.log(size) > low && Math.log(size) < high)
        parts.push(
          `<text x="${x(size)}" y="${height - bottom + 18}" text-anchor="middle">${Number(mb.toPrecision(1))}</text>`,
        );
    }
  parts.push(
    `<text x="${(left + width - right) / 2}" y="${height - 6}" text-anchor="middle">weights, MB (log scale)</text>`,
    `<text x="14" y="${(height - bottom) / 2}" text-anchor="middle" transform="rotate(-90 14 ${(height - bottom) / 2})">${escapeHtml(title)}</text>`,
  );
  const base = points.find((p) => p.isBase);
  if (base && keep !== null && measure === "accuracy") {
    const goal = base.value * keep;
    parts.push(
      `<line class="goal" x1="${left}" x2="${width - right}" y1="${y(goal)}" y2="${y(goal)}"/><text x="${width - right + 6}" y="${y(goal) + 4}">${(keep * 100).toFixed(0)} % of the base</text>`,
    );
  }
  const stairs = points
    .filter((p) => p.onFront)
    .map((p, i) => `${i === 0 ? `M${x(p.sizeBytes)} ${y(p.value)}` : `H${x(p.sizeBytes)}`}V${y(p.value)}`);
  parts.push(`<path class="front" d="${stairs.join("")}"/>`);
  const named = points.map((p) => ({ x: x(p.sizeBytes), y: y(p.value), name: p.isBase ? "base" : p.label }));
  const places = labelPlaces(named, left, width - right);
  for (const [i, p] of points.entries()) {
    const [at, place] = [named[i], places[i]];
    if (!at || !place) continue;
    const kind = p.isWinner ? "winner" : p.onFront ? "point" : "dominated";
    parts.push(
      `<g><title>${escapeHtml(p.label)}: ${byteSize(p.sizeBytes)}, ${written(p.value)}${measure === "accuracy" ? " right" : " nats per token"} (95 % ${written(p.low)}–${written(p.high)})</title>`,
      `<line class="bar" x1="${at.x}" x2="${at.x}" y1="${y(p.low)}" y2="${y(p.high)}"/><circle class="${kind}" cx="${at.x}" cy="${at.y}" r="${p.isWinner ? 7 : 4.5}"/>`,
      `<text x="${place.x}" y="${place.y}" text-anchor="${place.anchor}">${escapeHtml(at.name)}</text></g>`,
    );
  }
  return `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeHtml(title)} against bytes of weights">${parts.join("")}</svg>`;
}

/** Where a value stands from 0, the lower end, to 1. */
interface Axis {
  readonly share: (value: number) => number;
  readonly ticks: readonly { at: number; text: string }[];
}

function accuracyAxis(points: readonly PlottedPoint[]): Axis {
  const least = Math.max(0, Math.min(...points.map((p) => p.low)) - 0.03);
  return {
    share: (v) => (v - least) / (1 - least),
    ticks: [0, 1, 2, 3, 4].map((i) => {
      const at = least + ((1 - least) * i) / 4;
      return { at, text: (at * 100).toFixed(0) };
    }),
  };
}

function klAxis(points: readonly PlottedPoint[]): Axis {
  // An interval that reaches 0 would stretch the axis without end.
  const smallest = Math.min(...points.map((p) => p.value));
  const low = Math.floor(Math.log10(smallest));
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...points.map((p) => p.high)))));
  return {
    share: (v) => Math.max(0, (Math.log10(v) - low) / (high - low)),
    ticks: Array.from({ length: high - low + 1 }, (_, i) => ({
      at: 10 ** (low + i),
      text: String(Number((10 ** (low + i)).toPrecision(1))),
    })),
  };
}

/** All points, the largest first, with everything that was measured of them. */
export function pointsTable({
  points,
  fp16Bytes,
  winner,
}: Pick<FigureOf<"tradeoff">, "points" | "fp16Bytes" | "winner">): string {
  const rows = [...points]
    .sort((a, b) => b.sizeBytes - a.sizeBytes)
    .map((p) => {
      const cells = [
        byteSize(p.sizeBytes),
        p.bitsPerWeight.toFixed(2),
        `${(fp16Bytes / p.sizeBytes).toFixed(1)} ×`,
        p.accuracy
          ? `${percent(p.accuracy.value)} <small>${percent(p.accuracy.interval.low)}–${percent(p.accuracy.interval.high)}</small>`
          : "",
        p.accuracy ? percent(p.accuracy.keptOfBase) : "",
        `${p.kl.mean.toFixed(4)} ± ${p.kl.standardError.toFixed(4)}`,
        percent(p.agreement.mean),
      ];
      return `<tr class="${p.model === winner ? "winner-row" : ""}"><th scope="row">${escapeHtml(p.label)}${p.model === winner ? " ◂ winner" : ""}</th>${cells.map((c) => `<td>${c}</td>`).join("")}</tr>`;
    });
  return `<table><thead><tr><th>model</th><th>weights</th><th>bits per weight</th><th>smaller than fp16</th><th>questions right (95 %)</th><th>of base</th><th>KL to base ± SE, nats</th><th>same top token</th></tr></thead><tbody>${rows.join("")}</tbody></table>`;
}
