/**
 * @file The definition of a GGUF architecture: how its metadata become a Hugging Face config, and
 * its tensors those of a decoder.
 */
import {
  type DecoderArchitecture,
  type GlobalTensor,
  type LayerArchitecture,
  type LayerTensor,
  projections,
} from "../../decoder/architecture.ts";
import type { WeightEntry } from "../../decoder/weights.ts";
import { invariant } from "../../errors.ts";
import type { GgufFile } from "../../formats/gguf/gguf.ts";
import type { GgufKey } from "../../formats/gguf/write.ts";

export interface GgufFamily {
  /** `general.architecture`. */
  readonly architecture: string;
  /** The keys that the family in `lib/decoder/families` reads. Throws `model/config` and `format/unsupported`. */
  config(file: GgufFile): Promise<Record<string, unknown>>;
  /** Names without `blk.N.` and `.weight`. */
  readonly names: Readonly<Partial<Record<GlobalTensor | LayerTensor, string>>>;
  /** llama.cpp rotates neighbouring rows of q and k instead of the two halves of a head, and its
   * converter reorders the rows accordingly. */
  readonly neighboursTurn: boolean;
  /** Stored norm weights are 1 + w, where Hugging Face stores w. */
  readonly normsPlusOne: boolean;
  /** Tensors that become part of the config. */
  readonly configTensors: readonly string[];
  /** Families of `lib/decoder/families` that it can store. */
  readonly families: readonly string[];
  /** The inverse of `config`: keys without the architecture's prefix. Throws `export/unsupported`
   * for what it cannot express. */
  keys(arch: DecoderArchitecture, config: Readonly<Record<string, unknown>>): GgufKey[];
  /** What llama.cpp multiplies q · k by, whatever the model does. */
  attentionScale(arch: DecoderArchitecture, layer: LayerArchitecture): number;
  /** Values of `configTensors` to write, if any. */
  tensors?(arch: DecoderArchitecture, config: Readonly<Record<string, unknown>>): ReadonlyMap<string, Float32Array>;
}

/** The tensor that holds a weight. */
export function ggufName(family: GgufFamily, { role, layer }: WeightEntry): string {
  const projection = projections.find((p) => `${p}Bias` === role);
  const bare = family.names[projection ?? role];
  invariant(bare !== undefined, `${family.architecture} has no name for ${role}`);
  return `${layer === null ? "" : `blk.${layer}.`}${bare}.${projection ? "bias" : "weight"}`;
}

const norms: ReadonlySet<string> = new Set<LayerTensor | GlobalTensor>([
  ...(["attentionNorm", "postAttentionNorm", "mlpNorm", "postMlpNorm", "queryNorm", "keyNorm", "finalNorm"] as const),
]);

/** The offset in the file's values of a weight: 1 for norms of families that compute x · (1 + w).
 */
export const ggufOffset = (family: GgufFamily, role: LayerTensor | GlobalTensor): 0 | 1 =>
  family.normsPlusOne && norms.has(role) ? 1 : 0;

/** The width of the heads whose rows are reordered in the file; null for Hugging Face's order. */
export function turnedHeads(
  family: GgufFamily,
  arch: DecoderArchitecture,
  { role, layer }: WeightEntry,
): number | null {
  const turns = family.neighboursTurn && layer !== null && ["query", "key", "queryBias", "keyBias"].includes(role);
  return turns ? (arch.layers[layer]?.headDim ?? null) : null;
}

/** Row of the file that holds row `row` of heads of width `headDim`: the halves of a head alternate. */
export function turnedRow(row: number, headDim: number): number {
  const half = headDim / 2;
  const inHead = row % headDim;
  return row - inHead + 2 * (inHead % half) + Math.floor(inHead / half);
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
