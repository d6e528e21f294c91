/** @file Which artifact store an address means: none the data directory, `file:` a shared folder. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { EspalierError } from "../../lib/errors.ts";
import { diskStore } from "./disk.ts";
import type { ArtifactStore } from "./store.ts";

export async function openArtifactStore(
  url: string | undefined,
  options: { dataDirectory: string; token?: string | undefined },
): Promise<ArtifactStore> {
  if (url === undefined) return diskStore(join(options.dataDirectory, "artifacts"));
  if (url.startsWith("file://")) return diskStore(fileURLToPath(url));
  throw new EspalierError("input/invalid", `ARTIFACTS_URL: ${url.split(":")[0]} is no kind of store that is known`, {
    hint: "Use file:///a/shared/folder.",
  });
}
