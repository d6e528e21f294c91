/** @file `espalier quantize`. */
import type { Command } from "commander";
import { quantize } from "../../experiments/quantize/quantize.ts";
import { bytes, fixed } from "../numbers.ts";
import { addExperimentCommand } from "./experiment-command.ts";

export function addQuantize(program: Command, signal: AbortSignal): void {
  addExperimentCommand(program, signal, {
    verb: "quantize",
    summary: "Store weights in fewer bits: palettes by k-means, or codes times a scale",
    example: "espalier quantize distilled --scheme palette --bits 4 --rows-per-table 16 --out small",
    positional: ["model"],
    experiment: quantize,
    print: (s) =>
      [
        `weights         ${bytes(s.sizeBytes)}`,
        `bits per weight ${fixed(s.bitsPerWeight, 3)}`,
        `relative error  ${s.relativeError.toExponential(2)}  (‖w − ŵ‖² / ‖w‖²)`,
        `written to      ${s.out}`,
      ].join("\n"),
    json: (s) => s,
  });
}
