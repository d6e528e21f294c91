/** @file A package as a person names it: an .mlpackage, a folder of packages, or the folder that `export` wrote. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { cardSchema, type ExportCard } from "../experiments/kinds/export/card.ts";
import { isFunctionSet } from "../lib/formats/coreml/function-set.ts";
import { isPipeline } from "../lib/formats/coreml/package-pipeline.ts";
import { exists } from "./session.ts";

const cardFile = z.object({ file: z.string().regex(/^[\w.-]+$/) });

/** The package a path means; the path itself where it is none of these, so that whoever reads it says what is wrong. */
export async function packageAt(path: string): Promise<string> {
  if (await isPackage(path)) return path;
  const text = await readFile(join(path, "card.json"), "utf8").catch(() => null);
  if (text === null) return path;
  let card: unknown;
  try {
    card = JSON.parse(text);
  } catch {
    return path;
  }
  const parsed = cardFile.safeParse(card);
  return parsed.success ? join(path, parsed.data.file) : path;
}

/** What the card beside a package says of it: whether it computes what its model computes, and whether that model is good. */
export type Readiness = Pick<ExportCard, "faithful" | "good">;

/** Null when there is no card next to the package. */
export async function readinessBeside(path: string): Promise<Readiness | null> {
  const text = await readFile(join(path, "..", "card.json"), "utf8").catch(() => null);
  if (text === null) return null;
  try {
    const { faithful, good } = cardSchema.parse(JSON.parse(text));
    return { faithful, good };
  } catch {
    return null;
  }
}

export const isPackage = async (path: string): Promise<boolean> =>
  path.replace(/\/$/, "").endsWith(".mlpackage") || (await isPipeline(path)) || (await isFunctionSet(path));

/** The tokenizer that travels with a package, or with the folder of packages it is one of. */
export async function tokenizerBeside(path: string): Promise<string> {
  const near = join(path, "..", "tokenizer");
  const further = join(path, "..", "..", "tokenizer");
  return !(await exists(join(near, "tokenizer.json"))) && (await exists(join(further, "tokenizer.json")))
    ? further
    : near;
}
