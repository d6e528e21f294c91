/**
 * @file The work of one call of a model, on any device: weights to stream by scheme, arithmetic,
 * cache, hand-overs.
 *
 * A token of decoding may take several calls (a model cut into packages). Counts are sums over
 * operations, so those of two halves of a model add up.
 */
export const schemes = ["fp16", "int8", "palette", "sparse"] as const;
/** How a weight is stored, as far as that decides its streaming rate. `int8` is any integer with a
 * scale per channel. */
export type Scheme = (typeof schemes)[number];

export interface Product {
  readonly scheme: Scheme;
  /** Bytes of the stored weight; 0 for products of two activations. */
  readonly weightBytes: number;
  readonly flops: number;
}

export interface Workload {
  /** New positions of a call. */
  readonly positions: number;
  /** On the Neural Engine. */
  readonly products: readonly Product[];
  /** Palette tables, and the number of them above one per four channels. */
  readonly tables: number;
  readonly crowdedTables: number;
  /** fp16 weight bytes whose share per core is a whole number of MiB. */
  readonly notchBytes: number;
  /** Keys and values attention reads. */
  readonly cacheBytes: number;
  readonly operations: number;
  /** Borders between the Neural Engine and another unit, each way counted. */
  readonly handOvers: number;
  /** Weights of products on the GPU or the CPU. */
  readonly elsewhereBytes: number;
  readonly elsewhere: "GPU" | "CPU";
  /** Predictions a step takes: one per package. */
  readonly calls: number;
}

export const weightBytes = (w: Workload): number =>
  w.elsewhereBytes + w.products.reduce((n, p) => n + p.weightBytes, 0);
export const flops = (w: Workload): number => w.products.reduce((n, p) => n + p.flops, 0);

export const emptyWorkload: Workload = {
  positions: 1,
  products: [],
  tables: 0,
  crowdedTables: 0,
  notchBytes: 0,
  cacheBytes: 0,
  operations: 0,
  handOvers: 0,
  elsewhereBytes: 0,
  elsewhere: "CPU",
  calls: 1,
};
