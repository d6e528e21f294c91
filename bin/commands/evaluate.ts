/** @file `espalier evaluate`. */
import type { Command } from "commander";
import { evaluate } from "../../experiments/kinds/evaluate/evaluate.ts";
import { count, fixed, percent, withError } from "../numbers.ts";
import { addExperimentCommand } from "./experiment-command.ts";

export function addEvaluate(program: Command, signal: AbortSignal): void {
  addExperimentCommand(program, signal, {
    verb: "evaluate",
    summary: "Measure perplexity, bits per byte, divergence from a base model, and multiple-choice questions",
    example: "espalier evaluate starter --text stories.txt --separator '<|endoftext|>' --limit 60 --context 512",
    positional: ["model"],
    experiment: evaluate,
    print: (s) => {
      const lines: string[] = [];
      if (s.protocol) lines.push(s.protocol);
      if (s.text) {
        const { perplexity, basePerplexity } = s.text;
        const beside =
          basePerplexity === null
            ? ""
            : `; the base ${fixed(basePerplexity, 3)}, so ${fixed(perplexity / basePerplexity, 4)} times`;
        lines.push(
          `perplexity       ${fixed(perplexity, 3)}${beside}`,
          `nats per token   ${withError(s.text.nllPerToken, s.text.standardError, 4)}`,
          `bits per byte    ${fixed(s.text.bitsPerByte, 4)}`,
        );
        if (s.text.kl)
          lines.push(`KL to the base   ${withError(s.text.kl.mean, s.text.kl.standardError, 5)} nats per token`);
        if (s.text.agreement)
          lines.push(`same top token   ${percent(s.text.agreement.mean)} ± ${percent(s.text.agreement.standardError)}`);
      }
      if (s.tasks) {
        lines.push(
          `questions right  ${percent(s.tasks.accuracy)} ± ${percent(s.tasks.standardError)} (${s.tasks.correct} of ${s.tasks.items})`,
        );
      }
      lines.push(`speed            ${count(s.tokensPerSecond)} tokens per second`);
      return lines.join("\n");
    },
    json: (s) => ({
      model: s.model,
      hash: s.hash,
      protocol: s.protocol,
      perplexity: s.text?.perplexity ?? null,
      basePerplexity: s.text?.basePerplexity ?? null,
      nllPerToken: s.text?.nllPerToken ?? null,
      standardError: s.text?.standardError ?? null,
      bitsPerByte: s.text?.bitsPerByte ?? null,
      tokens: s.text?.tokens ?? 0,
      sequences: s.text?.sequences ?? 0,
      kl: s.text?.kl ?? null,
      agreement: s.text?.agreement ?? null,
      tasks: s.tasks
        ? {
            items: s.tasks.items,
            correct: s.tasks.correct,
            accuracy: s.tasks.accuracy,
            standardError: s.tasks.standardError,
          }
        : null,
      tokensPerSecond: s.tokensPerSecond,
    }),
  });
}
