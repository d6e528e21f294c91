/**
 * @file Folders in the artifact store: each file under its own digest, and a manifest that names them under the folder's.
 */
import { readdir, stat } from "node:fs/promises";
import { join, relative } from "node:path";
import { z } from "zod";
import { EspalierError } from "../../lib/errors.ts";
import { withOutputDirectory } from "../../lib/files/atomic.ts";
import type { ArtifactStore } from "./store.ts";

const manifest = z.array(
  z.object({ path: z.string().min(1).max(1024), sha256: z.string(), sizeBytes: z.number().int().min(0) }),
);
export type Manifest = z.infer<typeof manifest>;

/** No absolute path, no step upwards, no backslash. */
const isSafe = (path: string): boolean =>
  !path.startsWith("/") && !path.includes("\\") && path.split("/").every((p) => p !== "" && p !== "." && p !== "..");

export async function putDirectory(
  store: ArtifactStore,
  folder: string,
): Promise<{ sha256: string; sizeBytes: number; files: Manifest }> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries.filter((e) => e.isFile()).map((e) => relative(folder, join(e.parentPath, e.name)));
  const files: Manifest = [];
  for (const path of paths.sort()) files.push({ path, ...(await store.put({ path: join(folder, path) })) });
  const { sha256 } = await store.put(once(new TextEncoder().encode(JSON.stringify(files))));
  return { sha256, sizeBytes: files.reduce((n, f) => n + f.sizeBytes, 0), files };
}

async function* once(data: Uint8Array): AsyncGenerator<Uint8Array> {
  yield data;
}

/** Throws `format/malformed` for a manifest that leads out of its folder. */
export async function readManifest(store: ArtifactStore, sha256: string): Promise<Manifest> {
  const parts: Uint8Array[] = [];
  for await (const chunk of await store.read(sha256)) parts.push(chunk);
  const parsed = manifest.safeParse(JSON.parse(Buffer.concat(parts).toString("utf8")));
  if (!parsed.success || !parsed.data.every((f) => isSafe(f.path)))
    throw new EspalierError("format/malformed", `the artifact ${sha256} is no folder`);
  return parsed.data;
}

/** The folder at `target`, whole or not at all; nothing to do when it is there. */
export async function materializeDirectory(store: ArtifactStore, sha256: string, target: string): Promise<void> {
  if (await stat(target).catch(() => null)) return;
  const files = await readManifest(store, sha256);
  try {
    await withOutputDirectory(target, async (partial) => {
      for (const f of files) await store.fetchTo(f.sha256, join(partial, f.path));
    });
  } catch (thrown) {
    // Another process may have brought the same folder meanwhile.
    if (!(thrown instanceof EspalierError && thrown.code === "store/exists")) throw thrown;
  }
}
