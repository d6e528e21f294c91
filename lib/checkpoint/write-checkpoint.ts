/**
 * @file Writes a checkpoint as a Hugging Face folder: config, safetensors, tokenizer files. The
 * folder is built next to its destination and then renamed.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { DecoderArchitecture } from "../decoder/architecture.ts";
import { configFor } from "../decoder/families/registry.ts";
import { storedPlaces, storedTensors } from "../decoder/families/stored-tensors.ts";
import { EspalierError, invariant } from "../errors.ts";
import { withOutputDirectory } from "../files/atomic.ts";
import { jsonLike, numberLiterals } from "../files/json-numbers.ts";
import type { NamedFiles } from "../files/named-files.ts";
import { utf8Text } from "../files/utf8-text.ts";
import { bfloat16FromFloat32 } from "../float16.ts";
import { asBytes, type TensorToWrite, writeSafetensors } from "../formats/safetensors.ts";
import { elementCount, sameShape } from "../mil/types.ts";
import type { CompressedWeight } from "../weights/weight.ts";
import type { StoredFloat, StoredWeight } from "./checkpoint.ts";
import { companionFiles } from "./checkpoint-files.ts";
import { type CompressionScheme, compressedTensors } from "./compressed-tensors.ts";
import { finiteFloat16 } from "./finite-float16.ts";

/**
 * Keys that the configs of transformers 5 take only as a float: a config made here would say 30 where it means 30.0. The oracles
 * tier loads a checkpoint of every family.
 */
const floatKeys: ReadonlySet<string> = new Set([
  "rms_norm_eps",
  "initializer_range",
  "final_logit_softcapping",
  "attn_logit_softcapping",
]);

export interface CheckpointToWrite {
  readonly architecture: DecoderArchitecture;
  /** The base of `config.json`; widths and compression are updated. */
  readonly config: Readonly<Record<string, unknown>>;
  /** By flat name, one after another; dense ones are requested again when they are written. */
  weight(flatName: string): Promise<CompressedWeight | StoredWeight>;
  /** Element type of dense values in the file, by flat name or one for all. Weights that are
   * already stored keep theirs. */
  readonly dtype: StoredFloat | ((flatName: string) => StoredFloat);
  /** The source checkpoint, from which tokenizer and generation files are copied. */
  readonly copyFrom: NamedFiles | null;
  readonly replace?: boolean | undefined;
  /** How the weights were made, kept in `config.json` under `espalier`. */
  readonly provenance?: Readonly<Record<string, unknown>> | undefined;
  /** Further files by name. */
  readonly extraFiles?: Readonly<Record<string, string>>;
}

/** Writes a complete checkpoint directory or nothing. */
export async function writeCheckpoint(directory: string, checkpoint: CheckpointToWrite): Promise<void> {
  const { architecture } = checkpoint;
  const dtypeOf = (name: string): StoredFloat =>
    typeof checkpoint.dtype === "string" ? checkpoint.dtype : checkpoint.dtype(name);
  await withOutputDirectory(
    directory,
    async (partial) => {
      const tensors: TensorToWrite[] = [];
      const compression: Record<string, CompressionScheme> = {};
      const places = storedPlaces(architecture);
      for (const [stored, entries] of storedTensors(architecture)) {
        const parts: WrittenWeight[] = [];
        for (const { name, shape } of entries) {
          const alone = places.get(name)?.name ?? stored;
          parts.push(await writtenWeight(checkpoint, { name, shape, stored: alone, dtype: dtypeOf(name) }));
        }
        const whole = entries.length > 1 ? oneTensor(stored, parts) : null;
        tensors.push(...(whole ? [whole] : parts.flatMap((p) => p.tensors)));
        for (const { name, scheme } of parts) if (scheme) compression[name] = scheme;
      }
      await writeSafetensors(join(partial, "model.safetensors"), tensors);
      const config = configFor(architecture, checkpoint.config);
      const espalier = typeof config.espalier === "object" ? config.espalier : { version: 1 };
      const ours = {
        ...checkpoint.provenance,
        ...(Object.keys(compression).length > 0 ? { compression } : {}),
      };
      const full = Object.keys(ours).length > 0 ? { ...config, espalier: { ...espalier, ...ours } } : config;
      const original = await checkpoint.copyFrom?.file("config.json");
      const source = original ? numberLiterals(utf8Text(original, "config.json")) : undefined;
      const nested = typeof source === "object" ? source.text_config : undefined;
      const text = jsonLike({ ...full, ...dtypeKeys(full, tensors) }, [nested, source], floatKeys);
      await writeFile(join(partial, "config.json"), `${text}\n`);
      for (const [file, content] of Object.entries(checkpoint.extraFiles ?? {}))
        await writeFile(join(partial, file), content);
      for (const file of companionFiles) {
        const content = await checkpoint.copyFrom?.file(file);
        if (content) await writeFile(join(partial, file), content);
      }
    },
    { marked: true, replace: checkpoint.replace ?? false },
  );
}

