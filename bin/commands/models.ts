/** @file `espalier import` and `espalier models`: checkpoints the workbench knows by id. */

import { parse, resolve } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import type { Command } from "commander";
import { EspalierError } from "../../lib/errors.ts";
import { byteSize } from "../../lib/number-text.ts";
import { apiError, type Client } from "../../server/api/client.ts";
import { clock } from "../environment.ts";
import { count, fixed, table } from "../numbers.ts";

import { progressLine } from "../progress.ts";
import { exists } from "../session.ts";
import { openWorkbenchSession } from "../workbench-session.ts";
import { printResult } from "./experiment-command.ts";

/** Asks the workbench that has the data; its refusals keep their codes. */
async function withClient<T>(use: (client: Client) => Promise<T>): Promise<T> {
  const session = await openWorkbenchSession({ computes: false });
  try {
    return await use(session.client);
  } catch (thrown) {
    throw apiError(thrown);
  } finally {
    await session.close();
  }
}

export function addModels(program: Command, signal: AbortSignal): void {
  program
    .command("import")
    .argument("<source>", "a checkpoint folder, a .gguf file, or the id of a Hugging Face repository")
    .option("--as <id>", "the id to keep it under; default: the name of the folder or file, or the repository's id")
    .option("--revision <name>", "branch, tag or commit of the repository", "main")
    .option("--json", "Print one JSON object on standard output and nothing else")
    .description("Check a checkpoint and import it under an id")
    .addHelpText(
      "after",
      "\nExamples:\n  espalier import ./my-model --as mine\n  espalier import ./SmolLM2-135M-Q4_1.gguf\n  espalier import HuggingFaceTB/SmolLM2-135M",
    )
    .action(async (source: string, options: { as?: string; revision: string; json?: boolean }) => {
      const isLocal = await exists(source);
      const name = isLocal ? parse(resolve(source.replace(/\.gguf$/i, ""))).base : source.replaceAll("/", "--");
      const id = options.as ?? name ?? source;
      const model = await withClient(async (client) => {
        if (isLocal) return client.models.import.mutate({ source: resolve(source), as: id });
        await client.models.importFromHub.mutate({ repository: source, revision: options.revision, as: id });
        await followImport(client, id, signal);
        return (await client.models.get.query({ id })).model;
      });
      printResult(
        options,
        () =>
          [
            `${model.id} is ready: espalier evaluate ${model.id} --text …`,
            ...(model.note ? [`note: ${model.note}`] : []),
          ].join("\n"),
        () => ({
          id: model.id,
          hash: model.hash,
          parameters: model.facts.parameters,
          sizeBytes: model.sizeBytes,
          note: model.note,
        }),
      );
    });

  program
    .command("models")
    .option("--json", "Print one JSON object on standard output and nothing else")
    .option("--remove <id>", "remove a model from the list; its runs and the models made from it stay")
    .description("List the imported models by id")
    .action(async (options: { json?: boolean; remove?: string }) => {
      const found = await withClient(async (client) => {
        if (options.remove !== undefined) await client.models.update.mutate({ id: options.remove, archived: true });
        return (await client.models.list.query()).filter((m) => !m.archived);
      });
      const rows = found.map((m) => [
        m.id,
        m.facts.family,
        m.parentId ?? "imported",
        count(m.facts.parameters),
        byteSize(m.facts.weightBytes),
        fixed(m.facts.bitsPerWeight, 2),
        byteSize(m.sizeBytes),
      ]);
      printResult(
        options,
        () => table(["model", "family", "made from", "parameters", "weights", "bits per weight", "on disk"], rows),
        () => ({
          models: found.map(({ id, hash, parentId, sizeBytes, facts }) => ({
            id,
            hash,
            parentId,
            family: facts.family,
            parameters: facts.parameters,
            sizeBytes,
            weightBytes: facts.weightBytes,
            bitsPerWeight: facts.bitsPerWeight,
          })),
        }),
      );
    });
}

const LOOK_MS = 500;

/** A bar until it is ready. Throws what the import ended with; cancels it when the command is interrupted. */
async function followImport(client: Client, id: string, signal: AbortSignal): Promise<void> {
  const { stderr } = process;
  const line = progressLine(
    { isTerminal: stderr.isTTY ?? false, columns: stderr.columns ?? 100, write: (text) => stderr.write(text) },
    clock,
  );
  try {
    for (;;) {
      if (signal.aborted) {
        await client.models.cancelImport.mutate({ as: id });
        throw new EspalierError("run/cancelled", "cancelled");
      }
      const at = (await client.models.imports.query()).find((i) => i.as === id);
      if (!at || at.state === "failed" || at.state === "cancelled")
        throw new EspalierError("model/missing-file", at?.error ?? `the import of ${id} ended`);
      if (at.state === "ready") return;
      line.report({
        done: at.doneBytes,
        total: Math.max(1, at.totalBytes),
        label: `${byteSize(at.doneBytes)} of ${byteSize(at.totalBytes)}`,
      });
      await wait(LOOK_MS);
    }
  } finally {
    line.clear();
  }
}
