/**
 * @file Downloads a checkpoint from the Hugging Face hub, with the hub's own library, loaded only when asked for.
 *
 * Neither the demo nor any test needs a network; `fetch` can be passed in.
 */
import { createWriteStream } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { EspalierError } from "../../errors.ts";

export interface HubOptions {
  readonly revision: string;
  /** Which files of the repository to fetch. */
  readonly wanted: (path: string) => boolean;
  readonly signal?: AbortSignal | undefined;
  readonly fetch?: typeof fetch | undefined;
  readonly log?: ((line: string) => void) | undefined;
}

/** Fetches into `folder`. Throws `model/missing-file` when the repository cannot be reached or holds no checkpoint. */
export async function downloadFromHub(repository: string, folder: string, options: HubOptions): Promise<string[]> {
  const hub = await import("@huggingface/hub");
  const common = { repo: repository, revision: options.revision, ...(options.fetch ? { fetch: options.fetch } : {}) };
  const fetched: string[] = [];
  try {
    for await (const entry of hub.listFiles({ ...common, recursive: false })) {
      if (entry.type !== "file" || !options.wanted(entry.path)) continue;
      options.signal?.throwIfAborted();
      options.log?.(`${entry.path} (${entry.size} bytes)`);
      const blob = await hub.downloadFile({ ...common, path: entry.path });
      if (!blob) throw new Error(`${entry.path} cannot be downloaded`);
      await pipeline(
        Readable.fromWeb(blob.stream() as Parameters<typeof Readable.fromWeb>[0]),
        createWriteStream(join(folder, entry.path)),
      );
      fetched.push(entry.path);
    }
  } catch (cause) {
    throw new EspalierError(
      "model/missing-file",
      `cannot download ${repository} at ${options.revision}: ${cause instanceof Error ? cause.message : String(cause)}`,
      {
        hint: "Check the id, your network, and whether the repository needs a token (HF_TOKEN is not read here; download it by hand).",
        cause,
      },
    );
  }
  if (!fetched.includes("config.json")) {
    throw new EspalierError("model/missing-file", `${repository} holds no config.json`, {
      hint: "Only transformers checkpoints in safetensors are read.",
    });
  }
  return fetched;
}
