/**
 * @file The `espalier` command: verbs, their help, one place for errors, cancellation and exit codes.
 *
 * Standard output carries the result and nothing else, as text or, with --json, as one JSON object. Exit codes: 0 done,
 * 1 failed, 2 bad input, 3 a file or checkpoint that cannot be read, 4 no room or no access, 130 cancelled.
 */
import { Command, CommanderError } from "commander";
import { type ErrorCode, toEspalierError } from "../lib/errors.ts";
import { cleanUpTemporaryOutput } from "../lib/files/atomic.ts";
import { addVerbs } from "./verbs.ts";

const cancel = new AbortController();

const exitCodes: [prefix: string, code: number][] = [
  ["run/cancelled", 130],
  ["input/", 2],
  ["prune/", 2],
  ["format/", 3],
  ["model/", 3],
  ["store/", 4],
];

export const exitCodeOf = (code: ErrorCode): number => exitCodes.find(([prefix]) => code.startsWith(prefix))?.[1] ?? 1;

async function buildProgram(verb: string | undefined): Promise<Command> {
  const program = new Command("espalier");
  program
    .description(
      "See what a transformer can live without, take it away, win the accuracy back, and ship it to an iPhone.",
    )
    .addHelpText(
      "after",
      `
Start here:
  espalier start                                       the workbench in the browser
  espalier demo                                        the whole job on the starter model
  espalier sensitivity starter --text a.txt            what each attention head is worth
  espalier prune starter --ratio 0.3 --text a.txt --out pruned
  espalier distill starter --student pruned --text b.txt --out distilled
  espalier quantize distilled --bits 4 --out small
  espalier export small --to coreml --out package

A model is a checkpoint folder (config.json and safetensors), a .gguf file, or an id from \`espalier models\`.`,
    )
    .exitOverride()
    .configureOutput({ writeErr: (text) => process.stderr.write(text) });
  await addVerbs(program, cancel.signal, verb);
  return program;
}

async function main(argv: string[]): Promise<number> {
  let interrupts = 0;
  process.on("SIGINT", () => {
    cancel.abort();
    interrupts++;
    // The first asks the work to stop between units; the second does not wait for it.
    if (interrupts > 1) {
      cleanUpTemporaryOutput();
      process.exit(130);
    }
  });
  // A supervisor stops a service with it, and gives it time to close its database.
  const serves = argv[0] === "start" || argv[0] === "worker";
  process.on("SIGTERM", () => {
    if (serves && !cancel.signal.aborted) return cancel.abort();
    cleanUpTemporaryOutput();
    process.exit(143);
  });
  try {
    await (await buildProgram(argv[0])).parseAsync(argv, { from: "user" });
    return Number(process.exitCode ?? 0);
  } catch (thrown) {
    if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? 0 : 2;
    cleanUpTemporaryOutput();
    const error = toEspalierError(thrown);
    if (argv.includes("--json")) {
      process.stdout.write(
        `${JSON.stringify({ error: { code: error.code, message: error.message, hint: error.hint ?? null } })}\n`,
      );
    }
    process.stderr.write(`error: ${error.message} [${error.code}]\n`);
    if (error.hint) process.stderr.write(`hint: ${error.hint}\n`);
    if (error.code.startsWith("internal/") && error.stack)
      process.stderr.write(`${(error.cause instanceof Error ? error.cause : error).stack}\n`);
    return exitCodeOf(error.code);
  }
}

process.exitCode = await main(process.argv.slice(2));
