/**
 * @file Names of units: `L3.H5` a query head, `L3.G1` a KV group, `L3.N12` a neuron, `L3.N0-31` a block of neurons, both
 * ends included, `L3.attn`, `L3.mlp`, `L3` a layer. Tensors: `embedding`, `head`, `L3.query` … `L3.down`.
 *
 * Indices count from 0 in the model at hand.
 */
import { numberAt } from "./elements.ts";
import { EspalierError } from "./errors.ts";

/** All kinds except tensors. Flags, configs, stored results and pages use the same words. */
export const unitKinds = ["heads", "groups", "neurons", "attention", "mlp", "layers"] as const;
export type UnitKind = (typeof unitKinds)[number];

export interface UnitId {
  readonly kind: UnitKind;
  readonly layer: number;
  /** 0 for attention, MLP and layer; the first of a block of neurons. */
  readonly index: number;
  /** Neurons of a block; 1 for every other kind. */
  readonly count: number;
}

const letters = { heads: "H", groups: "G", neurons: "N" } as const;
const words = { attention: "attn", mlp: "mlp" } as const;

/** Null when the text is not a unit's name. */
export function findUnit(text: string): UnitId | null {
  const match = /^L(\d{1,4})(?:\.(?:([HGN])(\d{1,6})(?:-(\d{1,6}))?|(attn|mlp)))?$/.exec(text.trim());
  if (!match) return null;
  const [, layer, letter, first, end, word] = match;
  const index = Number(first ?? 0);
  const last = Number(end ?? index);
  if ((end !== undefined && letter !== "N") || last < index) return null;
  const isNamed = (kind: UnitKind): boolean =>
    kind === "layers"
      ? letter === undefined && word === undefined
      : kind === "attention" || kind === "mlp"
        ? words[kind] === word
        : letters[kind] === letter;
  const kind = unitKinds.find(isNamed);
  return kind ? { kind, layer: Number(layer), index, count: last - index + 1 } : null;
}

/** Throws `prune/unknown-unit` when the text is not a unit's name. */
export function parseUnit(text: string): UnitId {
  const found = findUnit(text);
  if (found) return found;
  throw new EspalierError("prune/unknown-unit", `"${text}" is not a unit`, {
    hint: "Units are named L3.H5 (head), L3.G1 (KV group), L3.N12 or L3.N0-31 (neurons), L3.attn, L3.mlp or L3 (layer), counted from 0.",
  });
}

export function showUnit({ kind, layer, index, count }: UnitId): string {
  if (kind === "layers") return `L${layer}`;
  if (kind === "attention" || kind === "mlp") return `L${layer}.${words[kind]}`;
  return `L${layer}.${letters[kind]}${index}${count > 1 ? `-${index + count - 1}` : ""}`;
}

/** The name of a weight as a unit, from its flat name: `L3_query` is `L3.query`. */
export const tensorUnit = (flatName: string): string => flatName.replace(/^(L\d+)_/, "$1.");

/** Ascending indices as runs: `0-31,40`; what a checkpoint keeps in its provenance. */
export function showRuns(indices: readonly number[]): string {
  const runs: string[] = [];
  for (let i = 0; i < indices.length; ) {
    let end = i;
    while (end + 1 < indices.length && indices[end + 1] === numberAt(indices, end) + 1) end++;
    runs.push(end === i ? `${indices[i]}` : `${indices[i]}-${indices[end]}`);
    i = end + 1;
  }
  return runs.join(",");
}

/** The indices of `showRuns`; throws `format/malformed`. */
export function parseRuns(text: string): number[] {
  if (text === "") return [];
  return text.split(",").flatMap((run) => {
    const match = /^(\d{1,7})(?:-(\d{1,7}))?$/.exec(run);
    const from = Number(match?.[1]);
    const to = Number(match?.[2] ?? from);
    if (!match || to < from)
      throw new EspalierError("format/malformed", `"${text.slice(0, 60)}" is not a list of runs`);
    return Array.from({ length: to - from + 1 }, (_, i) => from + i);
  });
}
