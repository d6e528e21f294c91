/** @file What is dropped, as a set of atoms: how gestures change it, how an address writes it, what it consists of. */
import { plural } from "../../lib/number-text.ts";
import { findUnit, type UnitKind } from "../../lib/units.ts";
import { type Anatomy, type GridUnit, headsOfGroup, type UnitGridModel } from "./grid-units.ts";

export type Selection = ReadonlySet<string>;

/** Dropped by itself, or with the layer or sub-block it is in. */
export function isDropped(selection: Selection, unit: GridUnit): boolean {
  if (unit.atoms.length > 0 && unit.atoms.every((a) => selection.has(a))) return true;
  if (selection.has(`L${unit.layer}`)) return true;
  const kind = findUnit(unit.unit)?.kind;
  if (kind === "heads" || kind === "groups") return selection.has(`L${unit.layer}.attn`);
  return kind === "neurons" && selection.has(`L${unit.layer}.mlp`);
}

/** Drops all units, or restores them when all are dropped already. */
export function toggled(selection: Selection, units: readonly GridUnit[]): Set<string> {
  const next = new Set(selection);
  const atoms = units.flatMap((u) => u.atoms);
  const isAll = atoms.every((a) => selection.has(a));
  for (const a of atoms) {
    if (isAll) next.delete(a);
    else next.add(a);
  }
  return next;
}

/** The selection with the units of this grid replaced by others: a threshold on heads leaves dropped neurons alone. */
export function replaced(selection: Selection, grid: UnitGridModel, units: readonly GridUnit[]): Set<string> {
  const own = new Set([...grid.find.values()].flatMap((u) => u.atoms));
  const next = new Set([...selection].filter((a) => !own.has(a)));
  for (const u of units) for (const a of u.atoms) next.add(a);
  return next;
}

export interface Position {
  readonly layer: number;
  readonly column: number;
}

export const unitAt = (grid: UnitGridModel, at: Position): GridUnit | undefined => grid.rows[at.layer]?.[at.column];

export const rowUnits = (grid: UnitGridModel, layer: number): readonly GridUnit[] => grid.rows[layer] ?? [];

export const columnUnits = (grid: UnitGridModel, column: number): GridUnit[] =>
  grid.rows.flatMap((row) => row[column] ?? []);

/** The heads that read the same KV group; elsewhere the unit alone. */
export const groupUnits = (grid: UnitGridModel, unit: GridUnit): readonly GridUnit[] =>
  unit.group === null ? [unit] : rowUnits(grid, unit.layer).filter((u) => u.group === unit.group);

export function rectangleUnits(grid: UnitGridModel, a: Position, b: Position): GridUnit[] {
  const [from, to] = [Math.min(a.layer, b.layer), Math.max(a.layer, b.layer)];
  const [left, right] = [Math.min(a.column, b.column), Math.max(a.column, b.column)];
  return grid.rows.slice(from, to + 1).flatMap((row) => row.slice(left, right + 1));
}

/** Where a key leads. Rows are drawn with the last layer on top, so up is a later layer. */
export function moved(grid: UnitGridModel, at: Position, key: string): Position | null {
  const to = (layer: number, column: number): Position => {
    const l = Math.max(0, Math.min(grid.rows.length - 1, layer));
    return { layer: l, column: Math.max(0, Math.min((grid.rows[l]?.length ?? 1) - 1, column)) };
  };
  const last = Number.MAX_SAFE_INTEGER;
  const targets: Record<string, Position> = {
    ArrowUp: to(at.layer + 1, at.column),
    ArrowDown: to(at.layer - 1, at.column),
    ArrowLeft: to(at.layer, at.column - 1),
    ArrowRight: to(at.layer, at.column + 1),
    Home: to(at.layer, 0),
    End: to(at.layer, last),
    PageUp: to(at.layer + 4, at.column),
    PageDown: to(at.layer - 4, at.column),
  };
  return targets[key] ?? null;
}

