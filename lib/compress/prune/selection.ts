/**
 * @file Which heads to take away: from scores and a share, or from a list of names.
 *
 * References: Michel et al. (2019) for global ranking; NVIDIA's Minitron (2024) for group-aware ranking. Three ways to
 * choose at a share r of all heads:
 *
 *   free      the lowest-scored heads anywhere; layers and groups may end up with different numbers
 *   balanced  in every layer the same number from every group, the weakest of each: a standard GQA layer stays one
 *   groups    whole KV groups, by the sum of their heads' scores per head
 *
 * A group's heads are those of every layer that reads it: where layers share keys and values, it goes from all of them or
 * from none. A layer never loses its last head. Left out: choices that account for interactions.
 */
import { type DecoderArchitecture, kvReaders, type LayerArchitecture } from "../../decoder/architecture.ts";
import { EspalierError } from "../../errors.ts";
import { parseUnit } from "../../ids.ts";

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
 * `scores` (layers, heads): what each head is worth. At least ⌈r · heads⌉ heads are dropped where the mode allows.
 * Throws `input/invalid` for a share outside (0, 1) and `prune/empty-layer` when the share cannot be reached.
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

/** The groups of a layer with keys and values of its own; one that reads another's has none to give. */
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
    const perGroup = layer.queryHeads / layer.kvGroups;
    const count = Math.ceil(share * perGroup - 1e-9);
    if (count >= perGroup) {
      throw new EspalierError(
        "prune/empty-layer",
        `layer ${l} has ${perGroup} heads a group; dropping ${count} of each leaves none`,
        {
          hint: "Lower --ratio, or choose --mode free or groups.",
        },
      );
    }
    return Array.from({ length: layer.kvGroups }, (_, g) =>
      readingHeads(layer, g)
        .sort((a, b) => scoreOf(scores, l, a) - scoreOf(scores, l, b) || a - b)
        .slice(0, count),
    )
      .flat()
      .sort((a, b) => a - b);
  });
}

/** Heads and groups by name. Throws `prune/unknown-unit` with the range there is, or `prune/empty-layer`. */
export function headsByName(arch: DecoderArchitecture, names: readonly string[]): HeadSelection {
  const drop = arch.layers.map(() => new Set<number>());
  for (const name of names) {
    const unit = parseUnit(name);
    const layer = arch.layers[unit.layer];
    const chosen = drop[unit.layer];
    if (!layer || !chosen) {
      throw new EspalierError("prune/unknown-unit", `${name}: there is no layer ${unit.layer}`, {
        hint: `Layers are L0 to L${arch.layers.length - 1}.`,
      });
    }
    if (unit.kind === "head") {
      if (unit.index >= layer.queryHeads) {
        throw new EspalierError("prune/unknown-unit", `${name}: layer ${unit.layer} has no such head`, {
          hint: `Its heads are H0 to H${layer.queryHeads - 1}.`,
        });
      }
      chosen.add(unit.index);
    } else if (unit.kind === "group") {
      if (unit.index >= layer.kvGroups) {
        throw new EspalierError("prune/unknown-unit", `${name}: layer ${unit.layer} has no such group`, {
          hint: `Its groups are G0 to G${layer.kvGroups - 1}.`,
        });
      }
      for (const { layer: reader, heads } of headsOfGroup(arch, unit.layer, unit.index))
        for (const h of heads) drop[reader]?.add(h);
    } else {
      throw new EspalierError("prune/unknown-unit", `${name} is neither a head nor a KV group`, {
        hint: "Name heads L3.H5 and groups L3.G1.",
      });
    }
  }
  return drop.map((chosen, l) => {
    if (chosen.size >= (arch.layers[l]?.queryHeads ?? 0)) {
      throw new EspalierError("prune/empty-layer", `the list would leave layer ${l} without heads`, {
        hint: `Keep at least one head of layer ${l}.`,
      });
    }
    return [...chosen].sort((a, b) => a - b);
  });
}
