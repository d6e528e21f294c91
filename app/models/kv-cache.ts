/** @file Bytes of the KV cache at a context, in fp16: layers with a window keep at most that many positions, layers that read another's keys none. */
export interface CacheLayer {
  readonly kvGroups: number;
  readonly kvSource: number | null;
  readonly headDim: number;
  readonly window: number | null;
}

export const kvCacheBytes = (layers: readonly CacheLayer[], context: number): number =>
  layers
    .filter((l) => l.kvSource === null)
    .reduce((n, l) => n + 2 * 2 * l.kvGroups * l.headDim * Math.min(context, l.window ?? context), 0);

/** Powers of two up to what the model allows, and that. */
export function contextsUpTo(most: number): number[] {
  const found: number[] = [];
  for (let c = 64; c < most; c *= 2) found.push(c);
  return [...found, most];
}
