/**
 * Checkpoints with the full shapes of released models and random bf16 weights, written shard by shard in bounded memory.
 *
 *   npx tsx bench/synthetic-checkpoint.ts gemma4-e2b FOLDER [--scale 0.25] [--shard-megabytes 2000] [--seed 0]
 *
 * The names are those of test/fixtures/released-configs.ts. A scale below 1 narrows vocabulary, hidden width, neurons and
 * per-layer vectors to multiples of 64 and leaves layers, heads and head dimensions alone, so that the structure stays the
 * model's. Gemma 4 is written as released: a multimodal config with a text_config, tensors under `model.language_model.`.
 * A tokenizer of single bytes comes with it, so that every command can open the folder.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { tokenizerFiles } from "../experiments/starter/bpe.ts";
import type { DecoderArchitecture } from "../lib/decoder/architecture.ts";
import { architectureOf } from "../lib/decoder/families/registry.ts";
import { storedPlaces } from "../lib/decoder/families/stored-tensors.ts";
import { type WeightEntry, weightList } from "../lib/decoder/weights.ts";
import { withOutputDirectory } from "../lib/files/atomic.ts";
import { bfloat16FromFloat32 } from "../lib/float16.ts";
import { writeSafetensors } from "../lib/formats/safetensors.ts";
import { elementCount } from "../lib/mil/types.ts";
import { createRng } from "../lib/random.ts";
import { type ReleasedName, releasedModels } from "../test/fixtures/released-configs.ts";

export interface SyntheticOptions {
  readonly seed?: number;
  readonly shardBytes?: number;
  readonly replace?: boolean;
  readonly onProgress?: (writtenBytes: number, totalBytes: number) => void;
}

/** The text config of a released model, narrowed. */
export function scaledConfig(name: ReleasedName, scale = 1): Record<string, unknown> {
  const { config } = releasedModels[name] as { config: Record<string, unknown> };
  const narrowed = [
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "hidden_size_per_layer_input",
    "vocab_size_per_layer_input",
  ];
  return Object.fromEntries(
    Object.entries(config).map(([key, value]) =>
      narrowed.includes(key) && typeof value === "number" && value > 0 && scale !== 1
        ? [key, Math.max(64, 64 * Math.round((value * scale) / 64))]
        : [key, value],
    ),
  );
}

/** Writes a checkpoint of a text config to the folder, whole or not at all; never more than a few MiB of weights in memory. */
export async function writeSyntheticCheckpoint(
  folder: string,
  text: Readonly<Record<string, unknown>>,
  options: SyntheticOptions = {},
): Promise<{ architecture: DecoderArchitecture; sizeBytes: number; shards: number }> {
  const { seed = 0, shardBytes = 2e9, replace = false, onProgress } = options;
  const architecture = architectureOf(text);
  const family = architecture.family.replace(/_text$/, "");
  const multimodal = family.startsWith("gemma4");
  const places = storedPlaces(architecture);
  const stored = (entry: WeightEntry): string => {
    const plain = places.get(entry.name)?.name ?? entry.name;
    return multimodal ? plain.replace(/^model\./, "model.language_model.") : plain;
  };
  const shards = shardsOf(weightList(architecture), shardBytes);
  const total = shards.flat().reduce((n, e) => n + sizeOf(e), 0);
  let written = 0;
  await withOutputDirectory(
    folder,
    async (partial) => {
      const weight_map: Record<string, string> = {};
      for (const [i, entries] of shards.entries()) {
        const file = `model-${number(i + 1)}-of-${number(shards.length)}.safetensors`;
        for (const e of entries) weight_map[stored(e)] = file;
        await writeSafetensors(
          join(partial, file),
          entries.map((e) => ({
            name: stored(e),
            dtype: "BF16",
            shape: e.shape,
            async *bytes() {
              for (const piece of randomBytes(e, architecture, seed)) {
                yield piece;
                written += piece.length;
                onProgress?.(written, total);
              }
            },
          })),
        );
      }
      const tokens = byteTokenizer(architecture.vocab);
      const config = multimodal
        ? { architectures: ["Gemma4ForConditionalGeneration"], model_type: family, text_config: text }
        : text;
      const files: Record<string, unknown> = {
        "model.safetensors.index.json": { metadata: { total_size: total }, weight_map },
        "config.json": { ...config, dtype: "bfloat16", bos_token_id: 2, eos_token_id: 1, pad_token_id: 0 },
        "tokenizer.json": tokens.tokenizer,
        "tokenizer_config.json": tokens.config,
      };
      for (const [file, content] of Object.entries(files))
        await writeFile(join(partial, file), JSON.stringify(content));
    },
    { replace },
  );
  return { architecture, sizeBytes: total, shards: shards.length };
}

