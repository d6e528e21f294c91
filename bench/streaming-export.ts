/**
 * Exports a checkpoint larger than it keeps in memory, and says how much memory that took (Linux).
 *
 *   npx tsx bench/streaming-export.ts [--family gemma3|llama|CONFIG.json] [--megabytes 1200] [--scheme fp16|int8|palette4]
 *                                     [--shard-megabytes 500] [--context 512] [--folder DIR] [--keep]
 *
 * Random bf16 weights are written shard by shard, then a child process streams them into a package and reports its peak
 * resident memory (VmHWM). The layers are cut to about `--megabytes`; 0 keeps all that the config says. A config file of a
 * family this version knows takes the place of the two built-in shapes.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { openCheckpoint } from "../lib/checkpoint/checkpoint.ts";
import { affineRows, float16Rows, paletteRows, type RowCompression } from "../lib/compress/quantize/row-compression.ts";
import { architectureOf } from "../lib/decoder/families/registry.ts";
import { storedPlaces } from "../lib/decoder/families/stored-tensors.ts";
import { packageProgram } from "../lib/decoder/plain-layout-program.ts";
import { parameterCount, type WeightEntry, weightList } from "../lib/decoder/weights.ts";
import { streamedWeights } from "../lib/export/streamed-weights.ts";
import { predictPackage, writePackage } from "../lib/formats/coreml/package-writer.ts";
import { writeSafetensors } from "../lib/formats/safetensors.ts";
import { elementCount } from "../lib/mil/types.ts";

const shapes: Record<string, Record<string, unknown>> = {
  llama: {
    model_type: "llama",
    vocab_size: 128_256,
    hidden_size: 2048,
    intermediate_size: 8192,
    num_hidden_layers: 16,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    head_dim: 64,
    max_position_embeddings: 131_072,
    rms_norm_eps: 1e-5,
    rope_theta: 500_000,
    tie_word_embeddings: true,
  },
  gemma3: {
    model_type: "gemma3_text",
    vocab_size: 262_144,
    hidden_size: 2560,
    intermediate_size: 10_240,
    num_hidden_layers: 34,
    num_attention_heads: 8,
    num_key_value_heads: 4,
    head_dim: 256,
    max_position_embeddings: 131_072,
    rms_norm_eps: 1e-6,
    query_pre_attn_scalar: 256,
    sliding_window: 1024,
    sliding_window_pattern: 6,
    rope_theta: 1_000_000,
    rope_local_base_freq: 10_000,
    tie_word_embeddings: true,
    hidden_activation: "gelu_pytorch_tanh",
  },
};

const schemes: Record<string, RowCompression> = {
  fp16: float16Rows,
  int8: affineRows(8, false),
  palette4: paletteRows(4, 16),
};

const { values: options } = parseArgs({
  options: {
    family: { type: "string", default: "gemma3" },
    megabytes: { type: "string", default: "1200" },
    scheme: { type: "string", default: "int8" },
    "shard-megabytes": { type: "string", default: "500" },
    context: { type: "string", default: "512" },
    folder: { type: "string" },
    keep: { type: "boolean", default: false },
    child: { type: "string" },
  },
});

function configFor(): Record<string, unknown> {
  const base = shapes[options.family] ?? JSON.parse(readFileSync(options.family, "utf8"));
  const limit = Number(options.megabytes) * 1e6;
  if (limit === 0) return base;
  const bytesWith = (layers: number): number =>
    2 * parameterCount(architectureOf({ ...base, num_hidden_layers: layers }));
  let layers = 1;
  while (layers < Number(base.num_hidden_layers) && bytesWith(layers + 1) <= limit) layers++;
  return { ...base, num_hidden_layers: layers };
}

/** Random bf16 numbers of about ±0.02, a piece at a time. */
async function* randomBytes(entry: WeightEntry, seed: number): AsyncGenerator<Uint8Array> {
  let state = seed * 2_654_435_761 + 1;
  const count = elementCount(entry.shape);
  for (let from = 0; from < count; from += 1 << 22) {
    const piece = new Uint16Array(Math.min(1 << 22, count - from));
    for (let i = 0; i < piece.length; i++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      // Sign and mantissa at random, exponent 2^-7 or 2^-6.
      piece[i] = entry.shape.length === 1 ? 0x3f80 : (state & 0x80ff) | 0x3c00;
    }
    yield new Uint8Array(piece.buffer);
  }
}

