/** @file `espalier generate`. */
import type { Command } from "commander";
import { z } from "zod";
import { bosConfig } from "../../experiments/text.ts";
import { generate } from "../../lib/decoder/generate.ts";
import { stepModel } from "../../lib/decoder/step-model.ts";
import { promptIds } from "../../lib/eval/text-codec.ts";
import { createRng } from "../../lib/random.ts";
import { addFlags, parseFlags } from "../flags.ts";
import { addCommonFlags, printResult, withSession } from "./experiment-command.ts";

export const generateConfig = z.object({
  prompt: z.string().default("").describe("Text to continue; default: start a new text"),
  maxTokens: z.number().int().positive().default(128).describe("Maximum number of new tokens"),
  context: z
    .number()
    .int()
    .positive()
    .optional()
    .describe("Positions the cache holds; default: the model's maximum, at most 1024"),
  temperature: z.number().min(0).default(0).describe("0: greedy"),
  topP: z
    .number()
    .gt(0)
    .max(1)
    .default(1)
    .describe("Draw only from the most likely tokens that reach this probability"),
  seed: z.number().int().default(0).describe("Seed of the sampling"),
  ...bosConfig,
  ignoreEos: z.boolean().default(false).describe("Continue after the end token"),
});

export function addGenerate(program: Command, signal: AbortSignal): void {
  const command = program
    .command("generate")
    .argument("<model>")
    .description("Continue a text, greedily or by sampling");
  addFlags(command, generateConfig);
  addCommonFlags(command).addHelpText(
    "after",
    "\nExample:\n  espalier generate starter --prompt 'Once upon a time' --max-tokens 60",
  );
  command.action(async (reference: string) => {
    const given: Record<string, unknown> = command.opts();
    const config = parseFlags(generateConfig, given);
    await withSession(given, signal, async (session) => {
      const model = await session.models.open(reference);
      const { tokenizer, weights } = model;
      const prompt = promptIds(tokenizer, config.prompt, config.bos);
      const most = weights.arch.maxPositions;
      const context = Math.min(most, config.context ?? Math.min(1024, Math.max(64, prompt.length + config.maxTokens)));
      const steps = await stepModel(session.engine, weights, { context });
      const started = session.clock.nowMs();
      const ids = await generate(steps, prompt, {
        maxTokens: config.maxTokens,
        eosIds: config.ignoreEos ? [] : tokenizer.eosIds,
        sampling:
          config.temperature > 0
            ? { temperature: config.temperature, topP: config.topP, rng: createRng(config.seed, "generate") }
            : undefined,
        signal,
        onToken: (_) => session.onProgress?.({ done: 0, total: 0, label: "generating" }),
      });
      const tokensPerSecond = (ids.length + prompt.length) / ((session.clock.nowMs() - started) / 1000);
      await session.close();
      const text = tokenizer.decodeAfter(prompt, ids);
      printResult(
        { json: given.json === true },
        () => config.prompt + text,
        () => ({ text, prompt: config.prompt, tokens: ids, tokensPerSecond }),
      );
    });
  });
}