const order = (a: string, b: string): number => {
  const [x, y] = [findUnit(a), findUnit(b)];
  if (!x || !y) return a < b ? -1 : 1;
  return x.layer - y.layer || x.kind.localeCompare(y.kind) || x.index - y.index;
};

/** By layer, then by index. */
export const unitNames = (selection: Selection): string[] => [...selection].sort(order);

/**
 * What the engine is asked about: a layer without any head is its attention closed, one without neurons its MLP. Neither can be
 * cut out, but both can be measured.
 */
export function askedUnits(selection: Selection, anatomy: Anatomy): string[] {
  const asked = new Set(selection);
  for (const [l, layer] of anatomy.layers.entries()) {
    const own = [...selection].filter((a) => a.startsWith(`L${l}.`));
    const close = (letter: string, whole: string): void => {
      for (const a of own) if (a.startsWith(`L${l}.${letter}`)) asked.delete(a);
      asked.add(`L${l}.${whole}`);
    };
    if (layer.queryHeads > 0 && own.filter((a) => a.includes(".H")).length >= layer.queryHeads) close("H", "attn");
    if (layer.neurons > 0 && neuronsOf(own) >= layer.neurons) close("N", "mlp");
  }
  return unitNames(asked);
}

/** `L3.H0-2_5,L4,L5.N0-31` : heads of a layer in runs, the rest by name. Short enough for thousands of heads. */
export function formatSelection(selection: Selection): string {
  const heads = new Map<number, number[]>();
  const parts: { layer: number; text: string }[] = [];
  for (const name of unitNames(selection)) {
    const unit = findUnit(name);
    if (unit?.kind === "heads") heads.set(unit.layer, [...(heads.get(unit.layer) ?? []), unit.index]);
    else parts.push({ layer: unit?.layer ?? 0, text: name });
  }
  for (const [layer, own] of heads) {
    const runs: string[] = [];
    for (let i = 0; i < own.length; ) {
      let end = i;
      while (end + 1 < own.length && own[end + 1] === (own[end] ?? 0) + 1) end++;
      runs.push(end === i ? `${own[i]}` : `${own[i]}-${own[end]}`);
      i = end + 1;
    }
    parts.push({ layer, text: `L${layer}.H${runs.join("_")}` });
  }
  return parts
    .sort((a, b) => a.layer - b.layer)
    .map((p) => p.text)
    .join(",");
}

/** The selection in an address; anything that is not a unit is ignored. */
export function parseSelection(text: string | null): Set<string> {
  const found = new Set<string>();
  for (const part of (text ?? "").split(",")) {
    const heads = /^L(\d{1,4})\.H([\d_-]+)$/.exec(part);
    if (heads) {
      for (const run of (heads[2] ?? "").split("_")) {
        const match = /^(\d{1,4})(?:-(\d{1,4}))?$/.exec(run);
        if (!match) continue;
        for (let h = Number(match[1]); h <= Number(match[2] ?? match[1]); h++) found.add(`L${Number(heads[1])}.H${h}`);
      }
    } else {
      const unit = findUnit(part);
      if (unit && unit.kind !== "groups") found.add(part);
    }
  }
  return found;
}

/** What of a selection this model has. */
export function within(selection: Selection, anatomy: Anatomy): Set<string> {
  const fits = (name: string): boolean => {
    const unit = findUnit(name);
    const layer = unit ? anatomy.layers[unit.layer] : undefined;
    if (!unit || !layer) return false;
    if (unit.kind === "heads") return unit.index < layer.queryHeads;
    return unit.kind !== "neurons" || unit.index + unit.count <= layer.neurons;
  };
  return new Set([...selection].filter(fits));
}

export interface Piece {
  readonly name: string;
  readonly what: string;
  readonly atoms: readonly string[];
}