async function writeCheckpointShards(folder: string, config: Record<string, unknown>): Promise<void> {
  const architecture = architectureOf(config);
  const limit = Number(options["shard-megabytes"]) * 1e6;
  const shards: WeightEntry[][] = [[]];
  let filled = 0;
  for (const entry of weightList(architecture)) {
    const size = 2 * elementCount(entry.shape);
    if (filled > 0 && filled + size > limit) {
      shards.push([]);
      filled = 0;
    }
    shards.at(-1)?.push(entry);
    filled += size;
  }
  const places = storedPlaces(architecture);
  const stored = (entry: WeightEntry): string => places.get(entry.name)?.name ?? entry.name;
  const weight_map: Record<string, string> = {};
  for (const [i, entries] of shards.entries()) {
    const file = `model-${String(i + 1).padStart(5, "0")}-of-${String(shards.length).padStart(5, "0")}.safetensors`;
    for (const e of entries) weight_map[stored(e)] = file;
    await writeSafetensors(
      join(folder, file),
      entries.map((e, n) => ({
        name: stored(e),
        dtype: "BF16" as const,
        shape: e.shape,
        bytes: () => randomBytes(e, 1 + i * 1000 + n),
      })),
    );
  }
  await writeFile(join(folder, "model.safetensors.index.json"), JSON.stringify({ metadata: {}, weight_map }));
  await writeFile(join(folder, "config.json"), JSON.stringify({ ...config, torch_dtype: "bfloat16" }));
}

function peakBytes(): number {
  const line = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"));
  if (!line) throw new Error("no VmHWM in /proc/self/status");
  return Number(line[1]) * 1024;
}

async function exportStreamed(checkpointFolder: string): Promise<void> {
  const scheme = schemes[options.scheme];
  if (!scheme) throw new Error(`--scheme is one of ${Object.keys(schemes).join(", ")}`);
  const baselineBytes = peakBytes();
  const checkpoint = await openCheckpoint(checkpointFolder);
  const weights = streamedWeights(checkpoint, () => scheme);
  const program = packageProgram(checkpoint.architecture, weights, {
    context: Number(options.context),
    prefillLength: 64,
  });
  const metadata = { shortDescription: "streamed", author: "Espalier", license: "", version: "1", userDefined: {} };
  const predicted = await predictPackage(program, metadata);
  const started = performance.now();
  const written = await writePackage(join(checkpointFolder, "Streamed.mlpackage"), program, metadata, {});
  if (written.sizeBytes !== predicted.sizeBytes) throw new Error(`predicted ${predicted.sizeBytes} bytes`);
  const largest = Math.max(...weightList(checkpoint.architecture).map((e) => elementCount(e.shape)));
  console.log(
    JSON.stringify({
      checkpointBytes: checkpoint.sizeBytes,
      layers: checkpoint.architecture.layers.length,
      largestTensorBytesBf16: 2 * largest,
      packageBytes: written.sizeBytes,
      predictedBytes: predicted.sizeBytes,
      seconds: Math.round((performance.now() - started) / 100) / 10,
      baselineBytes,
      peakBytes: peakBytes(),
    }),
  );
}

if (options.child !== undefined) await exportStreamed(options.child);
else {
  const folder = options.folder ?? mkdtempSync(join(tmpdir(), "espalier-streaming-"));
  try {
    const config = configFor();
    if (!statSync(join(folder, "config.json"), { throwIfNoEntry: false })) await writeCheckpointShards(folder, config);
    const script = fileURLToPath(import.meta.url);
    const child = spawnSync(
      process.execPath,
      [...process.execArgv, script, ...process.argv.slice(2), "--child", folder],
      {
        stdio: ["ignore", "inherit", "inherit"],
      },
    );
    process.exitCode = child.status ?? 1;
  } finally {
    if (!options.keep && options.folder === undefined) rmSync(folder, { recursive: true, force: true });
  }
}
