/**
 * @file Which heads to remove: from scores and a share, or from a list of names.
 *
 * References: Michel et al. (2019) for global ranking; NVIDIA's Minitron (2024) for group-aware ranking. Three ways to
 * choose at a share r of all heads:
 *
 *   free      the lowest-scored heads anywhere; layers and groups may end up with different numbers
 *   balanced  in every layer the same number from every group, the weakest of each: a standard GQA layer stays one;
 *             of a group's g heads the whole number nearest to r g, at least one
 *   groups    whole KV groups, by the sum of their heads' scores per head
 *
 * A group's heads are those of every layer that reads it: where layers share keys and values, it is
 * removed from all of them or from none. A layer never loses its last head. Not included: choices
 * that account for interactions.
 */
import { type DecoderArchitecture, kvReaders, type LayerArchitecture } from "../../decoder/architecture.ts";
import { EspalierError } from "../../errors.ts";
import { parseUnit } from "../../units.ts";

export type SelectionMode = "free" | "balanced" | "groups";

/** Heads to drop by layer, ascending. */
export type HeadSelection = readonly (readonly number[])[];

export const headCount = (arch: DecoderArchitecture): number => arch.layers.reduce((n, l) => n + l.queryHeads, 0);

interface HeadsOfLayer {
  readonly layer: number;
  readonly heads: readonly number[];
}

interface Candidate {
  /** What goes together. */
  readonly parts: readonly HeadsOfLayer[];
  readonly score: number;
}

/**
 * `scores` (layers, heads): the importance of each head. Drops ⌈r · heads⌉ heads; `balanced` drops
 * the nearest possible number, and `groups` up to one group more. Throws `input/invalid` for a
 * share outside (0, 1) and `prune/empty-layer` when the share cannot be reached.
 */
export function selectHeads(
  arch: DecoderArchitecture,
  scores: readonly (readonly number[])[],
  share: number,
  mode: SelectionMode,
): HeadSelection {
  if (!(share > 0 && share < 1))
    throw new EspalierError("input/invalid", `the share to prune must lie between 0 and 1, found ${share}`);
  const target = Math.ceil(share * headCount(arch) - 1e-9);
  if (mode === "balanced") return balanced(arch, scores, share);
  const candidates = arch.layers.flatMap((layer, l) =>
    mode === "free" ? single(layer, l, scores) : grouped(arch, l, scores),
  );
  // Stable, so that equal scores go by layer and head.
  candidates.sort((a, b) => a.score - b.score);
  const drop: number[][] = arch.layers.map(() => []);
  let dropped = 0;
  for (const c of candidates) {
    if (dropped >= target) break;
    const leavesNone = c.parts.some(
      (p) => (drop[p.layer]?.length ?? 0) + p.heads.length >= (arch.layers[p.layer]?.queryHeads ?? 0),
    );
    if (leavesNone) continue;
    for (const p of c.parts) {
      drop[p.layer]?.push(...p.heads);
      dropped += p.heads.length;
    }
  }
  if (dropped < target) {
    throw new EspalierError(
      "prune/empty-layer",
      `${target} of ${headCount(arch)} heads cannot go: every layer must keep one${mode === "groups" ? " whole group" : ""}, so at most ${dropped} can`,
      {
        hint: "Lower --ratio.",
      },
    );
  }
  return drop.map((d) => d.sort((a, b) => a - b));
}

const scoreOf = (scores: readonly (readonly number[])[], layer: number, head: number): number => {
  const s = scores[layer]?.[head];
  if (s === undefined || !Number.isFinite(s))
    throw new EspalierError("numeric/non-finite", `the score of L${layer}.H${head} is ${s}`);
  return s;
};

const single = (layer: LayerArchitecture, l: number, scores: readonly (readonly number[])[]): Candidate[] =>
  layer.headToGroup.map((_, h) => ({ parts: [{ layer: l, heads: [h] }], score: scoreOf(scores, l, h) }));

/** The groups of a layer with its own keys and values; a layer that reads another's has none. */
function grouped(arch: DecoderArchitecture, l: number, scores: readonly (readonly number[])[]): Candidate[] {
  const layer = arch.layers[l];
  if (!layer || layer.kvSource !== null) return [];
  return Array.from({ length: layer.kvGroups }, (_, g) => {
    const parts = headsOfGroup(arch, l, g);
    const each = parts.flatMap((p) => p.heads.map((h) => scoreOf(scores, p.layer, h)));
    return { parts, score: each.reduce((t, s) => t + s, 0) / Math.max(1, each.length) };
  }).filter((c) => c.parts.length > 0);
}

const readingHeads = (layer: LayerArchitecture, group: number): number[] =>
  layer.headToGroup.flatMap((g, h) => (g === group ? [h] : []));

/**
 * The heads that closing the gate of a group silences: those of every layer that reads it, or, named in a layer that reads
 * another's keys and values, those of that layer alone.
 */
export function headsOfGroup(arch: DecoderArchitecture, l: number, group: number): HeadsOfLayer[] {
  const layers = arch.layers[l]?.kvSource === null ? kvReaders(arch, l) : [l];
  return layers
    .map((reader) => ({ layer: reader, heads: readingHeads(arch.layers[reader] as LayerArchitecture, group) }))
    .filter((p) => p.heads.length > 0);
}

