/** @file `espalier distill`. */
import type { Command } from "commander";
import { distill } from "../../experiments/kinds/distill/distill.ts";
import { count, fixed, table } from "../numbers.ts";
import { addExperimentCommand } from "./experiment-command.ts";
import { originLines } from "./origin-lines.ts";

export function addDistill(program: Command, signal: AbortSignal): void {
  addExperimentCommand(program, signal, {
    verb: "distill",
    summary: "Train a small model to match a large one; a stopped run continues where it stopped",
    example: "espalier distill starter --student pruned --text train.txt --held-out select.txt --out distilled",
    positional: ["model"],
    experiment: distill,
    print: (s) => {
      const rows = s.curve.map((p) => [
        String(p.step),
        p.loss === null ? "" : fixed(p.loss, 4),
        fixed(p.heldOutKl, 4),
        p.heldOutKlError === null ? "unknown" : fixed(p.heldOutKlError, 4),
        fixed(p.heldOutNll, 4),
      ]);
      return [
        table(["step", "loss", "held-out KL", "± SE", "held-out nats"], rows),
        "",
        `${count(s.tokens)} tokens; best at step ${s.bestStep}${s.resumedFrom === null ? "" : `; resumed from step ${s.resumedFrom}`}`,
        ...originLines(s.origin),
        `written to      ${s.out}`,
      ].join("\n");
    },
    json: (s) => s,
  });
}
