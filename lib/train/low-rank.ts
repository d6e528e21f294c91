/**
 * @file Low-rank adapters: training changes a matrix only by a product of two thin matrices.
 *
 * Reference: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (2021).
 *
 *   W = W₀ + s B A,  A (rank, in) normal with variance 1 / in, B (out, rank) = 0 at first
 *
 * All matrices of all layers have them; embeddings, head and norms stay. W is kept merged in the
 * trained weights, so at every step they are the weights that would be written. Not included:
 * dropout.
 */

import { isTrained } from "../decoder/architecture.ts";
import { type DecoderWeights, weight, weightList } from "../decoder/weights.ts";
import { named } from "../elements.ts";
import type { Engine, Executable } from "../engines/engine.ts";
import { Builder } from "../mil/builder.ts";
import { f32, float32Data, type Tensor } from "../mil/tensor.ts";
import { fp32 } from "../mil/types.ts";
import type { Rng } from "../random.ts";
import type { Adapters } from "./backward.ts";

interface Pair {
  readonly a: Tensor; // (rank, in)
  readonly b: Tensor; // (out, rank)
}

export class LowRank implements Adapters {
  readonly rank: number;
  readonly scale: number;
  readonly pairs: ReadonlyMap<string, Pair>;
  private readonly engine: Engine;
  private readonly base: DecoderWeights;
  private readonly merged: DecoderWeights;
  private readonly compiled = new Map<string, Executable>();

  /** `merged` holds copies of the matrices of `base`; `merge` updates them. */
  constructor(
    engine: Engine,
    base: DecoderWeights,
    merged: DecoderWeights,
    { rank, scale, rng }: { rank: number; scale: number; rng: Rng },
  ) {
    this.engine = engine;
    this.base = base;
    this.merged = merged;
    this.rank = rank;
    this.scale = scale;
    const pairs = new Map<string, Pair>();
    for (const { name, layer, role, shape } of weightList(base.arch)) {
      if (layer === null || shape.length !== 2 || !isTrained(role)) continue;
      const [rows, columns] = shape as [number, number];
      const a = Float32Array.from({ length: rank * columns }, () => rng.normal() / Math.sqrt(columns));
      pairs.set(name, { a: f32([rank, columns], a), b: f32([rows, rank], new Float32Array(rows * rank)) });
    }
    this.pairs = pairs;
  }

  /** The parameters of the optimizer, under the names of their gradients. */
  parameters(): { name: string; values: Float32Array; decay: boolean }[] {
    return [...this.pairs].flatMap(([name, { a, b }]) => [
      { name: `${name}.a`, values: float32Data(a), decay: true },
      { name: `${name}.b`, values: float32Data(b), decay: true },
    ]);
  }

  /** Writes W₀ + s B A into the merged weights. */
  async merge(): Promise<void> {
    for (const [name, { a, b }] of this.pairs) {
      const w = weight(this.base, name);
      const [rows, columns] = w.shape as [number, number];
      const key = `${rows} ${columns}`;
      const exe =
        this.compiled.get(key) ?? (await this.engine.compile(mergeProgram(rows, columns, this.rank, this.scale)));
      this.compiled.set(key, exe);
      float32Data(weight(this.merged, name)).set(float32Data(named(await exe.run({ w, a, b }), "merged")));
    }
  }

  async dispose(): Promise<void> {
    for (const exe of this.compiled.values()) await exe.dispose();
  }
}

function mergeProgram(rows: number, columns: number, rank: number, scale: number) {
  const b = new Builder("merge");
  const w = b.input("w", fp32(rows, columns));
  const down = b.input("a", fp32(rank, columns));
  const up = b.input("b", fp32(rows, rank));
  return b.build({ merged: b.add(w, b.mul(b.matmul(up, down), scale)) });
}
