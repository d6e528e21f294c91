/** @file The artifact store on a disk: `ab/abcdef…`, written under another name first, read-only once there. */
import { createHash, randomUUID } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { chmod, copyFile, link, mkdir, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { EspalierError, toEspalierError } from "../../lib/errors.ts";
import { type ArtifactStore, checkDigest } from "./store.ts";

export function diskStore(folder: string): ArtifactStore {
  const pathOf = (sha256: string): string => join(folder, checkDigest(sha256).slice(0, 2), sha256);
  const has = async (sha256: string): Promise<boolean> => (await stat(pathOf(sha256)).catch(() => null)) !== null;
  return {
    has,
    async put(source) {
      const partial = join(folder, `.${randomUUID()}.partial`);
      try {
        await mkdir(folder, { recursive: true });
        const hash = createHash("sha256");
        let sizeBytes = 0;
        const input: AsyncIterable<Uint8Array> = "path" in source ? createReadStream(source.path) : source;
        await pipeline(
          async function* () {
            for await (const chunk of input) {
              hash.update(chunk);
              sizeBytes += chunk.byteLength;
              yield chunk;
            }
          },
          createWriteStream(partial, { flush: true }),
        );
        const sha256 = hash.digest("hex");
        const path = pathOf(sha256);
        if (await has(sha256)) await rm(partial);
        else {
          await mkdir(dirname(path), { recursive: true });
          await chmod(partial, 0o444);
          await rename(partial, path);
        }
        return { sha256, sizeBytes };
      } catch (thrown) {
        await rm(partial, { force: true }).catch(() => undefined);
        throw toEspalierError(thrown);
      }
    },
    async read(sha256): Promise<Readable> {
      const path = pathOf(sha256);
      if (!(await has(sha256))) throw new EspalierError("store/io", `the artifact ${sha256} is not in ${folder}`);
      return createReadStream(path);
    },
    async fetchTo(sha256, path) {
      if (!(await has(sha256))) throw new EspalierError("store/io", `the artifact ${sha256} is not in ${folder}`);
      const partial = `${path}.${randomUUID()}.partial`;
      try {
        await mkdir(dirname(path), { recursive: true });
        // Artifacts never change, so a second name for the same bytes is as good as a copy.
        await link(pathOf(sha256), partial).catch(() => copyFile(pathOf(sha256), partial));
        await rename(partial, path);
      } catch (thrown) {
        await rm(partial, { force: true }).catch(() => undefined);
        throw toEspalierError(thrown);
      }
    },
  };
}
