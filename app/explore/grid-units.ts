/**
 * @file Units as Explore draws them: rows of a grid by layer, and what dropping one takes out.
 *
 * A selection is a set of atoms: query heads `L3.H5`, blocks of neurons `L3.N0-31`, whole layers `L3` and, for questions only,
 * sub-blocks `L3.attn`, `L3.mlp`. A KV group is the heads that read it.
 */
import { findUnit, showUnit, type UnitKind } from "../../lib/units.ts";

/** The kinds a grid is drawn of; attention and MLP stand beside their layer. */
export const gridKinds = ["heads", "groups", "neurons", "layers"] as const satisfies readonly UnitKind[];
export type GridKind = (typeof gridKinds)[number];

export interface KindName {
  readonly title: string;
  readonly one: string;
  readonly many: string;
  /** What a share is of. */
  readonly share: string;
  readonly letter: string;
}

export const kindNames: Record<GridKind, KindName> = {
  heads: { title: "Heads", one: "head", many: "heads", share: "heads", letter: "H" },
  groups: { title: "KV groups", one: "KV group", many: "KV groups", share: "groups", letter: "G" },
  neurons: { title: "Neurons", one: "block of neurons", many: "blocks", share: "neurons", letter: "N" },
  layers: { title: "Layers", one: "layer", many: "layers", share: "layers", letter: "L" },
};

export interface AnatomyLayer {
  readonly queryHeads: number;
  readonly kvGroups: number;
  readonly headDim: number;
  /** KV group of each query head. */
  readonly headToGroup: readonly number[];
  readonly neurons: number;
  /** Positions a head looks back; null: all. */
  readonly window: number | null;
}

export interface Anatomy {
  readonly layers: readonly AnatomyLayer[];
  readonly tensors: readonly { readonly layer: number | null; readonly role: string; readonly elements: number }[];
  readonly hidden: number;
  readonly vocab: number;
  readonly maxPositions: number;
}

export interface GridUnit {
  readonly unit: string;
  readonly layer: number;
  readonly column: number;
  /** What the selection holds when it is dropped. */
  readonly atoms: readonly string[];
  /** The KV group a head reads; null where there are none to draw. */
  readonly group: string | null;
}

export interface UnitGridModel {
  readonly kind: GridKind;
  /** By layer, left to right. */
  readonly rows: readonly (readonly GridUnit[])[];
  /** Names over the columns. */
  readonly columns: readonly string[];
  readonly find: ReadonlyMap<string, GridUnit>;
}

/** Blocks of neurons a layer is drawn with at most, when none have been measured. */
const MOST_BLOCKS = 48;
const BLOCK = 32;

/** Neurons of a block: 32, or the multiple of it that keeps a row readable. */
export const neuronBlockOf = (anatomy: Anatomy): number =>
  BLOCK * Math.max(1, Math.ceil(Math.max(...anatomy.layers.map((l) => l.neurons)) / BLOCK / MOST_BLOCKS));

export const headsOfGroup = (anatomy: Anatomy, layer: number, group: number): string[] =>
  (anatomy.layers[layer]?.headToGroup ?? []).flatMap((g, h) => (g === group ? [`L${layer}.H${h}`] : []));

const blocks = (neurons: number, size: number, layer: number): string[] =>
  Array.from({ length: Math.ceil(neurons / size) }, (_, b) => {
    const last = Math.min(neurons, (b + 1) * size) - 1;
    return showUnit({ kind: "neurons", layer, index: b * size, count: last - b * size + 1 });
  });

/** `neuronBlock` is the size measured, where one was. */
export function unitGrid(anatomy: Anatomy, kind: GridKind, neuronBlock = neuronBlockOf(anatomy)): UnitGridModel {
  const rows = anatomy.layers.map((l, layer): GridUnit[] => {
    const unit = (name: string, column: number, atoms: readonly string[] = [name], group: string | null = null) => ({
      unit: name,
      layer,
      column,
      atoms,
      group,
    });
    if (kind === "heads")
      return l.headToGroup.map((g, h) => unit(`L${layer}.H${h}`, h, [`L${layer}.H${h}`], `L${layer}.G${g}`));
    if (kind === "groups")
      return Array.from({ length: l.kvGroups }, (_, g) =>
        unit(`L${layer}.G${g}`, g, headsOfGroup(anatomy, layer, g)),
      ).filter((u) => u.atoms.length > 0);
    if (kind === "neurons") return blocks(l.neurons, neuronBlock, layer).map((name, b) => unit(name, b));
    return [`L${layer}`, `L${layer}.attn`, `L${layer}.mlp`].map((name, c) => unit(name, c));
  });
  const widest = Math.max(0, ...rows.map((r) => r.length));
  const columns =
    kind === "layers"
      ? ["layer", "attention", "MLP"]
      : Array.from({ length: widest }, (_, c) =>
          kind === "neurons" ? String(c * neuronBlock) : `${kindNames[kind].letter}${c}`,
        );
  return { kind, rows, columns, find: new Map(rows.flat().map((u) => [u.unit, u])) };
}

/** As a person says it: `Layer 5, head 2`. */
export function spokenUnit(name: string): string {
  const unit = findUnit(name);
  if (!unit) return name;
  const layer = `Layer ${unit.layer}`;
  if (unit.kind === "layers") return layer;
  if (unit.kind === "attention" || unit.kind === "mlp") return `${layer}, ${unit.kind === "mlp" ? "MLP" : "attention"}`;
  if (unit.kind === "neurons" && unit.count > 1)
    return `${layer}, neurons ${unit.index} to ${unit.index + unit.count - 1}`;
  const one = unit.kind === "heads" ? "head" : unit.kind === "groups" ? "KV group" : "neuron";
  return `${layer}, ${one} ${unit.index}`;
}
