/**
 * @file Downloads a checkpoint from the Hugging Face hub, with the hub's own library, loaded on
 * first use.
 *
 * Neither the demo nor any test needs a network; `fetch` can be passed in.
 */
import { createWriteStream } from "node:fs";
import { join } from "node:path";
import { Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { EspalierError } from "../errors.ts";
import { isCheckpointFile } from "./checkpoint-files.ts";

export interface HubOptions {
  readonly revision: string;
  readonly signal?: AbortSignal | undefined;
  readonly fetch?: typeof fetch | undefined;
  /** Bytes received so far, over all files. */
  readonly onBytes?: ((doneBytes: number) => void) | undefined;
}

export interface HubFile {
  readonly path: string;
  readonly sizeBytes: number;
}

const repositoryOf = (repository: string, options: HubOptions) => ({
  repo: repository,
  revision: options.revision,
  ...(options.fetch ? { fetch: options.fetch } : {}),
});

/** The files of a checkpoint there. Throws `model/missing-file` when the repository cannot be reached or holds none. */
export async function hubFiles(repository: string, options: HubOptions): Promise<HubFile[]> {
  const hub = await import("@huggingface/hub");
  const files: HubFile[] = [];
  let holdsGguf = false;
  try {
    for await (const entry of hub.listFiles({ ...repositoryOf(repository, options), recursive: false })) {
      options.signal?.throwIfAborted();
      holdsGguf ||= entry.path.endsWith(".gguf");
      if (entry.type === "file" && isCheckpointFile(entry.path))
        files.push({ path: entry.path, sizeBytes: entry.size });
    }
  } catch (cause) {
    throw unreachable(repository, options, cause);
  }
  if (!files.some((f) => f.path === "config.json")) {
    throw new EspalierError("model/missing-file", `${repository} holds no config.json`, {
      hint: holdsGguf
        ? "Download one of its .gguf files and import that file."
        : "Of the hub, transformers checkpoints in safetensors are taken.",
    });
  }
  return files;
}

/** Fetches into `folder`. Throws `model/missing-file`. */
export async function downloadFromHub(repository: string, folder: string, options: HubOptions): Promise<HubFile[]> {
  const files = await hubFiles(repository, options);
  const hub = await import("@huggingface/hub");
  let doneBytes = 0;
  try {
    for (const { path } of files) {
      options.signal?.throwIfAborted();
      const blob = await hub.downloadFile({ ...repositoryOf(repository, options), path });
      if (!blob) throw new Error(`${path} cannot be downloaded`);
      const counted = new Transform({
        transform(chunk: Buffer, _encoding, done) {
          doneBytes += chunk.length;
          options.onBytes?.(doneBytes);
          done(null, chunk);
        },
      });
      const stream = Readable.fromWeb(blob.stream() as Parameters<typeof Readable.fromWeb>[0]);
      await pipeline(
        stream,
        counted,
        createWriteStream(join(folder, path)),
        options.signal ? { signal: options.signal } : {},
      );
    }
  } catch (cause) {
    throw unreachable(repository, options, cause);
  }
  return files;
}

const unreachable = (repository: string, { revision }: HubOptions, cause: unknown): EspalierError =>
  new EspalierError(
    "model/missing-file",
    `cannot download ${repository} at ${revision}: ${cause instanceof Error ? cause.message : String(cause)}`,
    {
      hint: "Check the id, your network, and whether the repository needs a token (HF_TOKEN is not read here; download it by hand).",
      cause,
    },
  );
