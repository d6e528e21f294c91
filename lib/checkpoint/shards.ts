/**
 * @file The safetensors files of a folder as one set of tensors.
 *
 * Reference: `save_pretrained` of transformers. `model.safetensors`, or shards whose `model.safetensors.index.json` says where
 * each tensor lies. The index decides: a tensor of the same name in another shard is a leftover and
 * is not read (transformers 5 takes the last shard that has it). A missing shard matters only if it
 * holds a tensor of the model.
 */
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { EspalierError } from "../errors.ts";
import { openSafetensors, parseShardIndex, type SafetensorsFile } from "../formats/safetensors.ts";

export interface Shards {
  readonly files: readonly SafetensorsFile[];
  /** The file of every existing tensor. */
  readonly byName: ReadonlyMap<string, SafetensorsFile>;
  /** The missing file that holds a tensor, according to the index; null for none. */
  missingShard(name: string): string | null;
  close(): Promise<void>;
}

/** Throws `model/missing-file` and `format/…`. */
export async function openShards(directory: string): Promise<Shards> {
  const single = join(directory, "model.safetensors");
  const { shards, assigned } = (await exists(single))
    ? { shards: ["model.safetensors"], assigned: new Map<string, string>() }
    : await indexOf(directory);
  const open = new Map<string, SafetensorsFile>();
  const close = async (): Promise<void> => {
    for (const file of open.values()) await file.close();
  };
  try {
    for (const shard of shards) {
      const path = join(directory, shard);
      if (await exists(path)) open.set(shard, await openSafetensors(path));
    }
    if (open.size === 0) {
      throw new EspalierError("model/missing-file", `none of the ${shards.length} shards is in ${directory}`, {
        hint: `Download them again: ${shards[0]} and so on.`,
      });
    }
  } catch (thrown) {
    await close();
    throw thrown;
  }
  const byName = new Map<string, SafetensorsFile>();
  for (const [shard, file] of open) {
    for (const name of file.tensors.keys()) {
      const place = assigned.get(name);
      const elsewhere = place !== undefined && place !== shard && open.get(place)?.tensors.has(name);
      if (!elsewhere) byName.set(name, file);
    }
  }
  return {
    files: [...open.values()],
    byName,
    missingShard(name) {
      const shard = assigned.get(name);
      return shard !== undefined && !open.has(shard) ? shard : null;
    },
    close,
  };
}

const exists = async (path: string): Promise<boolean> => (await stat(path).catch(() => null)) !== null;

async function indexOf(directory: string): Promise<{ shards: string[]; assigned: Map<string, string> }> {
  const path = join(directory, "model.safetensors.index.json");
  const index = await readFile(path, "utf8").catch(async (cause: unknown) => {
    throw new EspalierError(
      "model/missing-file",
      `${directory} has neither model.safetensors nor model.safetensors.index.json`,
      { hint: whatLiesThere(await readdir(directory)), cause },
    );
  });
  const assigned = parseShardIndex(index, path);
  return { shards: [...new Set(assigned.values())].sort(), assigned };
}

/** What to do about a folder without safetensors files. */
function whatLiesThere(names: readonly string[]): string {
  const gguf = names.find((n) => n.endsWith(".gguf"));
  if (gguf !== undefined) return `Give the file itself: ${gguf}.`;
  const other = names.find((n) => n.endsWith(".safetensors") && !n.startsWith("adapter_"));
  if (other !== undefined && !/^consolidated/.test(other))
    return `${other} is there: name it model.safetensors if it holds the weights.`;
  if (names.some((n) => /\.(bin|pt|pth)(\.index\.json)?$/.test(n)))
    return "Its weights are PyTorch pickles, which can run code and are not read; save it again with transformers (save_pretrained).";
  if (names.includes("adapter_config.json") || names.some((n) => n.startsWith("adapter_model.")))
    return "It holds an adapter (LoRA); merge it into the model it was trained on (peft: merge_and_unload) first.";
  if (names.some((n) => /\.(onnx|h5|msgpack|tflite)$|^openvino/.test(n)))
    return "Its weights are those of another framework; take the model's safetensors files.";
  return "Download the model.safetensors files into that folder.";
}
