/**
 * @file Finds the model at a path that a person gives: a Hugging Face folder, a `.gguf` file, a
 * folder that holds one, or a repository in the cache of `huggingface_hub`. For anything else the
 * error says what it is and what to give instead.
 *
 * Reference: the cache of huggingface_hub: `models--OWNER--NAME` holds `refs/main`, a commit, and `snapshots/COMMIT`, a folder of
 * links. Not included: other branches; give the path of their snapshot.
 */
import { readdir, readFile, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { EspalierError } from "../errors.ts";
import { openByteRanges } from "../files/byte-ranges.ts";
import { refuseMistakenFile } from "../files/mistaken-file.ts";

export interface Place {
  readonly kind: "folder" | "gguf";
  readonly path: string;
}

const isGguf = (name: string): boolean => /\.gguf$/i.test(name);

/** Whether `path` looks like a model, damaged or not. */
export async function holdsCheckpoint(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => null);
  if (!found) return false;
  if (!found.isDirectory()) return isGguf(path);
  const names = await readdir(path);
  return names.includes("config.json") || names.some(isGguf) || (await currentSnapshot(path, names)) !== null;
}

/** Throws `model/missing-file` and `format/unsupported`, which say what is there instead. */
export async function placeOf(path: string): Promise<Place> {
  const found = await stat(path).catch((cause: unknown) => {
    throw new EspalierError("model/missing-file", `there is nothing at ${path}`, { hint: "Check the path.", cause });
  });
  if (!found.isDirectory()) return isGguf(path) ? { kind: "gguf", path } : refuseFile(path);
  const names = await readdir(path);
  if (names.includes("config.json")) return { kind: "folder", path };
  const ggufs = names.filter(isGguf).sort();
  if (ggufs.length > 1) {
    throw new EspalierError("model/missing-file", `${path} holds ${ggufs.length} .gguf files: ${listed(ggufs)}`, {
      hint: "Name the one that is meant.",
    });
  }
  if (ggufs[0] !== undefined) return { kind: "gguf", path: join(path, ggufs[0]) };
  const snapshot = await currentSnapshot(path, names);
  if (snapshot !== null) return placeOf(snapshot);
  return refuseFolder(path, names);
}

/** The snapshot of a cached repository that `main` names, or the only one; null where there is none. */
async function currentSnapshot(path: string, names: readonly string[]): Promise<string | null> {
  if (!names.includes("snapshots")) return null;
  const snapshots = (await readdir(join(path, "snapshots")).catch(() => [])).filter((n) => !n.startsWith("."));
  const main = (await readFile(join(path, "refs", "main"), "utf8").catch(() => "")).trim();
  const chosen = snapshots.includes(main) ? main : snapshots.length === 1 ? snapshots[0] : undefined;
  if (chosen !== undefined) return join(path, "snapshots", chosen);
  if (snapshots.length === 0) return null;
  throw new EspalierError(
    "model/missing-file",
    `${path} is a cache of ${snapshots.length} snapshots, and refs/main names none`,
    {
      hint: `Give one of them: ${listed(snapshots.map((s) => join(path, "snapshots", s)))}.`,
    },
  );
}

async function refuseFile(path: string): Promise<never> {
  const file = await openByteRanges(path);
  let first: Uint8Array;
  try {
    first = await file.read(0, Math.min(64, file.sizeBytes));
  } finally {
    await file.close();
  }
  const name = basename(path);
  if (!archive.test(name)) refuseMistakenFile(path, first, name.endsWith(".safetensors") ? "safetensors" : null);
  const kind = fileKinds.find(([pattern]) => pattern.test(name));
  throw new EspalierError("format/unsupported", `${path} is ${kind?.[1] ?? "no model"}`, {
    hint:
      kind?.[2].replace("FOLDER", dirname(path)) ??
      "Give a .gguf file, or the folder that holds config.json and the safetensors files.",
  });
}

const archive = /\.(zip|tar|tgz|gz|xz|zst|7z)$/i;
const checkpointItself = "Give the checkpoint that it was made from: its folder, or a .gguf file.";
const fileKinds: readonly (readonly [RegExp, string, string])[] = [
  [
    /^config\.json$|\.safetensors$|\.safetensors\.index\.json$|^tokenizer.*\.json$/,
    "one file of a model",
    "Give its folder: FOLDER.",
  ],
  [archive, "an archive", "Unpack it and give the folder that holds config.json, or the .gguf file."],
  [/\.onnx$/i, "an ONNX model", checkpointItself],
  [/\.(mlmodel|mlmodelc)$/i, "a Core ML model", checkpointItself],
  [/\.(h5|msgpack|npz|tflite)$/i, "a model of another framework", checkpointItself],
];

async function refuseFolder(path: string, names: readonly string[]): Promise<never> {
  const fail = (what: string, hint: string): never => {
    throw new EspalierError("model/missing-file", `${path} ${what}`, { hint });
  };
  if (names.includes("adapter_config.json")) {
    return fail(
      "holds an adapter (LoRA), not a model",
      "Merge it into the model it was trained on (peft: merge_and_unload, then save_pretrained) and give that folder.",
    );
  }
  if (names.includes("Manifest.json") || /\.mlpackage\/?$/.test(path))
    return fail("is a Core ML package, not a checkpoint", "espalier inspect and run-package take packages.");
  if (names.includes("model_index.json"))
    return fail("holds a diffusion pipeline, not a language model", "Give the folder of a language model.");
  if (names.includes("params.json"))
    return fail("holds a model in the layout of its makers", "Take its transformers version, which has a config.json.");
  const below: string[] = [];
  for (const name of names.slice(0, 200))
    if (/^models--/.test(name) || (await holdsCheckpoint(join(path, name)).catch(() => true))) below.push(name);
  if (below.length > 0)
    return fail(
      `holds no model itself, but below it: ${listed(below)}`,
      `Name the one that is meant: ${join(path, below[0] ?? "")}.`,
    );
  if (names.includes("hub")) return placeOf(join(path, "hub")).then(() => fail("holds no model", "Check the path."));
  return fail(
    "holds neither a config.json nor a .gguf file",
    "Give the folder of a Hugging Face checkpoint, or a .gguf file.",
  );
}

const listed = (names: readonly string[]): string =>
  names.length > 5 ? `${names.slice(0, 5).join(", ")} …` : names.join(", ");
