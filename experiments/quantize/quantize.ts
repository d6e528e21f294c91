/**
 * @file Quantize: write the checkpoint again with palettes or affine codes for its matrices.
 */
import { z } from "zod";
import { decodeWeight, weightSizeBytes } from "../../lib/compress/decode.ts";
import { compressByRows } from "../../lib/compress/quantize/by-rows.ts";
import { palettize } from "../../lib/compress/quantize/palettize.ts";
import { quantizeAffine } from "../../lib/compress/quantize/round-to-nearest.ts";
import type { CompressedWeight } from "../../lib/compress/weight.ts";
import { weight, weightList } from "../../lib/decoder/weights.ts";
import { EspalierError } from "../../lib/errors.ts";
import { throwIfCancelled } from "../../lib/eval/perplexity.ts";
import { roundToFloat16 } from "../../lib/float16.ts";
import { writeCheckpoint } from "../../lib/formats/hugging-face/checkpoint.ts";
import { float32Data } from "../../lib/mil/tensor.ts";
import { elementCount } from "../../lib/mil/types.ts";
import type { Experiment, Unit } from "../definition.ts";

const paletteBits = [1, 2, 3, 4, 6, 8] as const;
export const schemes = ["palette", "affine"] as const;

export const quantizeConfig = z.object({
  model: z.string().describe("A checkpoint folder or the id of a known model").meta({ role: "model" }),
  out: z.string().describe("Folder to write the quantized checkpoint to").meta({ role: "output" }),
  scheme: z
    .enum(schemes)
    .default("palette")
    .describe("palette: a table of values by k-means; affine: codes times a scale"),
  bits: z.number().int().default(4).describe("Palette: 1, 2, 3, 4, 6 or 8. Affine: 4 or 8"),
  embeddingBits: z.number().int().optional().describe("Bits of embeddings and head, when they should differ"),
  rowsPerTable: z
    .number()
    .int()
    .positive()
    .default(16)
    .describe("Palette: output channels that share a table (8 to 32 suit the Neural Engine)"),
  groupSize: z
    .number()
    .int()
    .positive()
    .optional()
    .describe("Affine: input channels that share a scale; absent: the whole row"),
  asymmetric: z.boolean().default(false).describe("Affine: an offset for every scale"),
  keepExtremes: z.boolean().default(false).describe("Affine: no search for a better clip"),
  replace: z.boolean().default(false).describe("Overwrite what is at --out").meta({ role: "replace" }),
});
export type QuantizeConfig = z.infer<typeof quantizeConfig>;

export interface QuantizeSummary {
  readonly out: string;
  readonly sizeBytes: number;
  readonly bitsPerWeight: number;
  /** ‖w − ŵ‖² / ‖w‖² over all quantized matrices. */
  readonly relativeError: number;
  readonly tensors: { name: string; kind: string; bitsPerWeight: number; relativeError: number }[];
}

const result = z.object({
  tensors: z.array(
    z.object({
      name: z.string(),
      kind: z.string(),
      sizeBytes: z.number(),
      elements: z.number(),
      errorSum: z.number(),
      squareSum: z.number(),
    }),
  ),
});

/** One matrix under a config. Throws `input/invalid` when bits, groups or tables do not fit. */
export function quantizeMatrix(
  values: Float32Array,
  shape: readonly number[],
  isEmbedding: boolean,
  config: QuantizeConfig,
): CompressedWeight {
  const wanted = isEmbedding ? (config.embeddingBits ?? config.bits) : config.bits;
  if (config.scheme === "palette") {
    const bits = paletteBits.find((b) => b === wanted);
    if (bits === undefined)
      throw new EspalierError("input/invalid", `palettes have 1, 2, 3, 4, 6 or 8 bits, found ${wanted}`);
    return palettize(values, shape, { bits, rowsPerTable: config.rowsPerTable });
  }
  if (wanted !== 4 && wanted !== 8)
    throw new EspalierError("input/invalid", `affine codes have 4 or 8 bits, found ${wanted}`);
  return quantizeAffine(values, shape, {
    bits: wanted,
    groupSize: config.groupSize ?? null,
    symmetric: !config.asymmetric,
    clipSearch: !config.keepExtremes,
  });
}

