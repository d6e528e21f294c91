/** @file `espalier export`. */
import type { Command } from "commander";
import { type ExportCard, exportExperiment } from "../../experiments/export/export.ts";
import { lintCounts, modelledLines } from "../device-text.ts";
import { bytes, count, fixed, percent } from "../numbers.ts";
import { addExperimentCommand } from "./experiment-command.ts";

export function cardText(card: ExportCard): string {
  const p = card.parity;
  return [
    `${card.ready ? "ready" : "NOT READY"}: ${card.package}`,
    `size             ${bytes(card.sizeBytes)}, weights ${bytes(card.weightBytes)}, ${fixed(card.bitsPerWeight, 3)} bits per weight`,
    `against fp16     ${fixed(card.timesSmallerThanFp16, 2)} times smaller (${count(card.parameters)} weights, ${bytes(card.fp16Bytes)})`,
    `functions        ${card.functions.join(", ")}, ${card.layout} layout`,
    `greedy text      ${p.greedyIdentical ? `${p.greedyTokens} tokens identical` : `differs at token ${p.greedyFirstDifference}`} to the fp32 model with the same weights`,
    `logits           largest difference ${p.maxLogitDifference.toExponential(1)} of ${fixed(p.largestLogit, 1)} over ${p.positions} positions`,
    `KL, same top     ${p.meanKl.toExponential(1)} nats, ${percent(p.topAgreement)}`,
    ...headroomText(card),
    `lint             ${lintCounts(card.lint)}; \`espalier inspect --lint\` names them`,
    ...modelledLines(card.modelled),
    `not checked here ${card.notChecked.join("; ")}`,
  ].join("\n");
}

function headroomText({ headroom, scaling }: ExportCard): string[] {
  if (!headroom) return [];
  const scaled = scaling
    ? `, stream scaled by ${scaling.stream} (without: ${fixed(scaling.worstWithout, 2)} times)`
    : "";
  return [`fp16 headroom    ${fixed(headroom.worst, 1)} times over ${headroom.positions} positions${scaled}`];
}

export function addExport(program: Command, signal: AbortSignal): void {
  addExperimentCommand(program, signal, {
    verb: "export",
    summary: "Write a Core ML package, read it back, execute it here and compare it with the model",
    example: "espalier export small --to coreml --out package --text report.txt",
    positional: ["model"],
    experiment: exportExperiment,
    print: (s) => `${cardText(s.card)}\nwritten to       ${s.out}`,
    json: (s) => s.card,
  });
}
