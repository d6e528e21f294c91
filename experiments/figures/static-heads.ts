/** @file What each head is worth, as an HTML table: colour and number, the heads that are gone hatched. */

import { isNoise } from "../../lib/stats/noise.ts";
import { divergingColour } from "./colour-scales.ts";
import { type HeadGrid, largestIn } from "./head-figure.ts";
import { escapeHtml } from "./static-page.ts";

const signed = (v: number, digits: number): string => `${v >= 0 ? "+" : "−"}${Math.abs(v).toFixed(digits)}`;

/** Values × 10³ ± standard error; `dropped` names the heads that are gone, as `L3.H5`. */
export function heatMap(grid: HeadGrid, dropped: ReadonlySet<string>): string {
  const max = largestIn(grid);
  const columns = Math.max(...grid.map((r) => r.length));
  const head = Array.from({ length: columns }, (_, h) => `<th scope="col">H${h}</th>`).join("");
  const rows = grid.map((row, l) => {
    const cells = row.map((cell, h) => {
      if (!cell) return "<td></td>";
      const unit = `L${l}.H${h}`;
      const { fill, ink } = divergingColour(cell.value, max);
      const noise = isNoise(cell);
      const gone = dropped.has(unit);
      const note = `${unit}: ${signed(cell.value * 1000, 2)} ± ${(cell.standardError * 1000).toFixed(2)}${noise ? ", within noise" : ""}${gone ? ", dropped" : ""}`;
      return `<td class="${gone ? "gone" : ""}" style="background-color:rgb(${fill.join(" ")});color:${ink}" title="${escapeHtml(note)}">${signed(cell.value * 1000, 1)}<small>${noise ? "≈0" : `±${(cell.standardError * 1000).toFixed(1)}`}</small></td>`;
    });
    return `<tr><th scope="row">L${l}</th>${cells.join("")}</tr>`;
  });
  return `<table class="heat"><thead><tr><th></th>${head}</tr></thead><tbody>${rows.join("")}</tbody></table>`;
}
