/** @file `espalier quantize`. */

import type { Command } from "commander";
import { type QuantizeSummary, quantize } from "../../experiments/kinds/quantize/quantize.ts";
import { byteSize } from "../../lib/number-text.ts";
import { fixed } from "../numbers.ts";

import { addExperimentCommand } from "./experiment-command.ts";
import { originLines } from "./origin-lines.ts";

/** `palette4 52, palette6 5`. */
function countsOf(widths: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const w of widths) counts.set(w, (counts.get(w) ?? 0) + 1);
  return [...counts].map(([w, n]) => `${w} ${n}`).join(", ");
}

function searchLines({ maxKl, trials }: NonNullable<QuantizeSummary["search"]>): string[] {
  const tried = trials.map((t) => `${byteSize(t.sizeBytes)} at ${t.kl.toPrecision(3)}`).join(", ");
  if (maxKl === null) return [];
  return [
    `chosen as       the smallest mixture under a KL of ${maxKl} from the given model`,
    `tried           ${tried}, on the calibration text`,
  ];
}

export function addQuantize(program: Command, signal: AbortSignal): void {
  addExperimentCommand(program, signal, {
    verb: "quantize",
    summary:
      "Store weights in fewer bits; without widths or a budget, choose the smallest mixture that stays close to the original",
    example: "espalier quantize distilled --out small\n  espalier quantize distilled --bits 4 --out small",
    positional: ["model"],
    experiment: quantize,
    print: (s) =>
      [
        `widths          ${countsOf(Object.values(s.recipe))}`,
        `weights         ${byteSize(s.sizeBytes)}`,
        `bits per weight ${fixed(s.bitsPerWeight, 3)}`,
        ...(s.predicted
          ? [
              `predicted KL    ${s.predicted.value.toExponential(2)}  (${s.predicted.low.toExponential(2)} to ${s.predicted.high.toExponential(2)}, sampling error only)`,
            ]
          : []),
        `calibration     ${s.calibration}`,
        ...(s.search ? searchLines(s.search) : []),
        ...originLines(s.origin),
        ...s.notes.map((note) => `layout          ${note}`),
        `written to      ${s.out}`,
      ].join("\n"),
    json: (s) => s,
  });
}
