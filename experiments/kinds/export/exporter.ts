/**
 * @file The definition of a target: how a model is refused, written, verified and described for it.
 *
 * Export, cards, pages and the command line know targets only through this. A target is one exporter, its kind of card (`card.ts`)
 * and its entry in `exporters.ts`; the compiler names every place that has to tell cards apart.
 */
import { mkdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { withOutputDirectory } from "../../../lib/files/atomic.ts";
import type { NamedFiles } from "../../../lib/files/named-files.ts";
import { wholeTokenizer } from "../../../lib/tokenizer/added-tokens.ts";
import type { MakerContext, ModelShape, OutputFolder } from "../../definition.ts";
import type { ModelFiles } from "../../model-session.ts";
import { version } from "../../version.ts";
import type { ExportCard } from "./card.ts";
import type { ExportConfig } from "./config.ts";
import type { PackageContents } from "./contents.ts";

export interface ExportRequest {
  readonly config: ExportConfig;
  readonly model: ModelFiles;
  readonly context: MakerContext;
  /** Where everything is written; it gets its name when all is done. */
  readonly folder: string;
  readonly provenance: ExportCard["provenance"];
}

export interface Exporter<Written extends { readonly path: string }, Verified, Card extends ExportCard> {
  readonly id: Card["to"];
  /** Before any work, refuses exports that are impossible for the config and the shape of the
   * model; null for a model that does not exist yet. */
  check(config: ExportConfig, shape: ModelShape | null): void;
  /** Writes the package at `path`, under a name that says it is not checked. Throws `export/unsupported`. */
  write(request: ExportRequest): Promise<Written>;
  /** Reads back and runs the written files alone. Throws `export/parity` for a result that must not
   * be kept. */
  verify(written: Written, request: ExportRequest): Promise<Verified>;
  card(written: Written, verified: Verified, request: ExportRequest): Promise<Card>;
  /** What else travels with the package. */
  beside?(written: Written, card: Card, request: ExportRequest): Promise<void>;
  /** What a package holds, for its page. */
  contents(path: string): Promise<PackageContents>;
  /** SHA-256 by which reports find their package. */
  hash(path: string): Promise<string>;
}

/** Writes a complete folder or nothing: the package under its name and verdict, `card.json`, the
 * tokenizer and accompanying files. */
export async function exportTo<Written extends { readonly path: string }, Verified, Card extends ExportCard>(
  exporter: Exporter<Written, Verified, Card>,
  given: Omit<ExportRequest, "folder" | "provenance">,
  output: OutputFolder,
): Promise<Card> {
  const { config, model, context } = given;
  const provenance = {
    model: config.model,
    modelHash: model.hash,
    engine: context.engine.description,
    espalier: version,
  };
  return withOutputDirectory(
    output.path,
    async (folder) => {
      const request = { ...given, folder, provenance };
      const written = await exporter.write(request);
      const verified = await exporter.verify(written, request);
      const card = await exporter.card(written, verified, request);
      await writeFile(join(folder, "card.json"), `${JSON.stringify(card, null, 2)}\n`);
      await mkdir(join(folder, "tokenizer"));
      await writeTokenizer(model.checkpoint, join(folder, "tokenizer"));
      await exporter.beside?.(written, card, request);
      await rename(written.path, join(folder, card.file));
      return card;
    },
    { marked: true, replace: output.replace },
  );
}

/** The files of the tokenizer beside a package. What reads it there may read `tokenizer.json` alone, so that has every added token. */
async function writeTokenizer(files: NamedFiles, folder: string): Promise<void> {
  for (const name of ["tokenizer.json", "tokenizer_config.json"]) {
    const content = await files.file(name);
    if (content) await writeFile(join(folder, name), content);
  }
  const whole = await wholeTokenizer(files);
  if (whole?.completed) await writeFile(join(folder, "tokenizer.json"), `${JSON.stringify(whole.tokenizer)}\n`);
}
