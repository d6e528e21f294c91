/**
 * @file What a GGUF architecture is: how its metadata become a Hugging Face config, and its tensors those of a decoder.
 */
import type { GlobalTensor, LayerTensor } from "../../decoder/architecture.ts";
import type { GgufFile } from "../../formats/gguf/gguf.ts";

export interface GgufFamily {
  /** `general.architecture`. */
  readonly architecture: string;
  /** The keys that the family in `lib/decoder/families` reads. Throws `model/config` and `format/unsupported`. */
  config(file: GgufFile): Promise<Record<string, unknown>>;
  /** Names without `blk.N.` and `.weight`. */
  readonly names: Readonly<Partial<Record<GlobalTensor | LayerTensor, string>>>;
  /** llama.cpp turns neighbouring rows of q and k instead of the two halves of a head, and its converter reorders them so. */
  readonly neighboursTurn: boolean;
  /** Stored norm weights are 1 + w, where Hugging Face stores w. */
  readonly normsPlusOne: boolean;
  /** Tensors that only the config speaks for. */
  readonly configTensors: readonly string[];
}

export const commonNames = {
  embedding: "token_embd",
  finalNorm: "output_norm",
  head: "output",
  attentionNorm: "attn_norm",
  mlpNorm: "ffn_norm",
  query: "attn_q",
  key: "attn_k",
  value: "attn_v",
  output: "attn_output",
  gate: "ffn_gate",
  up: "ffn_up",
  down: "ffn_down",
} as const;
