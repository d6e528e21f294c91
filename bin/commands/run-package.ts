/** @file `espalier run-package`: text from a package without its checkpoint, executed here. */
import { basename, dirname, join } from "node:path";
import type { Command } from "commander";
import { z } from "zod";
import { generate } from "../../lib/decoder/generate.ts";
import { openPackage } from "../../lib/decoder/opened-package.ts";
import { firstOverflow, overflowError } from "../../lib/decoder/overflow.ts";
import type { PackageInterface } from "../../lib/decoder/package-interface.ts";
import { EspalierError } from "../../lib/errors.ts";
import { type PromptCodec, promptAfter } from "../../lib/eval/text-codec.ts";
import { folderFiles } from "../../lib/files/named-files.ts";
import { isFunctionSet } from "../../lib/formats/coreml/function-set.ts";
import { noPackage } from "../../lib/formats/coreml/mistaken-package.ts";
import { isPipeline } from "../../lib/formats/coreml/package-pipeline.ts";
import { loadTokenizer, type Tokenizer } from "../../lib/tokenizer/tokenizer.ts";
import { addFlags, parseFlags } from "../flags.ts";
import { packageAt, tokenizerBeside } from "../named-package.ts";
import { exists } from "../session.ts";
import { addCommonFlags, printResult, withSession } from "./experiment-command.ts";

const runPackageConfig = z.object({
  prompt: z.string().default("").describe("Text to continue; default: start a new text"),
  maxTokens: z.number().int().positive().default(64).describe("Maximum number of new tokens"),
  tokenizer: z.string().optional().describe("Folder with tokenizer.json; default: `tokenizer` beside the package"),
  precision: z
    .enum(["fp16", "fp32"])
    .default("fp16")
    .describe("fp16: round every result as a device does; fp32: no rounding"),
  ignoreEos: z.boolean().default(false).describe("Continue after the end token"),
});

export function addRunPackage(program: Command, signal: AbortSignal): void {
  const command = program
    .command("run-package")
    .argument("<package>", "an .mlpackage, a folder of packages, or the folder that `export` wrote")
    .description("Execute a Core ML package here and continue a text with it");
  addFlags(command, runPackageConfig);
  addCommonFlags(command).addHelpText(
    "after",
    "\nExample:\n  espalier run-package package/Model.mlpackage --prompt 'Once upon a time'",
  );
  command.action(async (named: string) => {
    const path = await packageAt(named);
    const isThere =
      (await exists(join(path, "Manifest.json"))) || (await isPipeline(path)) || (await isFunctionSet(path));
    if (!isThere) throw await noPackage(path);
    const given: Record<string, unknown> = command.opts();
    const config = parseFlags(runPackageConfig, given);
    const asked = config.tokenizer ?? (await tokenizerBeside(path));
    const folder = basename(asked) === "tokenizer.json" ? dirname(asked) : asked;
    if (!(await exists(join(folder, "tokenizer.json")))) {
      throw new EspalierError("model/missing-file", `there is no tokenizer.json in ${folder}`, {
        hint: "Give the folder of the tokenizer as --tokenizer.",
      });
    }
    await withSession(given, signal, async (session) => {
      const tokenizer = await loadTokenizer(folderFiles(folder));
      const model = await openPackage(session.engine, path, config.precision === "fp16" ? "round" : "widen");
      const drive = drivenBy(model.interface, tokenizer);
      const encode: PromptCodec["encode"] = (text, options) => tokenizer.encode(text, options);
      const prompt = promptAfter({ encode, startId: drive.startId }, drive.begin, config.prompt);
      const started = session.clock.nowMs();
      const said: number[] = [];
      const ids = await generate(model, prompt, {
        maxTokens: config.maxTokens,
        eosIds: config.ignoreEos ? [] : drive.stop,
        signal,
        onToken: (id) => said.push(id),
      }).catch(async (thrown: unknown) => {
        throw await overflowError(thrown, () => firstOverflow(session.engine, path, [...prompt, ...said], signal));
      });
      const tokensPerSecond = (prompt.length + ids.length) / ((session.clock.nowMs() - started) / 1000);
      const text = tokenizer.decodeAfter(prompt, ids);
      printResult(
        { json: given.json === true },
        () => config.prompt + text,
        () => ({ text, prompt: config.prompt, tokens: ids, tokensPerSecond }),
      );
    });
  });
}

interface Drive {
  readonly begin: readonly number[];
  readonly startId: number | null;
  readonly stop: readonly number[];
}

/** Which tokens begin and end a text: the package's own word; the tokenizer's for packages without an interface. */
function drivenBy(own: PackageInterface | null, tokenizer: Tokenizer): Drive {
  if (!own) return { begin: tokenizer.addedTokens("auto").begin, startId: tokenizer.startId, stop: tokenizer.eosIds };
  const { beginToken, startToken, stopTokens } = own;
  return {
    begin: beginToken === null ? [] : [beginToken],
    startId: startToken ?? tokenizer.startId,
    stop: stopTokens,
  };
}
