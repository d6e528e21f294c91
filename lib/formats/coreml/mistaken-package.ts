/**
 * @file Identifies what is at a path that should be a package but is not, and says what to do about
 * it.
 */
import { open, readdir, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { EspalierError } from "../../errors.ts";

const unsupported = (message: string, hint: string): EspalierError =>
  new EspalierError("format/unsupported", message, { hint });

const THE_FOLDER = "A package is a folder whose name ends in .mlpackage, with a Manifest.json in it.";

/** Something of Core ML's that is no package; null for anything else. */
export async function coremlRelative(path: string): Promise<EspalierError | null> {
  const found = await stat(path).catch(() => null);
  if (found?.isFile() && /\.mlmodel$/i.test(path))
    return unsupported(
      `${path} is the model file of a package, without its weights`,
      "Give the .mlpackage folder that it lies in; a neural network of before iOS 15 is not read.",
    );
  if (found?.isFile() && /\.mlpackage(\.zip)?$/i.test(path))
    return unsupported(
      `${path} is a file`,
      (await isZip(path)) ? "It is an archive: unpack it and give the folder inside." : THE_FOLDER,
    );
  if (!found?.isDirectory()) return null;
  const names = await readdir(path);
  if (names.some((n) => n === "model.mil" || n === "coremldata.bin"))
    return unsupported(`${path} is a compiled model`, "Give the .mlpackage that it was compiled from.");
  const around = await packageAround(path);
  if (around) return unsupported(`${path} is the inside of a package`, `Give ${around}.`);
  return null;
}

/** The error for a path without a manifest. */
export async function noPackage(path: string): Promise<EspalierError> {
  const found = await stat(path).catch(() => null);
  if (found === null)
    return new EspalierError("model/missing-file", `there is nothing at ${path}`, { hint: "Check the path." });
  const relative = await coremlRelative(path);
  if (relative) return relative;
  if (found.isFile() && /\.gguf$/i.test(path))
    return unsupported(`${path} is a GGUF file, not a package`, `\`espalier generate ${path}\` runs it here.`);
  if (found.isFile()) return unsupported(`${path} is a file`, THE_FOLDER);
  const names = await readdir(path);
  const packages = names.filter((n) => n.endsWith(".mlpackage"));
  const hint = packages[0]
    ? `Give ${join(path, packages[0])}.`
    : names.includes("config.json")
      ? "It is a checkpoint: `espalier export` makes a package of it."
      : THE_FOLDER;
  return new EspalierError("model/missing-file", `${path} has no Manifest.json`, { hint });
}

async function isZip(path: string): Promise<boolean> {
  const file = await open(path);
  try {
    const { buffer } = await file.read({ buffer: Buffer.alloc(2), position: 0 });
    return buffer.toString("latin1") === "PK";
  } finally {
    await file.close();
  }
}

/** The package that a folder lies in, at most three levels above. */
async function packageAround(path: string): Promise<string | null> {
  let at = resolve(path);
  for (let level = 0; level < 4; level++) {
    at = dirname(at);
    if (/\.mlpackage$/i.test(basename(at)) && (await stat(join(at, "Manifest.json")).catch(() => null))) return at;
  }
  return null;
}
