/** @file What a row of the table of released models is: one file in `rows/`, listed in `run.ts`. */
import type { Measured } from "./measured.ts";

export interface RealBench {
  /** A checkpoint folder or a GGUF file. */
  readonly model: string;
  readonly text: string;
  /** For what a row writes and a later one reads. */
  readonly folder: string;
  /** Bytes of the weights in fp32. */
  readonly fp32Bytes: number;
  /** A Python with torch and transformers; null: no peers. */
  readonly python: string | null;
}

export interface RowResult {
  readonly here: Pick<Measured, "processorSeconds" | "peakBytes">;
  /** Null where nobody does the same. Processor seconds without loading. */
  readonly peer: { readonly processorSeconds: number; readonly peakBytes: number } | null;
  /** More that the row found, in a few words. */
  readonly note?: string;
}

export interface RealRow {
  readonly name: string;
  /** Goals, and what there was before, of the whole command; null: none was set. Memory in multiples of the fp32 weights. */
  readonly seconds: { readonly before: number | null; readonly goal: number | null };
  readonly memory: { readonly before: number | null; readonly goal: number | null };
  run(bench: RealBench): Promise<RowResult>;
}
