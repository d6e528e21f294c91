/**
 * @file A layers × heads heat map for the terminal: colour and number, within-noise cells marked.
 *
 * Position on the scale is sign(v) · √(|v| / max), so that small differences stay visible; colours run from neutral to
 * brown for a unit whose loss hurts, to teal for one whose loss helps. Without colour, only the numbers are printed.
 */

import { divergingColour } from "../experiments/figures/colour-scales.ts";
import { type HeadGrid, largestIn } from "../experiments/figures/head-figure.ts";
import { isNoise } from "../lib/stats/noise.ts";
import { signed } from "./numbers.ts";

/** Rows are layers, columns heads; values in 10⁻³ nats per token. `dropped` cells are struck. */
export function heatMap(
  cells: HeadGrid,
  options: { colour: boolean; dropped?: (layer: number, head: number) => boolean },
): string {
  const max = largestIn(cells);
  const columns = Math.max(...cells.map((r) => r.length));
  const head = `      ${Array.from({ length: columns }, (_, h) => `H${h}`.padStart(8)).join("")}`;
  const rows = cells.map((row, l) => {
    const line = row.map((cell, h) => {
      if (!cell) return " ".repeat(8);
      const noise = isNoise(cell) ? "≈" : " ";
      const text = `${noise}${signed(cell.value * 1000, 1)}`.padStart(7);
      const marked = options.dropped?.(l, h) ? `×${text}` : ` ${text}`;
      if (!options.colour) return marked;
      const { fill, ink } = divergingColour(cell.value, max);
      return `\u001b[48;2;${fill.join(";")}m\u001b[${ink === "black" ? 30 : 97}m${marked}\u001b[0m`;
    });
    return `${`L${l}`.padEnd(6)}${line.join("")}`;
  });
  return [head, ...rows].join("\n");
}
