/** @file `espalier import` and `espalier models`: checkpoints known by id. */
import { cp, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Command } from "commander";
import { parameterCount } from "../../lib/decoder/weights.ts";
import { EspalierError, toEspalierError } from "../../lib/errors.ts";
import { withOutputDirectory } from "../../lib/files/atomic.ts";
import { openCheckpoint } from "../../lib/formats/hugging-face/checkpoint.ts";
import { bytes, count, table } from "../numbers.ts";
import { dataDirectory, exists, starterDirectory } from "../session.ts";
import { printResult } from "./experiment-command.ts";

/** Everything of a hub repository that a decoder needs. */
const wanted =
  /^(config|generation_config|tokenizer|tokenizer_config|special_tokens_map)\.json$|\.safetensors$|\.safetensors\.index\.json$/;

export function addModels(program: Command, signal: AbortSignal): void {
  program
    .command("import")
    .argument("<source>", "a checkpoint folder, or the id of a Hugging Face repository")
    .option("--as <id>", "the id to keep it under; default: the folder's name or the repository's id")
    .option("--revision <name>", "branch, tag or commit of the repository", "main")
    .option("--replace", "overwrite a model of the same id")
    .option("--json", "Print one JSON object on standard output and nothing else")
    .description("Take a checkpoint in, checked, under an id")
    .addHelpText(
      "after",
      "\nExamples:\n  espalier import ./my-model --as mine\n  espalier import HuggingFaceTB/SmolLM2-135M",
    )
    .action(async (source: string, options: { as?: string; revision: string; replace?: boolean; json?: boolean }) => {
      const local = await exists(join(source, "config.json"));
      const id = (options.as ?? (local ? (source.replace(/\/+$/, "").split("/").at(-1) ?? source) : source)).replaceAll(
        "/",
        "--",
      );
      if (!/^[\w][\w.-]*$/.test(id))
        throw new EspalierError("input/invalid", `"${id}" is no id`, {
          hint: "Use letters, digits, dots, dashes and underscores.",
        });
      const target = join(dataDirectory(), "models", id);
      await withOutputDirectory(
        target,
        async (folder) => {
          if (local) {
            for (const name of await readdir(source))
              if (wanted.test(name)) await cp(join(source, name), join(folder, name));
          } else await download(source, options.revision, folder, signal);
          const checkpoint = await openCheckpoint(folder);
          await checkpoint.close();
        },
        { replace: options.replace ?? false },
      );
      printResult(
        options,
        () => `${id} is ready: espalier evaluate ${id} --text …`,
        () => ({ id, directory: target }),
      );
    });

  program
    .command("models")
    .option("--json", "Print one JSON object on standard output and nothing else")
    .option("--remove <id>", "remove an imported model")
    .description("List the models that are known by id")
    .action(async (options: { json?: boolean; remove?: string }) => {
      const root = join(dataDirectory(), "models");
      if (options.remove !== undefined) {
        if (!/^[\w][\w.-]*$/.test(options.remove) || !(await exists(join(root, options.remove)))) {
          throw new EspalierError("model/missing-file", `there is no model "${options.remove}"`, {
            hint: "`espalier models` lists them.",
          });
        }
        await rm(join(root, options.remove), { recursive: true });
      }
      const ids = (await readdir(root).catch(() => [])).filter((n) => !n.startsWith("."));
      const found: {
        id: string;
        family: string;
        parameters: number;
        sizeBytes: number;
        directory: string;
        error: string | null;
      }[] = [];
      for (const [id, directory] of [["starter", starterDirectory], ...ids.map((i) => [i, join(root, i)])] as [
        string,
        string,
      ][]) {
        try {
          const checkpoint = await openCheckpoint(directory);
          found.push({
            id,
            family: checkpoint.architecture.family,
            parameters: parameterCount(checkpoint.architecture),
            sizeBytes: checkpoint.sizeBytes,
            directory,
            error: null,
          });
          await checkpoint.close();
        } catch (thrown) {
          found.push({
            id,
            family: "",
            parameters: 0,
            sizeBytes: 0,
            directory,
            error: toEspalierError(thrown).message,
          });
        }
      }
      const rows = found.map((m) =>
        m.error
          ? [m.id, `cannot be read: ${m.error}`, "", ""]
          : [m.id, m.family, count(m.parameters), bytes(m.sizeBytes)],
      );
      printResult(
        options,
        () => table(["model", "family", "parameters", "size"], rows),
        () => ({ models: found }),
      );
    });
}

async function download(repository: string, revision: string, folder: string, signal: AbortSignal): Promise<void> {
  if (!/^[\w.-]+(\/[\w.-]+)?$/.test(repository)) {
    throw new EspalierError(
      "model/missing-file",
      `${repository} is neither a folder with a config.json nor the id of a repository`,
    );
  }
  const { downloadFromHub } = await import("../../lib/formats/hugging-face/hub.ts");
  await downloadFromHub(repository, folder, {
    revision,
    signal,
    wanted: (path) => wanted.test(path),
    log: (line) => process.stderr.write(`${line}\n`),
  });
}
