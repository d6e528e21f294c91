/** @file A small made-up model for the tests of this folder: 3 layers, 4 heads in 2 groups, 64 neurons. */
import type { Anatomy } from "./units.ts";

const hidden = 16;
const headDim = 4;

export function smallAnatomy(layers = 3): Anatomy {
  const roles: Record<string, number> = {
    attentionNorm: hidden,
    mlpNorm: hidden,
    query: 4 * headDim * hidden,
    key: 2 * headDim * hidden,
    value: 2 * headDim * hidden,
    output: 4 * headDim * hidden,
    gate: 64 * hidden,
    up: 64 * hidden,
    down: 64 * hidden,
  };
  return {
    hidden,
    vocab: 100,
    maxPositions: 1024,
    layers: Array.from({ length: layers }, (_, l) => ({
      queryHeads: 4,
      kvGroups: 2,
      headDim,
      headToGroup: [0, 0, 1, 1],
      neurons: 64,
      window: l === 1 ? 128 : null,
    })),
    tensors: [
      { layer: null, role: "embedding", elements: 100 * hidden },
      ...Array.from({ length: layers }, (_, layer) =>
        Object.entries(roles).map(([role, elements]) => ({ layer, role, elements })),
      ).flat(),
    ],
  };
}
