/**
 * @file A study as one self-contained HTML page: heat map, accuracy against size, distillation, table, card.
 *
 * No script and no request: it can be attached to an issue as it is. Light and dark follow the reader's system.
 */

import { headGrid } from "../figures/head-figure.ts";
import { heatMap } from "../figures/static-heads.ts";
import { escapeHtml, pageStyle } from "../figures/static-page.ts";
import { pointsTable, tradeoffChart } from "../figures/static-tradeoff.ts";
import type { StarterStudyResult } from "./starter-study.ts";

const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;

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
${tradeoffChart(study.tradeoff, options.keep)}
${pointsTable(study.tradeoff)}
<h2>Distillation</h2>
<p>Held-out divergence from the base ${first ? `${first.heldOutKl.toFixed(4)} after pruning` : ""}${last ? `, ${last.heldOutKl.toFixed(4)} nats per token after ${last.step} steps` : ""}; the best weights are those of step ${study.distilled.bestStep}.</p>
<h2>The package</h2><pre>${escapeHtml(options.card)}</pre>
<p class="soft">${escapeHtml(options.made)}</p>
</body></html>
`;
}
