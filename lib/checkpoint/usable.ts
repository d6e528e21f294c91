/**
 * @file Checks that a checkpoint is usable when it is imported, not on first use: every weight is
 * finite, the tokenizer opens, and its ids have rows in the embedding.
 */

import { throwIfCancelled } from "../cancel.ts";
import { weightList } from "../decoder/weights.ts";
import { EspalierError } from "../errors.ts";
import type { SafetensorsDType, TensorToWrite } from "../formats/safetensors.ts";
import { loadTokenizer } from "../tokenizer/tokenizer.ts";
import type { Checkpoint } from "./checkpoint.ts";

/** Warnings about oddities that do not prevent its use. Throws `numeric/non-finite` for weights,
 * and the errors of the tokenizer. */
export async function requireUsable(checkpoint: Checkpoint, signal?: AbortSignal): Promise<string[]> {
  const tokenizer = await loadTokenizer(checkpoint);
  const { vocab } = checkpoint.architecture;
  tokenizer.encode("a");
  for (const { name } of weightList(checkpoint.architecture)) {
    throwIfCancelled(signal);
    for (const tensor of checkpoint.stored(name).tensors(name)) await requireFinite(tensor, checkpoint.path);
  }
  const outside = [...tokenizer.vocabulary()].filter(([, id]) => id >= vocab);
  const ends = tokenizer.eosIds.filter((id) => id >= vocab);
  return [
    ...unusedInWords(checkpoint.unused),
    ...((await checkpoint.file("adapter_config.json"))
      ? ["the adapter (LoRA) beside the weights is not applied; merge it first if it is part of the model"]
      : []),
    ...(outside.length > 0
      ? [
          `${outside.length} tokens have no row among ${vocab} of the embedding, ${outside[0]?.[0]} (${outside[0]?.[1]}) first`,
        ]
      : []),
    ...(ends.length > 0 ? [`the end of a text would be token ${ends.join(", ")}, of ${vocab}`] : []),
  ];
}

/** Names of ignored tensors: a few by name, many by their prefix. */
export function unusedInWords(names: readonly string[]): string[] {
  if (names.length === 0) return [];
  const said = (what: string): string[] => [`not part of the decoder and left aside: ${what}`];
  if (names.length <= 3) return said(names.join(", "));
  const groups = new Map<string, number>();
  for (const name of names) {
    const group = name
      .replace(/\.layers\.\d+\./, ".layers.N.")
      .split(".")
      .slice(0, 4)
      .join(".");
    groups.set(group, (groups.get(group) ?? 0) + 1);
  }
  const most = [...groups].sort(([, a], [, b]) => b - a);
  const shown = most.slice(0, 3).map(([group, n]) => (n === 1 ? group : `${group}… (${n})`));
  return said(`${names.length} tensors, ${shown.join(", ")}${most.length > 3 ? " and others" : ""}`);
}

/** Elements of a float type, and the bits that are all ones in an infinity or NaN. */
const exponents: Readonly<Partial<Record<SafetensorsDType, readonly [bytes: 2 | 4, mask: number]>>> = {
  F16: [2, 0x7c00],
  BF16: [2, 0x7f80],
  F32: [4, 0x7f800000],
};

async function requireFinite({ name, dtype, bytes }: TensorToWrite, path: string): Promise<void> {
  const content = await bytes();
  let before = 0;
  for await (const piece of content instanceof Uint8Array ? [content] : content) {
    const { values, found } = nonFinite(piece, dtype);
    if (found >= 0) {
      throw new EspalierError(
        "numeric/non-finite",
        `${path}: value ${before + found} of ${name} is not a finite number`,
        {
          hint: "The file is damaged, or the training that wrote it diverged: take another copy or an earlier checkpoint.",
        },
      );
    }
    before += values;
  }
}

/** The number of values, and the index of the first NaN or infinity; -1 for none. */
function nonFinite(piece: Uint8Array, dtype: SafetensorsDType): { values: number; found: number } {
  const { buffer, byteOffset, byteLength } = piece;
  if (dtype === "F64") {
    const doubles = new Float64Array(buffer, byteOffset, byteLength / 8);
    return { values: doubles.length, found: doubles.findIndex((v) => !Number.isFinite(v)) };
  }
  const layout = exponents[dtype];
  if (!layout) return { values: byteLength, found: -1 };
  const [size, mask] = layout;
  const bits =
    size === 2
      ? new Uint16Array(buffer, byteOffset, byteLength / size)
      : new Uint32Array(buffer, byteOffset, byteLength / size);
  let found = -1;
  for (let i = 0; i < bits.length && found < 0; i++) if (((bits[i] as number) & mask) === mask) found = i;
  return { values: bits.length, found };
}