/** What a selection consists of, the largest units first: layers, sub-blocks, KV groups, neurons by layer, single heads. */
export function pieces(selection: Selection, anatomy: Anatomy): Piece[] {
  const found: Piece[] = [];
  const left = new Set(selection);
  const take = (name: string, what: string, atoms: readonly string[]): void => {
    found.push({ name, what, atoms });
    for (const a of atoms) left.delete(a);
  };
  for (const name of unitNames(selection)) {
    const kind = findUnit(name)?.kind;
    if (kind === "layers") take(name, "the whole layer", [name]);
    if (kind === "attention" || kind === "mlp") take(name, kind === "mlp" ? "the whole MLP" : "all attention", [name]);
  }
  for (let l = anatomy.layers.length - 1; l >= 0; l--)
    for (let g = 0; g < (anatomy.layers[l]?.kvGroups ?? 0); g++) {
      const heads = headsOfGroup(anatomy, l, g);
      if (heads.length > 0 && heads.every((h) => left.has(h)))
        take(`L${l}.G${g}`, `${plural(heads.length, "head")} and KV`, heads);
    }
  for (let l = anatomy.layers.length - 1; l >= 0; l--) {
    const own = [...left].filter((a) => a.startsWith(`L${l}.N`));
    if (own.length > 0) take(`L${l} MLP`, plural(neuronsOf(own), "neuron"), own);
  }
  const single = unitNames(left).filter((a) => findUnit(a)?.kind === "heads");
  const layers = new Set(single.map((a) => findUnit(a)?.layer)).size;
  if (single.length === 1) take(single[0] ?? "", "one head", single);
  else if (single.length > 0) take(plural(single.length, "head"), `in ${plural(layers, "layer")}`, single);
  return found;
}

/** How many neurons these blocks hold. */
export function neuronsOf(names: Iterable<string>): number {
  let n = 0;
  for (const name of names) {
    const unit = findUnit(name);
    if (unit?.kind === "neurons") n += unit.count;
  }
  return n;
}

/** `20 heads, 2 KV groups, 96 neurons dropped`. */
export function describeSelection(selection: Selection, anatomy: Anatomy): string {
  if (selection.size === 0) return "Nothing is dropped yet.";
  const parts = [...selection].map((a) => findUnit(a)?.kind);
  const of = (kind: UnitKind): number => parts.filter((k) => k === kind).length;
  const groups = pieces(selection, anatomy).filter((p) => findUnit(p.name)?.kind === "groups").length;
  const neurons = neuronsOf(selection);
  const words = [
    of("layers") > 0 ? plural(of("layers"), "layer") : "",
    of("attention") > 0 ? `attention of ${plural(of("attention"), "layer")}` : "",
    of("mlp") > 0 ? `MLP of ${plural(of("mlp"), "layer")}` : "",
    of("heads") > 0 ? plural(of("heads"), "head") : "",
    groups > 0 ? plural(groups, "KV group") : "",
    neurons > 0 ? plural(neurons, "neuron") : "",
  ].filter((w) => w !== "");
  return `${words.join(", ")} dropped`;
}

/** A layer that would keep no head or no neuron cannot be cut; null when all is well. */
export function whyNotCut(selection: Selection, anatomy: Anatomy): string | null {
  for (const name of selection) {
    const kind = findUnit(name)?.kind;
    if (kind === "attention" || kind === "mlp")
      return `${name} can be measured but not cut out; drop its units instead`;
  }
  const gone = anatomy.layers.filter((_, l) => selection.has(`L${l}`)).length;
  if (gone >= anatomy.layers.length) return "no layer would be left";
  for (const [l, layer] of anatomy.layers.entries()) {
    if (selection.has(`L${l}`)) continue;
    const own = [...selection].filter((a) => a.startsWith(`L${l}.`));
    if (own.filter((a) => a.includes(".H")).length >= layer.queryHeads) return `layer ${l} would keep no head`;
    if (layer.neurons > 0 && neuronsOf(own) >= layer.neurons) return `layer ${l} would keep no neuron`;
  }
  return null;
}