/** A weight under its name when stored alone. */
interface WrittenWeight {
  readonly name: string;
  /** Null for a dense one, which is one tensor. */
  readonly scheme: CompressionScheme | null;
  readonly tensors: readonly TensorToWrite[];
}

async function writtenWeight(
  checkpoint: CheckpointToWrite,
  weight: { name: string; shape: readonly number[]; stored: string; dtype: StoredFloat },
): Promise<WrittenWeight> {
  const { name, shape, stored, dtype } = weight;
  const first = await checkpoint.weight(name);
  if (!sameShape(first.shape, shape)) {
    throw new EspalierError(
      "model/shape-mismatch",
      `${stored} is [${first.shape.join(", ")}], the architecture asks for [${shape.join(", ")}]`,
    );
  }
  if (first.kind === "stored") return { name: stored, scheme: first.scheme, tensors: first.tensors(stored) };
  if (first.kind !== "dense") return { name: stored, ...compressedTensors(stored, first) };
  const values = async (): Promise<Float32Array> => {
    const again = await checkpoint.weight(name);
    invariant(again.kind === "dense", `${name} was dense and is ${again.kind}`);
    return again.values;
  };
  return { name: stored, scheme: null, tensors: [denseTensor(stored, first.shape, dtype, values)] };
}

/** Weights stacked in one tensor; null if one is compressed or has a different element type from
 * the rest. */
function oneTensor(name: string, weights: readonly WrittenWeight[]): TensorToWrite | null {
  const parts = weights.flatMap((w) => w.tensors);
  const [first] = parts;
  if (!first || weights.some((w) => w.scheme) || parts.some((p) => p.dtype !== first.dtype)) return null;
  async function* bytes(): AsyncGenerator<Uint8Array> {
    for (const part of parts) {
      const content = await part.bytes();
      yield* content instanceof Uint8Array ? [content] : content;
    }
  }
  const rows = parts.reduce((n, p) => n + (p.shape[0] ?? 0), 0);
  return { name, dtype: first.dtype, shape: [rows, ...first.shape.slice(1)], bytes };
}

const dtypeNames: Readonly<Record<string, string>> = {
  BF16: "bfloat16",
  F16: "float16",
  F32: "float32",
  F64: "float64",
};

/** The element type of most values, under the name older loaders know, and under the newer one where the config has it. */
function dtypeKeys(config: Record<string, unknown>, tensors: readonly TensorToWrite[]): Record<string, string> {
  const counts = new Map<string, number>();
  for (const { dtype, shape } of tensors) {
    const name = dtypeNames[dtype];
    if (name !== undefined) counts.set(name, (counts.get(name) ?? 0) + elementCount(shape));
  }
  const [most] = [...counts].sort(([, a], [, b]) => b - a);
  if (!most) return {};
  return { torch_dtype: most[0], ...("dtype" in config ? { dtype: most[0] } : {}) };
}

function denseTensor(
  name: string,
  shape: readonly number[],
  dtype: StoredFloat,
  values: () => Promise<Float32Array>,
): TensorToWrite {
  const encode = async (): Promise<Uint8Array> => {
    const v = await values();
    if (v.length !== elementCount(shape))
      throw new EspalierError("internal/invariant", `internal: ${name} has ${v.length} values`);
    if (dtype === "f32") return asBytes(v);
    return asBytes(dtype === "bf16" ? bfloat16FromFloat32(v) : finiteFloat16(v, name));
  };
  return { name, shape, dtype: dtype === "bf16" ? "BF16" : dtype === "f16" ? "F16" : "F32", bytes: encode };
}
