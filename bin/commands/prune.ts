/** @file `espalier prune`. */
import type { Command } from "commander";
import { prune } from "../../experiments/kinds/prune/prune.ts";
import type { SizedReport } from "../../experiments/kinds/prune/to-size.ts";
import { count, fixed, table } from "../numbers.ts";
import { addExperimentCommand } from "./experiment-command.ts";
import { originLines } from "./origin-lines.ts";

export function addPrune(program: Command, signal: AbortSignal): void {
  addExperimentCommand(program, signal, {
    verb: "prune",
    summary: "Remove heads, neurons and layers, by their measured worth or by name, and write the smaller checkpoint",
    example: "espalier prune starter --parameters 0.8 --text stories.txt --separator '<|endoftext|>' --out pruned",
    positional: ["model"],
    experiment: prune,
    print: (s) =>
      [
        `heads           ${s.heads.before} → ${s.heads.after}`,
        `KV groups       ${s.groups.before} → ${s.groups.after}`,
        `neurons         ${s.neurons.before} → ${s.neurons.after}`,
        `layers          ${s.layers.before} → ${s.layers.after}`,
        `parameters      ${count(s.parameters.before)} → ${count(s.parameters.after)}`,
        `dropped         ${droppedWords(s.dropped)}`,
        ...(s.sized ? sizedLines(s.sized) : []),
        ...originLines(s.origin),
        `written to      ${s.out}`,
      ].join("\n"),
    json: (s) => s,
  });
}

/** Names where there are few; else the neurons, of which there can be thousands, are left to --json. */
function droppedWords(names: readonly string[]): string {
  const FEW = 40;
  if (names.length === 0) return "none";
  if (names.length <= FEW) return names.join(" ");
  const others = names.filter((name) => !name.includes(".N"));
  const shown = [...others.slice(0, FEW), ...(others.length > FEW ? [`${others.length - FEW} more`] : [])];
  return `${[...shown, ...(others.length < names.length ? ["neurons"] : [])].join(", ")} (--json names them all)`;
}

/** The reasoning of a prune to a size: what each layer lost, was expected to cost and saved, and what was measured. */
function sizedLines(sized: SizedReport): string[] {
  const rows = sized.layers.map((l) => [
    `L${l.layer}`,
    String(l.heads),
    String(l.groups),
    String(l.neurons),
    count(l.savedParameters),
    fixed(l.expected.attention, 4),
    fixed(l.expected.mlp, 4),
  ]);
  const head = ["layer", "heads", "groups", "neurons", "parameters saved", "expected loss: heads", "neurons"];
  const rounds = sized.rounds.map((r, i) => {
    const fitted = r.fitted ? `, ${fixed(r.fitted.perplexity, 2)} fitted (KL ${fixed(r.fitted.kl, 3)})` : "";
    const expected = fixed(r.expected.attention + r.expected.mlp, 3);
    return `round ${i + 1}: ${count(r.parameters)} parameters, expected loss ${expected} nats; perplexity ${fixed(r.cut.perplexity, 2)} cut (KL ${fixed(r.cut.kl, 3)})${fitted}`;
  });
  return ["", table(head, rows), "", `held-out perplexity ${fixed(sized.basePerplexity, 2)} before`, ...rounds];
}
