/**
 * @file A study as one self-contained HTML page: heat map, accuracy against size, distillation, table, card.
 *
 * No script and no request: it can be attached to an issue as it is. Light and dark follow the reader's system.
 */

import { byteSize } from "../../lib/number-text.ts";
import type { TradeoffPoint } from "../kinds/tradeoff/tradeoff.ts";
import { divergingColour } from "./colour-scales.ts";
import { type HeadGrid, headGrid } from "./head-grid.ts";
import { labelPlaces } from "./label-places.ts";
import type { StarterStudyResult } from "./starter-study.ts";

export const escapeHtml = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
const signed = (v: number, digits: number): string => `${v >= 0 ? "+" : "−"}${Math.abs(v).toFixed(digits)}`;
const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;

export function heatMap(grid: HeadGrid, dropped: ReadonlySet<string>): string {
  const max = Math.max(1e-9, ...grid.flat().map((c) => Math.abs(c?.value ?? 0)));
  const columns = Math.max(...grid.map((r) => r.length));
  const head = Array.from({ length: columns }, (_, h) => `<th scope="col">H${h}</th>`).join("");
  const rows = grid.map((row, l) => {
    const cells = row.map((cell, h) => {
      if (!cell) return "<td></td>";
      const unit = `L${l}.H${h}`;
      const { fill, ink } = divergingColour(cell.value, max);
      const noise = Math.abs(cell.value) < 2 * cell.standardError;
      const gone = dropped.has(unit);
      const note = `${unit}: ${signed(cell.value * 1000, 2)} ± ${(cell.standardError * 1000).toFixed(2)}${noise ? ", within noise" : ""}${gone ? ", dropped" : ""}`;
      return `<td class="${gone ? "gone" : ""}" style="background-color:rgb(${fill.join(" ")});color:${ink}" title="${escapeHtml(note)}">${signed(cell.value * 1000, 1)}<small>${noise ? "≈0" : `±${(cell.standardError * 1000).toFixed(1)}`}</small></td>`;
    });
    return `<tr><th scope="row">L${l}</th>${cells.join("")}</tr>`;
  });
  return `<table class="heat"><thead><tr><th></th>${head}</tr></thead><tbody>${rows.join("")}</tbody></table>`;
}

/** Accuracy over size with 95 % intervals and the staircase of undominated points. */
export function tradeoffChart(points: readonly TradeoffPoint[], winner: string | null, keep: number | null): string {
  const [width, height, left, bottom, top, right] = [760, 360, 56, 44, 16, 120];
  const withAccuracy = points.filter((p) => p.accuracy);
  const sizes = withAccuracy.map((p) => Math.log(p.sizeBytes));
  const [low, high] = [Math.min(...sizes) - 0.15, Math.max(...sizes) + 0.1];
  const least = Math.max(0, Math.min(...withAccuracy.map((p) => p.accuracy?.interval.low ?? 0)) - 0.03);
  const x = (size: number): number => left + ((Math.log(size) - low) / (high - low)) * (width - left - right);
  const y = (a: number): number => top + ((1 - a) / (1 - least)) * (height - top - bottom);
  const parts: string[] = [];
  for (let i = 0; i <= 4; i++) {
    const a = least + ((1 - least) * i) / 4;
    parts.push(
      `<line class="grid" x1="${left}" x2="${width - right}" y1="${y(a)}" y2="${y(a)}"/><text x="${left - 8}" y="${y(a) + 4}" text-anchor="end">${(a * 100).toFixed(0)}</text>`,
    );
  }
  for (const mb of [0.25, 0.5, 1, 2, 4, 8]) {
    const size = mb * 1e6;
    if (Math.log(size) > low && Math.log(size) < high)
      parts.push(`<text x="${x(size)}" y="${height - bottom + 18}" text-anchor="middle">${mb}</text>`);
  }
  parts.push(
    `<text x="${(left + width - right) / 2}" y="${height - 6}" text-anchor="middle">weights, MB (log scale)</text>`,
  );
  parts.push(
    `<text x="14" y="${(height - bottom) / 2}" text-anchor="middle" transform="rotate(-90 14 ${(height - bottom) / 2})">questions right, %</text>`,
  );
  const base = withAccuracy[0]?.accuracy;
  if (base && keep !== null) {
    const goal = base.value * keep;
    parts.push(
      `<line class="goal" x1="${left}" x2="${width - right}" y1="${y(goal)}" y2="${y(goal)}"/><text x="${width - right + 6}" y="${y(goal) + 4}">${(keep * 100).toFixed(0)} % of the base</text>`,
    );
  }
  const front = withAccuracy.filter((p) => p.onFront).sort((a, b) => a.sizeBytes - b.sizeBytes);
  const stairs = front.map((p, i) => {
    const before = front[i - 1];
    return `${before ? `H${x(p.sizeBytes)}` : `M${x(p.sizeBytes)} ${y(p.accuracy?.value ?? 0)}`}V${y(p.accuracy?.value ?? 0)}`;
  });
  parts.push(`<path class="front" d="${stairs.join("")}"/>`);
  const named = withAccuracy.map((p, i) => ({
    x: x(p.sizeBytes),
    y: y(p.accuracy?.value ?? 0),
    name: i === 0 ? "base" : p.label,
  }));
  const places = labelPlaces(named, left, width - right);
  for (const [i, p] of withAccuracy.entries()) {
    const [at, place] = [named[i], places[i]];
    if (!p.accuracy || !at || !place) continue;
    const { x: cx, y: cy } = at;
    const kind = p.model === winner ? "winner" : p.onFront ? "point" : "dominated";
    parts.push(
      `<g><title>${escapeHtml(p.label)}: ${byteSize(p.sizeBytes)}, ${percent(p.accuracy.value)} right (95 % ${percent(p.accuracy.interval.low)}–${percent(p.accuracy.interval.high)})</title>`,
      `<line class="bar" x1="${cx}" x2="${cx}" y1="${y(p.accuracy.interval.low)}" y2="${y(p.accuracy.interval.high)}"/><circle class="${kind}" cx="${cx}" cy="${cy}" r="${kind === "winner" ? 7 : 4.5}"/>`,
      `<text x="${place.x}" y="${place.y}" text-anchor="${place.anchor}">${escapeHtml(at.name)}</text></g>`,
    );
  }
  return `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="Questions right against bytes of weights">${parts.join("")}</svg>`;
}

