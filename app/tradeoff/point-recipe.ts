/** @file What was done to a point: its name in a few words, its layers, how two differ, and the whole as YAML or JSON. */
import type { MadeOf } from "../../experiments/kinds/tradeoff/made-of.ts";
import { fixed, percent } from "../parts/format.ts";
import type { Point } from "./measures.ts";

const roles = ["query", "key", "value", "output", "gate", "up", "down"] as const;

export interface LayerMade {
  /** As numbered in the base. */
  readonly layer: number;
  /** Of the base's heads, in order; kept or not. */
  readonly heads: readonly boolean[];
  readonly neurons: number;
  readonly neuronsOfBase: number;
  /** Bits of a code by role, as far as the tensor is there. */
  readonly bits: readonly { readonly role: (typeof roles)[number]; readonly bits: number }[];
  /** The whole layer was taken out. */
  readonly isGone: boolean;
}

/** Layers of the base with what remains of them; null where the model's structure was not stored. */
export function layersOf(made: MadeOf | null, base: MadeOf | null): LayerMade[] | null {
  if (!made) return null;
  const reference = base?.layers ?? made.layers;
  const left = new Map(made.layers.map((l, index) => [l.layer, { ...l, index }]));
  const bits = new Map(made.tensors.map((t) => [t.tensor, t.bits]));
  return reference.map((of) => {
    const own = left.get(of.layer);
    const headsOfBase = own?.headsOfBase ?? of.heads.length;
    return {
      layer: of.layer,
      heads: Array.from({ length: headsOfBase }, (_, h) => own?.heads.includes(h) ?? false),
      neurons: own?.neurons ?? 0,
      neuronsOfBase: own?.neuronsOfBase ?? of.neurons,
      // Tensors are numbered as in this model, layers as in the base.
      bits: roles.flatMap((role) => {
        const found = own ? bits.get(`L${own.index}.${role}`) : undefined;
        return found === undefined ? [] : [{ role, bits: found }];
      }),
      isGone: !own,
    };
  });
}

export interface Counted {
  readonly heads: readonly [kept: number, of: number];
  readonly neurons: readonly [kept: number, of: number];
  readonly layers: readonly [kept: number, of: number];
}

export const countLayers = (layers: readonly LayerMade[]): Counted => ({
  heads: [
    layers.reduce((n, l) => n + l.heads.filter(Boolean).length, 0),
    layers.reduce((n, l) => n + l.heads.length, 0),
  ],
  neurons: [layers.reduce((n, l) => n + l.neurons, 0), layers.reduce((n, l) => n + l.neuronsOfBase, 0)],
  layers: [layers.filter((l) => !l.isGone).length, layers.length],
});

/** `prune 31 % → distill → mixed 2.50 bits`: by its steps, or by its model's id where none are known. */
export function nameOf(point: Point, base: MadeOf | null): string {
  if (point.isBase) return "fp16 base";
  if (point.madeBy.length === 0) return point.model;
  return point.madeBy
    .map((step) => {
      if (step.kind === "prune") return pruned(point, base);
      return step.kind === "quantize" ? quantized(point, step.config) : step.kind;
    })
    .join(" → ");
}

function pruned(point: Point, base: MadeOf | null): string {
  const layers = layersOf(point.made, base);
  if (!layers) return "prune";
  const { heads, neurons } = countLayers(layers);
  const gone = (of: readonly [number, number]): number => 1 - of[0] / of[1];
  const parts = [
    gone(heads) > 0 ? `${percent(gone(heads), 0)}${gone(neurons) > 0 ? " heads" : ""}` : "",
    gone(neurons) > 0 ? `${percent(gone(neurons), 0)} neurons` : "",
  ].filter((t) => t !== "");
  return `prune ${parts.join(", ")}`.trim();
}

