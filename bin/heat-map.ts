/**
 * @file A layers × heads heat map for the terminal: colour and number, within-noise cells marked.
 *
 * Position on the scale is sign(v) · √(|v| / max), so that small differences stay visible; colours run from neutral to
 * brown for a unit whose loss hurts, to teal for one whose loss helps. Without colour the numbers alone say it.
 */
import type { HeadGrid } from "../experiments/studies/head-grid.ts";
import { signed } from "./numbers.ts";

const hurts: [number, number, number][] = [
  [243, 243, 240],
  [251, 220, 184],
  [242, 167, 101],
  [210, 105, 30],
  [143, 52, 6],
  [92, 29, 2],
];
const helps: [number, number, number][] = [
  [243, 243, 240],
  [196, 228, 223],
  [124, 192, 184],
  [47, 143, 136],
  [11, 90, 87],
  [5, 59, 58],
];

function colour(value: number, max: number): [number, number, number] {
  const stops = value >= 0 ? hurts : helps;
  const t = Math.min(1, Math.sqrt(Math.abs(value) / max)) * (stops.length - 1);
  const i = Math.min(stops.length - 2, Math.floor(t));
  const [from, to] = [stops[i], stops[i + 1]];
  if (!from || !to) return [243, 243, 240];
  return [0, 1, 2].map((c) => Math.round((from[c] ?? 0) + ((to[c] ?? 0) - (from[c] ?? 0)) * (t - i))) as [
    number,
    number,
    number,
  ];
}

/** Rows are layers, columns heads; values in 10⁻³ nats per token. `dropped` cells are struck. */
export function heatMap(
  cells: HeadGrid,
  options: { colour: boolean; dropped?: (layer: number, head: number) => boolean },
): string {
  const all = cells.flat().filter((c) => c !== null);
  const max = Math.max(1e-9, ...all.map((c) => Math.abs(c.value)));
  const columns = Math.max(...cells.map((r) => r.length));
  const head = `      ${Array.from({ length: columns }, (_, h) => `H${h}`.padStart(8)).join("")}`;
  const rows = cells.map((row, l) => {
    const line = row.map((cell, h) => {
      if (!cell) return " ".repeat(8);
      const noise = Math.abs(cell.value) < 2 * cell.standardError ? "≈" : " ";
      const text = `${noise}${signed(cell.value * 1000, 1)}`.padStart(7);
      const marked = options.dropped?.(l, h) ? `×${text}` : ` ${text}`;
      if (!options.colour) return marked;
      const [r, g, b] = colour(cell.value, max);
      const ink = r * 0.299 + g * 0.587 + b * 0.114 > 140 ? "30" : "97";
      return `\u001b[48;2;${r};${g};${b}m\u001b[${ink}m${marked}\u001b[0m`;
    });
    return `${`L${l}`.padEnd(6)}${line.join("")}`;
  });
  return [head, ...rows].join("\n");
}