function balanced(arch: DecoderArchitecture, scores: readonly (readonly number[])[], share: number): HeadSelection {
  return arch.layers.map((layer, l) => {
    const groups = Array.from({ length: layer.kvGroups }, (_, g) => readingHeads(layer, g));
    // The smallest, where earlier pruning left them uneven.
    const perGroup = Math.min(...groups.map((heads) => heads.length));
    const count = Math.max(1, Math.round(share * perGroup));
    if (count >= perGroup) {
      throw new EspalierError(
        "prune/empty-layer",
        `layer ${l} has ${perGroup} heads a group; dropping ${count} of each leaves none`,
        {
          hint: "Lower --ratio, or choose --mode free or groups.",
        },
      );
    }
    return groups
      .flatMap((heads) => heads.sort((a, b) => scoreOf(scores, l, a) - scoreOf(scores, l, b) || a - b).slice(0, count))
      .sort((a, b) => a - b);
  });
}

/** Everything to remove: heads and neurons by layer in the old numbering, and whole layers,
 * ascending. */
export interface PruneSelection {
  readonly heads: HeadSelection;
  readonly neurons: readonly (readonly number[])[];
  readonly layers: readonly number[];
}

/** Nothing taken away. */
export const emptySelection = (arch: DecoderArchitecture): PruneSelection => ({
  heads: arch.layers.map(() => []),
  neurons: arch.layers.map(() => []),
  layers: [],
});

/**
 * Heads, KV groups, neurons and layers by name. Throws `prune/unknown-unit` with the valid range,
 * or `prune/empty-layer` when a layer that stays would keep no head or no neuron, or no layer would
 * stay.
 */
export function selectionByName(arch: DecoderArchitecture, names: readonly string[]): PruneSelection {
  const heads = arch.layers.map(() => new Set<number>());
  const neurons = arch.layers.map(() => new Set<number>());
  const layers = new Set<number>();
  for (const name of names) {
    const unit = parseUnit(name);
    const layer = arch.layers[unit.layer];
    if (!layer) {
      throw new EspalierError("prune/unknown-unit", `${name}: there is no layer ${unit.layer}`, {
        hint: `Layers are L0 to L${arch.layers.length - 1}.`,
      });
    }
    const refuse = (what: string, letter: string, count: number): never => {
      throw new EspalierError("prune/unknown-unit", `${name}: layer ${unit.layer} has no such ${what}`, {
        hint: `Its ${what}s are ${letter}0 to ${letter}${count - 1}.`,
      });
    };
    if (unit.kind === "heads") {
      if (unit.index >= layer.queryHeads) refuse("head", "H", layer.queryHeads);
      heads[unit.layer]?.add(unit.index);
    } else if (unit.kind === "groups") {
      if (unit.index >= layer.kvGroups) refuse("group", "G", layer.kvGroups);
      for (const { layer: reader, heads: own } of headsOfGroup(arch, unit.layer, unit.index))
        for (const h of own) heads[reader]?.add(h);
    } else if (unit.kind === "neurons") {
      if (unit.index + unit.count > layer.neurons) refuse("neuron", "N", layer.neurons);
      for (let n = 0; n < unit.count; n++) neurons[unit.layer]?.add(unit.index + n);
    } else if (unit.kind === "layers") layers.add(unit.layer);
    else {
      throw new EspalierError("prune/unknown-unit", `${name} cannot be cut out`, {
        hint: "Name heads L3.H5, groups L3.G1, neurons L3.N12 or L3.N0-31, and layers L3.",
      });
    }
  }
  if (layers.size >= arch.layers.length)
    throw new EspalierError("prune/empty-layer", "the list would leave no layer", { hint: "Keep at least one layer." });
  for (const l of layers) refuseLayer(arch, l, layers);
  for (const [l, layer] of arch.layers.entries()) {
    if (layers.has(l)) continue;
    if ((heads[l]?.size ?? 0) > 0) refuseHeads(arch, l);
    const bare =
      (heads[l]?.size ?? 0) >= layer.queryHeads ? "heads" : (neurons[l]?.size ?? 0) >= layer.neurons ? "neurons" : null;
    if (bare) {
      throw new EspalierError("prune/empty-layer", `the list would leave layer ${l} without ${bare}`, {
        hint: `Keep at least one of the ${bare} of layer ${l}, or drop all of L${l}.`,
      });
    }
  }
  const ascending = (s: ReadonlySet<number>): number[] => [...s].sort((a, b) => a - b);
  return { heads: heads.map(ascending), neurons: neurons.map(ascending), layers: ascending(layers) };
}

/** Whether heads of a layer can be cut. Where one norm spans q or k of all heads, those that stay would be divided by another size. */
export const canLoseHeads = (layer: LayerArchitecture): boolean => layer.qkNorm !== "projection";

/** Throws `input/invalid` where heads of a layer cannot be cut. */
export function refuseHeads(arch: DecoderArchitecture, l: number): void {
  const layer = arch.layers[l];
  if (!layer || canLoseHeads(layer)) return;
  throw new EspalierError(
    "input/invalid",
    `heads of layer ${l} cannot be cut: one norm spans the queries, and one the keys, of all its heads`,
    {
      hint: "Cut neurons or layers. What heads are worth can be measured all the same: closed gates leave the norm as it is.",
    },
  );
}

/**
 * Throws `input/invalid` where a layer cannot be removed: a layer that stays reads its keys and
 * values, or the model's layers have their own embeddings or scalar, which no other layer could
 * take over.
 */
export function refuseLayer(arch: DecoderArchitecture, l: number, gone: ReadonlySet<number>): void {
  const why =
    arch.perLayer || arch.layers[l]?.layerScalar
      ? "the layers of this model have embeddings or scalars of their own"
      : kvReaders(arch, l).some((reader) => reader !== l && !gone.has(reader))
        ? "a layer that stays reads its keys and values"
        : null;
  if (why === null) return;
  throw new EspalierError("input/invalid", `layer ${l} cannot be taken out: ${why}`, {
    hint: "Drop heads or neurons of it instead.",
  });
}
