/**
 * @file Folders in the artifact store: each file under its own digest, and a manifest that names them under the folder's.
 *
 * The manifest is the JSON of `[{path, sha256, sizeBytes}, …]`, sorted by path (UTF-16 order), so that the same files give the
 * same digest everywhere. Left out: empty folders, modes and times, and everything that begins with a dot (`.git`, `.cache`).
 */
import { lstat, readdir, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { z } from "zod";
import { EspalierError } from "../../lib/errors.ts";
import { withOutputDirectory } from "../../lib/files/atomic.ts";
import { type ArtifactStore, isDigest } from "./store.ts";

const maxManifestBytes = 32 << 20;

export interface ManifestFile {
  readonly path: string;
  readonly sha256: string;
  readonly sizeBytes: number;
}
export type Manifest = readonly ManifestFile[];

/** Printable segments between single slashes: no step upwards, nothing absolute, no drive, no backslash. */
const isSafe = (path: string): boolean =>
  path.length <= 1024 &&
  !/[\\\p{Cc}]/u.test(path) &&
  !/^[A-Za-z]:/.test(path) &&
  path.split("/").every((part) => part !== "" && part !== "." && part !== "..");

const manifestSchema = z.array(
  z.strictObject({
    path: z.string().refine(isSafe),
    sha256: z.string().refine(isDigest),
    sizeBytes: z.int().min(0),
  }),
);

/**
 * Keeps a folder, or one file as a folder that holds it. `sizeBytes` is the sum over its files. Links to files are followed, as
 * in a Hugging Face cache; links to
 * folders and anything that is not a file throw `input/invalid`, a folder without files `input/empty`.
 */
export async function putDirectory(
  store: ArtifactStore,
  path: string,
): Promise<{ sha256: string; sizeBytes: number; files: Manifest }> {
  const isFile = (await stat(path)).isFile();
  const folder = isFile ? dirname(path) : path;
  const names = isFile ? [basename(path)] : await filesBelow(folder, "");
  const files: ManifestFile[] = [];
  for (const name of names.sort()) files.push({ path: name, ...(await store.put({ path: join(folder, name) })) });
  if (files.length === 0) throw new EspalierError("input/empty", `${folder} holds no files`);
  const json = JSON.stringify(files.map(({ path, sha256, sizeBytes }) => ({ path, sha256, sizeBytes })));
  const { sha256 } = await store.put(once(new TextEncoder().encode(json)));
  return { sha256, sizeBytes: files.reduce((sum, f) => sum + f.sizeBytes, 0), files };
}

async function filesBelow(root: string, below: string): Promise<string[]> {
  const found: string[] = [];
  for (const entry of await readdir(join(root, below), { withFileTypes: true })) {
    if (entry.name.startsWith(".")) continue;
    const path = below === "" ? entry.name : `${below}/${entry.name}`;
    if (entry.isDirectory()) found.push(...(await filesBelow(root, path)));
    else if ((await stat(join(root, path))).isFile() && isSafe(path)) found.push(path);
    else
      throw new EspalierError("input/invalid", `${join(root, path)} cannot be stored: it is not a plain file`, {
        hint: "Put files and folders there, not links to folders, devices or names with control characters.",
      });
  }
  return found;
}

async function* once(data: Uint8Array): AsyncGenerator<Uint8Array> {
  yield data;
}

/** Throws `format/malformed` when the artifact is not a manifest, or names paths outside its folder. */
export async function readManifest(store: ArtifactStore, sha256: string): Promise<Manifest> {
  const malformed = (reason: string, cause?: unknown): EspalierError =>
    new EspalierError("format/malformed", `the artifact ${sha256} is not a folder: ${reason}`, { cause });
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of await store.read(sha256)) {
    length += chunk.length;
    if (length > maxManifestBytes) throw malformed(`it is larger than ${maxManifestBytes} bytes`);
    parts.push(chunk);
  }
  let json: unknown;
  try {
    json = JSON.parse(Buffer.concat(parts).toString("utf8"));
  } catch (thrown) {
    throw malformed("it is not JSON", thrown);
  }
  const { success, data, error } = manifestSchema.safeParse(json);
  if (!success)
    throw malformed(error.issues[0]?.path.join(".") ?? "it does not have the form of a folder listing", error);
  if (new Set(data.map((f) => f.path)).size !== data.length) throw malformed("it names a file twice");
  return data;
}

const underWay = new Map<string, Promise<void>>();

/**
 * The folder at `target`, whole or not at all. Its files are read-only and may share their bytes with the store: never write
 * into them. Does nothing when exactly those files are there; throws `store/exists` when other ones are.
 */
export function materializeDirectory(store: ArtifactStore, sha256: string, target: string): Promise<void> {
  // Two runs of one process that want the same checkpoint fetch it once.
  const key = `${sha256} ${resolve(target)}`;
  const running = underWay.get(key);
  if (running) return running;
  const started = materialize(store, sha256, target).finally(() => underWay.delete(key));
  underWay.set(key, started);
  return started;
}

async function materialize(store: ArtifactStore, sha256: string, target: string): Promise<void> {
  const files = await readManifest(store, sha256);
  if (await holds(target, files)) return;
  try {
    await withOutputDirectory(target, async (partial) => {
      for (const f of files) await store.fetchTo(f.sha256, join(partial, f.path), { readOnly: true });
    });
  } catch (thrown) {
    // Another process may have brought the same folder meanwhile.
    if (thrown instanceof EspalierError && thrown.code === "store/exists" && (await holds(target, files))) return;
    throw thrown;
  }
}

/** Whether exactly these files, by name and size, are there. */
async function holds(folder: string, files: Manifest): Promise<boolean> {
  if (!(await lstat(folder).catch(() => null))?.isDirectory()) return false;
  const entries = await readdir(folder, { withFileTypes: true, recursive: true });
  if (entries.filter((e) => !e.isDirectory()).length !== files.length) return false;
  for (const { path, sizeBytes } of files) {
    const there = await lstat(join(folder, path)).catch(() => null);
    if (!there?.isFile() || there.size !== sizeBytes) return false;
  }
  return true;
}
