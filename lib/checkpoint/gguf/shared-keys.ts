/** @file The parts of a config that all GGUF architectures store in the same way. */
import { EspalierError } from "../../errors.ts";
import type { GgufFile } from "../../formats/gguf/gguf.ts";
import type { MetadataFields } from "./metadata-fields.ts";

/** The rows of the embedding: the weights decide, whatever the metadata say. */
export function vocabularySize(file: GgufFile): number {
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
export function tokenKeys(file: GgufFile): Record<string, number> {
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