export function pointsTable(points: readonly TradeoffPoint[], fp16Bytes: number, winner: string | null): string {
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

export const pageStyle = `
:root{color-scheme:light dark;--ground:#fff;--ink:#17181a;--soft:#65696f;--line:#e4e4e0;--signal:#1c5bd0}
@media (prefers-color-scheme:dark){:root{--ground:#141618;--ink:#ecedee;--soft:#9297a0;--line:#25282c;--signal:#7aa7ff}}
body{margin:40px auto;max-width:960px;padding:0 20px;background:var(--ground);color:var(--ink);font:15px/1.6 Inter,system-ui,sans-serif;font-variant-numeric:tabular-nums}
h1{font-size:24px;font-weight:620;letter-spacing:-.017em}h2{font-size:17px;margin:40px 0 4px}p{max-width:80ch}.soft,small{color:var(--soft)}
table{border-collapse:collapse;font-size:13px}th,td{padding:5px 10px;text-align:right;border-bottom:1px solid var(--line);font-weight:400}th:first-child{text-align:left}
.heat td{width:64px;text-align:center;border:2px solid var(--ground)}.heat small{display:block;font-size:11px;color:inherit;opacity:.85}.heat th{color:var(--soft)}
.gone{background-image:repeating-linear-gradient(45deg,transparent 0 5px,rgb(0 0 0/.45) 5px 6.5px);outline:1.5px solid var(--ink);outline-offset:-3px}
svg{width:100%;height:auto;font:11px Inter,system-ui,sans-serif;fill:var(--soft)}.grid{stroke:var(--line)}.goal{stroke:var(--signal);stroke-dasharray:6 3}.front{fill:none;stroke:var(--ink)}
.bar{stroke:var(--soft)}.point{fill:var(--ink)}.dominated{fill:var(--ground);stroke:var(--soft)}.winner{fill:var(--ink);stroke:var(--signal);stroke-width:3}.winner-row th,.winner-row td{font-weight:600}
pre{overflow:auto;padding:12px;border:1px solid var(--line);border-radius:8px;font:12px/1.5 "JetBrains Mono",monospace}`;

export function reportPage(study: StarterStudyResult, options: { keep: number; made: string; card: string }): string {
  const dropped = new Set(study.pruned.dropped);
  const grid = headGrid(study.importance, "leave-one-out");
  const winner = study.tradeoff.points.find((p) => p.model === study.tradeoff.winner);
  const reported = study.report?.points[1];
  const agreement = study.importance.agreement;
  const last = study.distilled.curve.at(-1);
  const first = study.distilled.curve[0];
  const finding = winner
    ? `${escapeHtml(winner.label)} is ${(study.tradeoff.fp16Bytes / winner.sizeBytes).toFixed(1)} times smaller than the base in fp16${reported?.accuracy ? ` and, on questions it was not chosen by, answers ${percent(reported.accuracy.value)} right (95 % ${percent(reported.accuracy.interval.low)}–${percent(reported.accuracy.interval.high)}), ${percent(reported.accuracy.keptOfBase)} of the base` : ""}.`
    : escapeHtml(study.tradeoff.reason);
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Espalier: the starter study</title><style>${pageStyle}</style></head><body>
<h1>The starter study</h1><p>${finding}</p>
<h2>What each head is worth</h2>
<p class="soft">Change in loss when the head is removed, 10⁻³ nats per token ± standard error; ${escapeHtml(study.importance.protocol)}. Hatched heads were pruned: ${study.pruned.dropped.length} of ${study.pruned.heads.before}.${agreement ? ` First-order Taylor ranks them with ρ = ${agreement.spearman.toFixed(2)}; sampling noise alone allows ${agreement.noiseCeiling.toFixed(2)}.` : ""}</p>
${heatMap(grid, dropped)}
<h2>Accuracy against size</h2>
<p class="soft">Upper left is better. Bars are 95 % Wilson intervals on the select split; the winner is ${escapeHtml(study.tradeoff.reason)}.</p>
${tradeoffChart(study.tradeoff.points, study.tradeoff.winner, options.keep)}
${pointsTable(study.tradeoff.points, study.tradeoff.fp16Bytes, study.tradeoff.winner)}
<h2>Distillation</h2>
<p>Held-out divergence from the base ${first ? `${first.heldOutKl.toFixed(4)} after pruning` : ""}${last ? `, ${last.heldOutKl.toFixed(4)} nats per token after ${last.step} steps` : ""}; the best weights are those of step ${study.distilled.bestStep}.</p>
<h2>The package</h2><pre>${escapeHtml(options.card)}</pre>
<p class="soft">${escapeHtml(options.made)}</p>
</body></html>
`;
}
