/**
 * @file The published figures the cost model is fitted to, and those it is checked on.
 *
 * Each says what was streamed, on what, how fast, and who published it. `fit` figures decide
 * parameters; `check` figures are held out and used only for comparison. Sizes that the source does
 * not give are derived from the model's architecture, and the note says so. Figures with an
 * unpublished weight format are not included.
 */
import type { Report } from "./refit.ts";
import { emptyWorkload, type Product, type Workload } from "./workload.ts";

export interface PublishedFigure extends Report {
  readonly use: "fit" | "check";
  readonly source: string;
  readonly note: string;
}

const GB = 1e9;
const product = (scheme: Product["scheme"], weightBytes: number, flops = 0): Product => ({
  scheme,
  weightBytes,
  flops,
});
const workload = (parts: Partial<Workload>): Workload => ({ ...emptyWorkload, ...parts });

/** OPT-1.3B's 24 layers of 12 · 2048² weights; the tied table is not counted, see the note. */
const OPT_WEIGHTS = 24 * 12 * 2048 ** 2;
/** Output channels of its linears: 9 · 2048 a layer (four attention projections, 8192 and 2048 of the MLP). */
const OPT_CHANNELS = 24 * (4 * 2048 + 8192 + 2048);
const OPT_SOURCE = "apple/coremltools docs-guides opt-opt1_3 (iPhone 15 Pro, next token)";
const OPT_NOTE =
  "4-bit at its total of 0.82 GB would exceed the bandwidth, so the untouched fp16 table is taken as not streamed. A benchmark without an app: no call overhead counted.";

const opt = (id: string, use: "fit" | "check", perTable: number | null, ms: number): PublishedFigure => {
  const tables = perTable === null ? 0 : OPT_CHANNELS / perTable;
  return {
    id: `opt-1.3b ${id}`,
    use,
    device: "a17-pro",
    measuredMs: ms,
    workload: workload({
      products: [product(id === "fp16" ? "fp16" : "palette", id === "fp16" ? 2 * OPT_WEIGHTS : OPT_WEIGHTS / 2)],
      tables,
      crowdedTables: Math.max(0, tables - OPT_CHANNELS / 4),
      calls: 0,
    }),
    source: OPT_SOURCE,
    note: OPT_NOTE,
  };
};

/** Gemma 4 E2B: layers that run, at 4 bits, and the 262144 × 1536 head; per-layer embeddings stay with the host. */
const E2B_WEIGHTS = 1.9e9;
const E2B_HEAD = 262_144 * 1536;
const E2B_BYTES = (E2B_WEIGHTS + E2B_HEAD) / 2;
/** Qwen3.5's tied table of 248320 rows is its head. */
const QWEN_2B_BYTES = 2.04e9;
const QWEN_08B_BYTES = 0.75e9;
/** Qwen3-1.7B-shaped: 28 layers, 8 KV groups of 128, fp16 keys and values. */
const KV_BYTES_17B = 28 * 2 * 8 * 128 * 2;
const CACHE_NOTE =
  "4-bit palettes of 1.7B weights; cache bytes from 28 layers, 8 KV groups of 128. The chip is given as M-series; taken as M4.";

const cache = (
  use: "fit" | "check",
  positions: number,
  perSecond: number,
  name = String(positions),
): PublishedFigure => ({
  id: `1.7b cache ${name}`,
  use,
  device: "m4",
  measuredMs: 1000 / perSecond,
  workload: workload({ products: [product("palette", 1.72e9 / 2)], cacheBytes: positions * KV_BYTES_17B }),
  source: "john-rocky/CoreML-LLM (cost of the allocated cache)",
  note: CACHE_NOTE,
});

const LLAMA7_FLOPS = 64 * 2 * 6.74e9;
const llama7 = (use: "fit" | "check", device: string, perSecond: number, what: string): PublishedFigure => ({
  id: `llama-2-7b ${device}`,
  use,
  device,
  measuredMs: 1000 / perSecond,
  workload: workload({ positions: 64, products: [product("palette", 3.9 * GB, LLAMA7_FLOPS)], calls: 0 }),
  source: "smpanaro/coreml-llm-cli README",
  note: `${what}. Every step computes 64 positions, so it is bound by arithmetic; its host work overlaps.`,
});

