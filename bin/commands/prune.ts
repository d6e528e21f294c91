/** @file `espalier prune`. */
import type { Command } from "commander";
import { prune } from "../../experiments/prune/prune.ts";
import { count } from "../numbers.ts";
import { addExperimentCommand } from "./experiment-command.ts";
import { originLines } from "./origin-lines.ts";

export function addPrune(program: Command, signal: AbortSignal): void {
  addExperimentCommand(program, signal, {
    verb: "prune",
    summary: "Take heads, neurons and layers away, by what they are worth or by name, and write the smaller checkpoint",
    example: "espalier prune starter --ratio 0.3 --text stories.txt --separator '<|endoftext|>' --out pruned",
    positional: ["model"],
    experiment: prune,
    print: (s) =>
      [
        `heads           ${s.heads.before} → ${s.heads.after}`,
        `KV groups       ${s.groups.before} → ${s.groups.after}`,
        `neurons         ${s.neurons.before} → ${s.neurons.after}`,
        `layers          ${s.layers.before} → ${s.layers.after}`,
        `parameters      ${count(s.parameters.before)} → ${count(s.parameters.after)}`,
        `dropped         ${s.dropped.join(" ") || "none"}`,
        ...originLines(s.origin),
        `written to      ${s.out}`,
      ].join("\n"),
    json: (s) => s,
  });
}