export const quantize: Experiment<QuantizeConfig, Unit, z.infer<typeof result>, QuantizeSummary> = {
  kind: "quantize",
  version: 1,
  title: "Fewer bits a weight",
  config: quantizeConfig,
  result,

  async plan(config, context) {
    const { hash } = await context.models.open(config.model);
    // Only the folder matters, and it is made anew each time.
    return [{ key: `${hash} ${JSON.stringify(config)} ${context.clock.nowMs()}`, label: "quantizing" }];
  },

  async run(_unit, config, context, onShare) {
    const model = await context.models.open(config.model);
    const { weights } = model;
    const list = weightList(weights.arch);
    const total = list.reduce((n, w) => n + elementCount(w.shape), 0);
    const compressed = new Map<string, CompressedWeight>();
    const tensors: z.infer<typeof result>["tensors"] = [];
    let done = 0;
    for (const { name, shape, role } of list) {
      throwIfCancelled(context.signal);
      const table = weights.tables.get(name);
      if (table) {
        const sums = { errorSum: 0, squareSum: 0 };
        const rowsTogether = config.scheme === "palette" ? config.rowsPerTable : 1;
        const w = await compressByRows(table, {
          rowsTogether,
          compress: (v, s) => quantizeMatrix(v, s, true, config),
          async onBlock(v, part, share) {
            throwIfCancelled(context.signal);
            const { errorSum, squareSum } = errorOf(v, part);
            sums.errorSum += errorSum;
            sums.squareSum += squareSum;
            onShare((done + share * elementCount(shape)) / total);
            await new Promise((resolve) => setImmediate(resolve));
          },
        });
        compressed.set(name, w);
        tensors.push({ name, kind: w.kind, sizeBytes: weightSizeBytes(w), elements: elementCount(shape), ...sums });
        done += elementCount(shape);
        continue;
      }
      const values = float32Data(weight(weights, name));
      // Norm gains are a thousandth of the model and decide its scale: they stay fp16.
      const w: CompressedWeight =
        shape.length < 2
          ? { kind: "dense", dtype: "fp16", shape, values: values.map(roundToFloat16) }
          : quantizeMatrix(values, shape, role === "embedding" || role === "head", config);
      compressed.set(name, w);
      const { errorSum, squareSum } = errorOf(values, w);
      tensors.push({ name, kind: w.kind, sizeBytes: weightSizeBytes(w), elements: values.length, errorSum, squareSum });
      done += values.length;
      onShare(done / total);
      // Lets a cancellation in between tensors be seen.
      await new Promise((resolve) => setImmediate(resolve));
    }
    await writeCheckpoint(config.out, {
      architecture: weights.arch,
      config: model.checkpoint.config,
      dtype: "f16",
      copyFrom: model.directory,
      replace: config.replace,
      weight: async (name) => compressed.get(name) as CompressedWeight,
    });
    return { tensors };
  },

  async summarize(config, results) {
    const tensors = results[0]?.result.tensors ?? [];
    const sum = (pick: (t: (typeof tensors)[number]) => number): number => tensors.reduce((n, t) => n + pick(t), 0);
    return {
      out: config.out,
      sizeBytes: sum((t) => t.sizeBytes),
      bitsPerWeight: (8 * sum((t) => t.sizeBytes)) / sum((t) => t.elements),
      relativeError: sum((t) => t.errorSum) / sum((t) => t.squareSum),
      tensors: tensors.map((t) => ({
        name: t.name,
        kind: t.kind,
        bitsPerWeight: (8 * t.sizeBytes) / t.elements,
        relativeError: t.squareSum > 0 ? t.errorSum / t.squareSum : 0,
      })),
    };
  },
};

function errorOf(values: Float32Array, w: CompressedWeight): { errorSum: number; squareSum: number } {
  const decoded = decodeWeight(w);
  let errorSum = 0;
  let squareSum = 0;
  for (let i = 0; i < values.length; i++) {
    errorSum += ((values[i] as number) - (decoded[i] as number)) ** 2;
    squareSum += (values[i] as number) ** 2;
  }
  return { errorSum, squareSum };
}