const number = (n: number): string => String(n).padStart(5, "0");
const sizeOf = (entry: WeightEntry): number => 2 * elementCount(entry.shape);

/** Consecutive tensors of at most `limit` bytes together; a larger one stands alone. */
function shardsOf(entries: readonly WeightEntry[], limit: number): WeightEntry[][] {
  const shards: WeightEntry[][] = [];
  let filled = Number.POSITIVE_INFINITY;
  for (const entry of entries) {
    if (filled + sizeOf(entry) > limit) {
      shards.push([]);
      filled = 0;
    }
    shards.at(-1)?.push(entry);
    filled += sizeOf(entry);
  }
  return shards;
}

const PIECE_ELEMENTS = 1 << 21;

/** Gains as the family starts with them; matrices normal with variance 1/columns, drawn from 2^16 bf16 values of that distribution. */
function* randomBytes(entry: WeightEntry, arch: DecoderArchitecture, seed: number): Generator<Uint8Array> {
  const count = elementCount(entry.shape);
  const rng = createRng(seed, entry.name);
  if (entry.shape.length === 1) {
    const gain = entry.role === "layerScalar" ? 1 : 1 - arch.normOffset;
    yield new Uint8Array(bfloat16FromFloat32(new Float32Array(count).fill(gain)).buffer);
    return;
  }
  const deviation = 1 / Math.sqrt(entry.shape[1] as number);
  const values = bfloat16FromFloat32(Float32Array.from({ length: 1 << 16 }, () => rng.normal() * deviation));
  const piece = new Uint16Array(Math.min(count, PIECE_ELEMENTS));
  let state = 1 + rng.integer(2 ** 31 - 2);
  for (let from = 0; from < count; from += piece.length) {
    const length = Math.min(piece.length, count - from);
    for (let i = 0; i < length; i++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      piece[i] = values[state & 0xffff] as number;
    }
    yield new Uint8Array(piece.buffer, 0, 2 * length);
  }
}

/** Every byte a token, and names that no text has for the rest of the vocabulary. */
function byteTokenizer(vocab: number): ReturnType<typeof tokenizerFiles> {
  const names = ["<pad>", "<eos>", "<bos>", "<unk>"];
  for (let b = 0; b < 256; b++) names.push(`<0x${b.toString(16).toUpperCase().padStart(2, "0")}>`);
  while (names.length < vocab) names.push(`<unused${names.length}>`);
  return tokenizerFiles({ vocab: new Map(names.slice(0, vocab).map((n, i) => [n, i])), merges: [] });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      scale: { type: "string", default: "1" },
      "shard-megabytes": { type: "string", default: "2000" },
      seed: { type: "string", default: "0" },
      replace: { type: "boolean", default: false },
    },
  });
  const [name, folder] = positionals;
  if (!name || !folder || !(name in releasedModels)) {
    console.error(
      `Usage: synthetic-checkpoint.ts NAME FOLDER; NAME is one of ${Object.keys(releasedModels).join(", ")}`,
    );
    process.exit(2);
  }
  const started = performance.now();
  const made = await writeSyntheticCheckpoint(folder, scaledConfig(name as ReleasedName, Number(values.scale)), {
    seed: Number(values.seed),
    shardBytes: 1e6 * Number(values["shard-megabytes"]),
    replace: values.replace,
  });
  const seconds = (performance.now() - started) / 1000;
  console.log(
    JSON.stringify({
      name,
      folder,
      sizeBytes: made.sizeBytes,
      shards: made.shards,
      seconds,
      peakRssBytes: 1024 * process.resourceUsage().maxRSS,
    }),
  );
}
