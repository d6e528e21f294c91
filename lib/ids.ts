/**
 * @file Names of units: `L3.H5` a query head, `L3.G1` a KV group, `L3.N12` a neuron, `L3.attn`, `L3.mlp`, `L3` a layer.
 *
 * Indices count from 0 in the model at hand.
 */
import { EspalierError } from "./errors.ts";

export type UnitKind = "head" | "group" | "neuron" | "attention" | "mlp" | "layer";

export interface UnitId {
  readonly kind: UnitKind;
  readonly layer: number;
  /** 0 for attention, MLP and layer. */
  readonly index: number;
}

const letters = { H: "head", G: "group", N: "neuron" } as const;

/** Throws `prune/unknown-unit` when the text is not a unit's name. */
export function parseUnit(text: string): UnitId {
  const match = /^L(\d{1,4})(?:\.(?:([HGN])(\d{1,6})|(attn|mlp)))?$/.exec(text.trim());
  if (!match) {
    throw new EspalierError("prune/unknown-unit", `"${text}" is no unit`, {
      hint: "Units are named L3.H5 (head), L3.G1 (KV group), L3.attn, L3.mlp or L3 (layer), counted from 0.",
    });
  }
  const layer = Number(match[1]);
  const letter = match[2];
  if (letter === "H" || letter === "G" || letter === "N")
    return { kind: letters[letter], layer, index: Number(match[3]) };
  if (match[4] === "attn") return { kind: "attention", layer, index: 0 };
  if (match[4] === "mlp") return { kind: "mlp", layer, index: 0 };
  return { kind: "layer", layer, index: 0 };
}

export function showUnit({ kind, layer, index }: UnitId): string {
  if (kind === "layer") return `L${layer}`;
  if (kind === "attention") return `L${layer}.attn`;
  if (kind === "mlp") return `L${layer}.mlp`;
  return `L${layer}.${kind === "head" ? "H" : kind === "group" ? "G" : "N"}${index}`;
}
