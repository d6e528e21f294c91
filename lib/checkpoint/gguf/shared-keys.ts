/** @file The parts of a config that all GGUF architectures store in the same way. */
import { EspalierError } from "../../errors.ts";
import type { GgufFile } from "../../formats/gguf/gguf.ts";
import type { MetadataFields } from "./metadata-fields.ts";

/** The rows of the embedding: the weights decide, whatever the metadata say. */
function vocabularySize(file: GgufFile): number {
  const rows = file.tensors.get("token_embd.weight")?.shape[0];
  if (rows !== undefined) return rows;
  throw new EspalierError("model/missing-tensor", `the tensor token_embd.weight is missing from ${file.path}`, {
    hint: "The file is incomplete, or holds no language model.",
  });
}

/** More than any model has: a config lists its layers one by one. */
const MOST_LAYERS = 4096;

export function layerCount(fields: MetadataFields): number {
  const layers = fields.number("block_count");
  if (Number.isInteger(layers) && layers > 0 && layers <= MOST_LAYERS) return layers;
  throw fields.wrong("block_count", `must be a whole number from 1 to ${MOST_LAYERS}`);
}

/** Special tokens by the keys of a Hugging Face config. */
function tokenKeys(file: GgufFile): Record<string, number> {
  const keys = { bos_token_id: "bos", eos_token_id: "eos", pad_token_id: "padding" };
  return Object.fromEntries(
    Object.entries(keys).flatMap(([key, name]) => {
      const id = file.metadata.get(`tokenizer.ggml.${name}_token_id`);
      return typeof id === "number" ? [[key, id]] : [];
    }),
  );
}

/** How RoPE is stretched; null if it is not. The decoder refuses unknown recipes by name. */
export function scalingOf(fields: MetadataFields): Record<string, unknown> | null {
  const type = fields.text("rope.scaling.type") ?? (fields.has("rope.scaling.factor") ? "linear" : "none");
  const factor = fields.optional("rope.scaling.factor") ?? 1;
  return type === "none" || (type === "linear" && factor === 1) ? null : { rope_type: type, factor };
}

interface FileSizes {
  readonly heads: number;
  readonly headDim: number;
  /** By the keys of a Hugging Face config. */
  readonly config: Record<string, unknown>;
}

/**
 * The sizes of a decoder whose layers are all alike, and whether it has a head of its own. `headDim` is that of files that do not
 * say it; by default hidden / heads. Throws `format/malformed` for values that are not as wide as keys.
 */
export function sizesOf(file: GgufFile, fields: MetadataFields, headDimIfAbsent?: number): FileSizes {
  const heads = fields.sameInAllLayers("attention.head_count");
  const hidden = fields.number("embedding_length");
  const headDim = fields.optional("attention.key_length") ?? headDimIfAbsent ?? hidden / heads;
  if ((fields.optional("attention.value_length") ?? headDim) !== headDim)
    throw fields.wrong("attention.value_length", `must be the width of a head, ${headDim}`);
  const groups = "attention.head_count_kv";
  const config = {
    vocab_size: vocabularySize(file),
    hidden_size: hidden,
    intermediate_size: fields.sameInAllLayers("feed_forward_length"),
    num_hidden_layers: layerCount(fields),
    num_attention_heads: heads,
    num_key_value_heads: fields.has(groups) ? fields.sameInAllLayers(groups) : heads,
    head_dim: headDim,
    max_position_embeddings: fields.number("context_length"),
    rms_norm_eps: fields.number("attention.layer_norm_rms_epsilon"),
    tie_word_embeddings: !file.tensors.has("output.weight"),
    ...tokenKeys(file),
  };
  return { heads, headDim, config };
}