function quantized(point: Point, config: Readonly<Record<string, unknown>>): string {
  const bits = new Set(point.made?.tensors.map((t) => t.bits));
  if (bits.size > 1) return `mixed ${fixed(point.bitsPerWeight, 2)} bits`;
  const [only] = bits;
  const each = only ?? String(config.bits ?? 4);
  return config.scheme === "affine" ? `int${each}` : `${each}-bit palettes`;
}

/** Units in which two points differ: heads by name, neurons by layer, tensors by width. */
export function differences(a: Point, b: Point, base: MadeOf | null): string[] | null {
  const [x, y] = [layersOf(a.made, base), layersOf(b.made, base)];
  if (!x || !y) return null;
  const found: string[] = [];
  for (const layer of x) {
    const other = y.find((l) => l.layer === layer.layer);
    if (!other) continue;
    const name = `L${layer.layer}`;
    if (layer.isGone !== other.isGone) {
      found.push(`${name}: ${layer.isGone ? "removed" : "kept"} here, ${other.isGone ? "removed" : "kept"} there`);
      continue;
    }
    const heads = layer.heads.flatMap((kept, h) =>
      kept === (other.heads[h] ?? false) ? [] : [`${name}.H${h}: ${kept ? "kept" : "dropped"}`],
    );
    found.push(...heads);
    if (layer.neurons !== other.neurons) found.push(`${name} neurons: ${layer.neurons} here, ${other.neurons} there`);
    for (const { role, bits } of layer.bits) {
      const there = other.bits.find((t) => t.role === role)?.bits;
      if (there !== bits)
        found.push(`${name}.${role}: ${bits}-bit here, ${there === undefined ? "none" : `${there}-bit`} there`);
    }
  }
  const ends = (p: Point): Map<string, number> =>
    new Map(p.made?.tensors.filter((t) => !/^L\d/.test(t.tensor)).map((t) => [t.tensor, t.bits]));
  const there = ends(b);
  for (const [tensor, bits] of ends(a))
    if (there.get(tensor) !== bits)
      found.push(`${tensor}: ${bits}-bit here, ${there.has(tensor) ? `${there.get(tensor)}-bit` : "none"} there`);
  return found;
}

type Plain = string | number | boolean | null | undefined | readonly Plain[] | { readonly [name: string]: Plain };

/** The steps that make a point, and what came of them. */
export function recipeOf(point: Point, base: { readonly id: string; readonly made: MadeOf | null }) {
  const layers = layersOf(point.made, base.made);
  return {
    base: base.id,
    model: point.model,
    sizeBytes: point.sizeBytes,
    steps: point.madeBy.map((s) => ({ kind: s.kind, run: s.runId, config: s.config as Plain })),
    layers: layers?.map((l) => ({
      layer: l.layer,
      dropped: l.heads.flatMap((kept, h) => (kept ? [] : [`L${l.layer}.H${h}`])),
      neurons: l.neurons,
      bits: Object.fromEntries(l.bits.map((b) => [b.role, b.bits])),
    })),
  };
}

/** Enough of YAML 1.2 for plain data: block maps and lists, strings in JSON's quotes where they could be read otherwise. */
export function yaml(value: Plain, depth = 0): string {
  const pad = "  ".repeat(depth);
  const scalar = (v: Plain): string => {
    if (typeof v !== "string") return String(v ?? null);
    return /^[A-Za-z_][\w./ -]*$/.test(v) && !/^(true|false|null|yes|no|on|off|y|n)$/i.test(v) && !v.endsWith(" ")
      ? v
      : JSON.stringify(v);
  };
  if (Array.isArray(value)) {
    if (value.length === 0) return " []";
    if (value.every((v) => typeof v !== "object" || v === null)) return ` [${value.map(scalar).join(", ")}]`;
    return value.map((v) => `\n${pad}- ${yaml(v, depth + 1).trimStart()}`).join("");
  }
  if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value).filter(([, v]) => v !== undefined);
    if (entries.length === 0) return " {}";
    return entries.map(([k, v]) => `\n${pad}${scalar(k)}:${yaml(v, depth + 1)}`).join("");
  }
  return ` ${scalar(value)}`;
}
