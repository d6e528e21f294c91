/** @file `espalier delta` and `espalier patch`: an update of a package, a GGUF or a checkpoint that costs what changed. */
import type { Command } from "commander";
import { z } from "zod";
import { outputConfig } from "../../experiments/output.ts";
import { applyDelta } from "../../lib/delta/apply-delta.ts";
import { readKey } from "../../lib/delta/delta-file.ts";
import { writeDelta } from "../../lib/delta/write-delta.ts";
import { requireAbsent } from "../../lib/files/atomic.ts";
import { byteSize } from "../../lib/number-text.ts";
import { clock } from "../environment.ts";
import { addFlags, parseFlags } from "../flags.ts";
import { count, table } from "../numbers.ts";
import { checkOutputs } from "../output-check.ts";
import { progressLine } from "../progress.ts";
import { printResult } from "./experiment-command.ts";

const deltaConfig = z.object({
  old: z.string().describe("The package, file or folder that users have").meta({ role: "model" }),
  new: z.string().describe("What it shall become").meta({ role: "model" }),
  out: z.string().describe("File to write the delta to"),
  sign: z.string().optional().describe("Private Ed25519 key in PEM to sign it with"),
});

const patchConfig = z.object({
  old: z.string().describe("What the delta was made from").meta({ role: "model" }),
  delta: z.string().describe("The delta").meta({ role: "model" }),
  ...outputConfig("Folder or file to write the new one to"),
  trust: z.string().optional().describe("Public Ed25519 key in PEM; a delta that is not signed with it is refused"),
});

const progress = () =>
  progressLine(
    {
      isTerminal: process.stderr.isTTY ?? false,
      columns: process.stderr.columns ?? 100,
      write: (text: string) => process.stderr.write(text),
    },
    clock,
  );

export function addDelta(program: Command, signal: AbortSignal): void {
  const delta = program
    .command("delta")
    .argument("<old>", "the package, file or folder that users have")
    .argument("<new>", "what it shall become")
    .option("--json", "Print one JSON object on standard output and nothing else")
    .description("Write an update from one package, GGUF or checkpoint to another that costs what changed");
  addFlags(delta, deltaConfig, ["old", "new"]);
  delta.addHelpText(
    "after",
    "\nExample:\n  espalier delta v1/Model.mlpackage v2/Model.mlpackage --out v1-v2.delta --sign private.pem",
  );
  delta.action(async (old: string, next: string) => {
    const given: Record<string, unknown> = delta.opts();
    const config = parseFlags(deltaConfig, { ...given, old, new: next });
    requireAbsent(config.out);
    const line = progress();
    const made = await writeDelta(config.old, config.new, config.out, {
      signingKey: config.sign === undefined ? null : await readKey(config.sign, "private"),
      signal,
      onProgress: (done, total) => line.report({ done, total, label: "bytes read" }),
    }).finally(() => line.clear());
    printResult(
      { json: given.json === true },
      () =>
        [
          table(
            ["file", "bytes", "new bytes"],
            made.files
              .filter((f) => f.addedBytes > 0)
              .map((f) => [f.path || next, count(f.sizeBytes), count(f.addedBytes)]),
          ),
          "",
          `delta ${config.out}: ${byteSize(made.sizeBytes)}${config.sign ? ", signed" : ""}; the new one has ${byteSize(made.newBytes)}, ${byteSize(made.addedBytes)} of them new`,
        ].join("\n"),
      () => made,
    );
  });
  const patch = program
    .command("patch")
    .argument("<old>", "what the delta was made from")
    .argument("<delta>", "what `espalier delta` wrote")
    .option("--json", "Print one JSON object on standard output and nothing else")
    .description("Make the new package, GGUF or checkpoint from the old one and a delta");
  addFlags(patch, patchConfig, ["old", "delta"]);
  patch.addHelpText(
    "after",
    "\nExample:\n  espalier patch v1/Model.mlpackage v1-v2.delta --out v2/Model.mlpackage --trust public.pem",
  );
  patch.action(async (old: string, deltaPath: string) => {
    const given: Record<string, unknown> = patch.opts();
    const config = parseFlags(patchConfig, { ...given, old, delta: deltaPath });
    checkOutputs(patchConfig, config);
    const line = progress();
    const made = await applyDelta(config.old, config.delta, config.out, {
      trusted: config.trust === undefined ? null : await readKey(config.trust, "public"),
      replace: config.replace,
      signal,
      onProgress: (done, total) => line.report({ done, total, label: "bytes written" }),
    }).finally(() => line.clear());
    printResult(
      { json: given.json === true },
      () =>
        `${config.out}: ${byteSize(made.newBytes)} in ${made.files} ${made.files === 1 ? "file" : "files"}, every one with the SHA-256 that the delta says${made.isSigned ? "; the delta is signed" : ""}`,
      () => made,
    );
  });
}
