/** @file What the verbs that run an experiment share: flags from its schema, a session, printing. */
import type { Command } from "commander";
import { z } from "zod";
import { type Experiment, runExperiment } from "../../experiments/definition.ts";
import { defaultEngine, type EngineName, engineNamed, engineNames } from "../../lib/engines/create.ts";
import { EspalierError } from "../../lib/errors.ts";
import { addFlags, parseFlags } from "../flags.ts";
import { checkOutputs } from "../output-check.ts";
import { type CommandSession, openSession } from "../session.ts";

export interface CommonOptions {
  json?: boolean;
  engine?: EngineName;
  threads?: number;
  fresh?: boolean;
}

export const engineHelp = `What computes (${engineNames.join(", ")}) [default: ESPALIER_ENGINE, or ${defaultEngine}]`;

/** The engine that was asked for, if one was. Throws `input/invalid`. */
export const engineFlag = (given: unknown): EngineName | undefined =>
  given === undefined ? undefined : engineNamed(String(given), "--engine");

/** `--json`, `--engine`, `--threads`: the same everywhere. */
export function addCommonFlags(command: Command): Command {
  return command
    .option("--json", "Print one JSON object on standard output and nothing else")
    .option("--engine <name>", engineHelp)
    .option("--threads <integer>", "Threads for the engine [default: all cores]")
    .option("--fresh", "Measure again what is already stored");
}

/** The common options of what commander parsed; throws `input/invalid`. */
export function commonOptions(given: Record<string, unknown>): CommonOptions {
  const engine = engineFlag(given.engine);
  const threads = given.threads === undefined ? undefined : Number(given.threads);
  if (threads !== undefined && !(Number.isInteger(threads) && threads >= 1 && threads <= 256)) {
    throw new EspalierError(
      "input/invalid",
      `--threads must be an integer from 1 to 256, found ${String(given.threads)}`,
    );
  }
  return {
    json: given.json === true,
    fresh: given.fresh === true,
    ...(engine ? { engine } : {}),
    ...(threads === undefined ? {} : { threads }),
  };
}

export interface ExperimentCommand<C, S> {
  readonly verb: string;
  readonly summary: string;
  readonly example: string;
  /** Config properties given by position, in order. */
  readonly positional: readonly string[];
  readonly experiment: Experiment<C, S>;
  /** What goes to standard output without --json. */
  print(summary: S, config: C): string;
  /** What goes to standard output with --json. */
  json(summary: S, config: C): unknown;
  /** What is wrong with a result that was nevertheless made: told after it, and the command fails. */
  failure?(summary: S, config: C): EspalierError | null;
}

export function addExperimentCommand<C, S>(
  program: Command,
  signal: AbortSignal,
  definition: ExperimentCommand<C, S>,
): void {
  const { verb, summary, example, positional, experiment } = definition;
  const command = program.command(verb).description(summary).addHelpText("after", `\nExample:\n  ${example}`);
  for (const name of positional) command.argument(`<${name}>`);
  addFlags(command, experiment.config, positional);
  addCommonFlags(command);
  command.action(async (...args: unknown[]) => {
    const given: Record<string, unknown> = { ...command.opts() };
    for (const [i, name] of positional.entries()) given[name] = args[i];
    const config = parseFlags(experiment.config as z.ZodType<C>, given);
    const options = commonOptions(given);
    checkOutputs(experiment.config, z.record(z.string(), z.unknown()).parse(config));
    const session = await openSession(options, signal);
    try {
      const result = await runExperiment(experiment, config, session);
      await session.close();
      printResult(
        options,
        () => definition.print(result, config),
        () => definition.json(result, config),
      );
      const failure = definition.failure?.(result, config);
      // The one object on standard output says it already.
      if (failure && options.json) process.stderr.write(`${failure.message}\n`);
      if (failure && options.json) process.exitCode = 1;
      else if (failure) throw failure;
    } finally {
      await session.close();
    }
  });
}

export function printResult(options: { json?: boolean | undefined }, text: () => string, json: () => unknown): void {
  process.stdout.write(options.json ? `${JSON.stringify(json())}\n` : `${text()}\n`);
}

/** Runs `body` in a session that is always closed afterwards. */
export async function withSession<T>(
  given: Record<string, unknown>,
  signal: AbortSignal,
  body: (session: CommandSession) => Promise<T>,
): Promise<T> {
  const session = await openSession(commonOptions(given), signal);
  try {
    return await body(session);
  } finally {
    await session.close();
  }
}
