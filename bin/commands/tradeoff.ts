/** @file `espalier tradeoff`. */

import type { Command } from "commander";
import { type TradeoffSummary, tradeoff } from "../../experiments/kinds/tradeoff/tradeoff.ts";
import { byteSize } from "../../lib/number-text.ts";
import { fixed, percent, table, withError } from "../numbers.ts";

import { addExperimentCommand } from "./experiment-command.ts";

export function tradeoffTable(s: TradeoffSummary): string {
  const withTasks = s.points.some((p) => p.accuracy);
  const head = [
    "model",
    "weights",
    "bits/weight",
    "× fp16",
    "KL ± SE",
    "same top",
    ...(withTasks ? ["right", "95 % interval", "of base", "p"] : []),
    "front",
  ];
  const rows = [...s.points]
    .sort((a, b) => b.sizeBytes - a.sizeBytes)
    .map((p) => [
      `${p.model === s.winner ? "▸ " : "  "}${p.label}`,
      byteSize(p.sizeBytes),
      fixed(p.bitsPerWeight, 2),
      fixed(s.fp16Bytes / p.sizeBytes, 1),
      withError(p.kl.mean, p.kl.standardError, 4),
      percent(p.agreement.mean),
      ...(withTasks
        ? p.accuracy
          ? [
              percent(p.accuracy.value),
              `${percent(p.accuracy.interval.low)}–${percent(p.accuracy.interval.high)}`,
              percent(p.accuracy.keptOfBase),
              fixed(p.accuracy.pAgainstBase, 3),
            ]
          : ["", "", "", ""]
        : []),
      p.onFront ? "●" : "",
    ]);
  return table(head, rows);
}

export function addTradeoff(program: Command, signal: AbortSignal): void {
  addExperimentCommand(program, signal, {
    verb: "tradeoff",
    summary: "Compare models by accuracy and size, and pick the winner under a budget",
    example:
      "espalier tradeoff starter --models pruned,small --text report.txt --separator '<|endoftext|>' --tasks questions.jsonl --keep 0.95",
    positional: ["base"],
    experiment: tradeoff,
    print: (s) =>
      [
        s.protocol ?? "",
        "",
        tradeoffTable(s),
        "",
        s.winner ? `winner: ${s.winner}, ${s.reason}` : `no winner: ${s.reason}`,
      ].join("\n"),
    json: (s) => s,
  });
}