export const publishedFigures: readonly PublishedFigure[] = [
  opt("fp16", "fit", null, 92.15),
  opt("4 bit, one table", "fit", null, 14.76),
  opt("4 bit, groups of 8", "check", 8, 15.49),
  opt("4 bit, groups of 4", "fit", 4, 17.07),
  opt("4 bit, groups of 2", "check", 2, 30.72),
  opt("4 bit, groups of 1", "fit", 1, 59.11),
  {
    id: "gemma 4 e2b, 4 packages less 3",
    use: "fit",
    device: "a19-pro",
    // 3 packages are 8.2 % faster than 4, and give 34.2 tokens/s.
    measuredMs: (1000 / 34.2) * 0.082,
    workload: workload({ calls: 1 }),
    source: "john-rocky/CoreML-LLM docs/ARCHITECTURE (three-chunk decode +8.2 % on A19 Pro)",
    note: "The difference of two speeds: what one more package costs.",
  },
  {
    id: "qwen3.5-2b int8",
    use: "fit",
    device: "a19-pro",
    measuredMs: 1000 / 17,
    workload: workload({ products: [product("int8", QWEN_2B_BYTES)], calls: 4 }),
    source: "john-rocky/CoreML-LLM release v1.1.0 (iPhone 17 Pro, four int8 packages)",
    note: "2.04 B weights, the head's among them, a byte each.",
  },
  {
    id: "gemma 4 e2b prefill",
    use: "fit",
    device: "a17-pro",
    measuredMs: 188,
    workload: workload({
      positions: 64,
      products: [product("palette", E2B_BYTES, 64 * 2 * E2B_WEIGHTS)],
      calls: 4,
    }),
    source: "john-rocky/CoreML-Models PR 79 (188 ms to the first token of 33, chunk of 64, iPhone 15 Pro)",
    note: "The only prefill time of an iPhone found; nothing is held out against it. An early version.",
  },
  llama7("fit", "m3", 13.92, "M3 Max"),
  cache("fit", 1024, 24.1),
  cache("fit", 4096, 4.9),
  {
    id: "llama-3.1-8b gpu",
    use: "fit",
    device: "m1-max-gpu",
    measuredMs: 1000 / 33,
    workload: workload({ elsewhere: "GPU", elsewhereBytes: (8.03e9 * 4.5) / 8, calls: 0 }),
    source: "machinelearning.apple.com/research/core-ml-on-device-llama (M1 Max, int4 in blocks of 32)",
    note: "Bandwidth 400 GB/s.",
  },
  {
    id: "streaming, m4",
    use: "fit",
    device: "m4",
    measuredMs: 1000 / 52.5,
    workload: workload({ products: [product("fp16", GB)], calls: 0 }),
    source: "kasper0406/stablehlo-coreml PR 110 (citing E. Yoon; M4: 45 to 60 GB/s)",
    note: "The middle of the range, as the time of 1 GB.",
  },
  {
    id: "streaming in the notch, m4",
    use: "fit",
    device: "m4",
    measuredMs: 1000 / 18,
    workload: workload({ products: [product("fp16", GB)], notchBytes: GB, calls: 0 }),
    source: "kasper0406/stablehlo-coreml PR 110 (citing E. Yoon; M4: 17 to 19 GB/s)",
    note: "The middle of the range, as the time of 1 GB.",
  },
  {
    id: "hand-over",
    use: "fit",
    device: "a19-pro",
    measuredMs: 0.7,
    workload: workload({ handOvers: 1, calls: 0 }),
    source: "Core AI reports (0.7 ms per region border; 0.3 to 1.75 ms for one topk)",
    note: "Reported for Core AI's regions; taken for Core ML's.",
  },
  // Held out.
  {
    id: "gemma 4 e2b",
    use: "check",
    device: "a19-pro",
    measuredMs: 1000 / 34.2,
    workload: workload({ products: [product("palette", E2B_BYTES)], calls: 3 }),
    source: "john-rocky/CoreML-LLM README (iPhone 17 Pro, 4-bit palettes, three packages)",
    note: "1.9 B weights in running layers and the head, at 4 bits; its caches are small (one KV group, rings).",
  },
  {
    id: "gemma 4 e2b, early",
    use: "check",
    device: "a17-pro",
    measuredMs: 1000 / 11,
    workload: workload({ products: [product("palette", E2B_BYTES)], calls: 4 }),
    source: "john-rocky/CoreML-Models PR 79 (iPhone 15 Pro, v0.2)",
    note: "An early version at 2048 positions; the same project tripled its speed since.",
  },
  {
    id: "gemma 4 e4b",
    use: "check",
    device: "a19-pro",
    measuredMs: 1000 / 15.7,
    workload: workload({ products: [product("palette", (4.0e9 + 262_144 * 2560) / 2)], calls: 4 }),
    source: "john-rocky/CoreML-LLM README (iPhone 17 Pro)",
    note: "4.0 B weights in running layers and the head, at 4 bits.",
  },
  {
    id: "qwen3.5-0.8b int8",
    use: "check",
    device: "a19-pro",
    measuredMs: 1000 / 48,
    workload: workload({ products: [product("int8", QWEN_08B_BYTES)], calls: 1 }),
    source: "john-rocky/CoreML-LLM README (iPhone 17 Pro)",
    note: "0.75 B weights, the head's among them, taken as int8 as its larger sibling is.",
  },
  {
    id: "qwen3.5-0.8b, 6 bit",
    use: "check",
    device: "m4",
    measuredMs: 1000 / 56,
    workload: workload({ products: [product("palette", (QWEN_08B_BYTES * 6) / 8)], calls: 1 }),
    source: "ANEMLL demonstration (M4 Pro, 6-bit palettes)",
    note: "0.75 B weights.",
  },
  {
    id: "functiongemma-270m, 8 bit",
    use: "fit",
    device: "m4",
    measuredMs: 1000 / 252,
    workload: workload({ products: [product("palette", 0.27e9)], cacheBytes: 128 * 18 * 2 * 256 * 2, calls: 1 }),
    source: "Hugging Face aufklarer/FunctionGemma-270M-CoreML (M-series, cache of 128)",
    note: "The chip is given as M-series; taken as M4.",
  },
  {
    id: "qwen3.5-2b, 4 bit",
    use: "check",
    device: "a19-pro",
    measuredMs: 1000 / 27.9,
    workload: workload({ products: [product("palette", QWEN_2B_BYTES / 2)], calls: 4 }),
    source: "john-rocky/apple-silicon-llm-bench (iPhone 17 Pro, Core ML on the Neural Engine, 128 tokens)",
    note: "2.04 B weights at 4 bits; packages as in the int8 release.",
  },
  {
    id: "gemma 4 e2b, second bench",
    use: "check",
    device: "a19-pro",
    measuredMs: 1000 / 33.4,
    workload: workload({ products: [product("palette", E2B_BYTES)], calls: 3 }),
    source: "john-rocky/apple-silicon-llm-bench (iPhone 17 Pro, Core ML on the Neural Engine, 128 tokens)",
    note: "As the figure above, measured by the bench's own app.",
  },
  cache("check", 2048, 9.4),
  cache("check", 1024, 25.6, "ring of 1024"),
  llama7("check", "m1", 7.02, "M1 Max"),
  {
    id: "gemma 4 e2b, core ai gpu",
    use: "check",
    device: "a19-pro",
    measuredMs: 1000 / 30.3,
    workload: workload({ elsewhere: "GPU", elsewhereBytes: E2B_BYTES * (4.5 / 4), calls: 1 }),
    source: "Hugging Face mlboydaisuke (iPhone 17 Pro, Core AI on the GPU)",
    note: "Blocks of 32: 4.5 bits a weight.",
  },
];
