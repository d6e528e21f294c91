/**
 * @file A width map, tensors × widths: what each matrix costs at each width, all others untouched.
 *
 * A unit is one tensor at one width on all sequences, so that a picture fills in cell by cell, widest row first.
 */
import { z } from "zod";
import { matrices, tensorSensitivity } from "../../../lib/compress/importance/tensor-sensitivity.ts";
import { type Granularity, granularityFor } from "../../../lib/compress/quantize/granularity.ts";
import { inTurns } from "../../../lib/compress/quantize/steps.ts";
import { bitsOf, storeSteps, type Width, widths } from "../../../lib/compress/quantize/width.ts";
import type { DecoderArchitecture, GlobalTensor, LayerTensor } from "../../../lib/decoder/architecture.ts";
import { readWeight, type WeightEntry } from "../../../lib/decoder/weights.ts";
import { EspalierError } from "../../../lib/errors.ts";
import { PrefixStreams } from "../../../lib/eval/prefix-streams.ts";
import type { TokenSequence } from "../../../lib/eval/sequences.ts";
import type { BosRule } from "../../../lib/eval/text-codec.ts";
import { targetNames, targets } from "../../../lib/formats/coreml/targets.ts";
import { float32Data } from "../../../lib/mil/tensor.ts";
import { elementCount } from "../../../lib/mil/types.ts";
import { meanAndError } from "../../../lib/stats/ratio.ts";
import { tensorUnit } from "../../../lib/units.ts";
import { decodeWeight, weightSizeBytes } from "../../../lib/weights/decode.ts";
import type { ExperimentContext } from "../../definition.ts";
import type { OpenModel } from "../../model-session.ts";
import { errorWeightsOf, onceFor, weightings } from "../../statistics.ts";

/** How tensors are stored and what errors are weighted by; shared by width maps and by quantize. */
export const storageConfig = {
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
    .describe("Affine: input channels that share a scale; default: the whole row"),
  target: z
    .enum(targetNames)
    .default("iOS18")
    .describe(
      "The oldest system that must store the tensors; iOS17 allows one table, or one scale per row, for each tensor",
    ),
  asymmetric: z.boolean().default(false).describe("Affine: an offset for every scale"),
  keepExtremes: z
    .boolean()
    .default(false)
    .describe("Affine: keep the full range instead of searching for a better clip"),
  weighting: z
    .enum(weightings)
    .default("activation")
    .describe("How to weight errors: all weights the same, by the size of their inputs, or by Fisher information"),
};
export type StorageConfig = z.infer<z.ZodObject<typeof storageConfig>>;

/** The part of a config that says how tensors are stored. */
export const storageOf = ({
  rowsPerTable,
  groupSize,
  target,
  asymmetric,
  keepExtremes,
  weighting,
}: StorageConfig): StorageConfig => ({ rowsPerTable, groupSize, target, asymmetric, keepExtremes, weighting });

export function granularityOf({
  rowsPerTable,
  groupSize,
  target,
  asymmetric,
  keepExtremes,
}: StorageConfig): Granularity {
  // Systems that keep compressed constants in attributes have one table a tensor and no scales of blocks.
  const isWhole = targets[target].attributeConstants;
  return {
    rowsPerTable: isWhole ? null : rowsPerTable,
    groupSize: isWhole ? null : (groupSize ?? null),
    asymmetric,
    keepExtremes,
  };
}

export const widthList = z.array(z.enum(widths)).min(1);

export interface WidthMapConfig extends StorageConfig {
  readonly text: string;
  readonly separator?: string | undefined;
  readonly limit?: number | undefined;
  readonly context?: number | undefined;
  readonly maxTokens?: number | undefined;
  readonly bos?: BosRule | undefined;
  readonly widths: readonly Width[];
}

/** What one tensor loses at one width, and how it is stored. */
export function cellSubject(config: StorageConfig, tensor: string, width: Width): string {
  const { rowsPerTable, groupSize, asymmetric, keepExtremes } = granularityOf(config);
  return `${tensor} ${width} ${JSON.stringify([rowsPerTable, groupSize, asymmetric, keepExtremes, config.weighting])}`;
}

export const tensorCell = z.object({
  of: z.literal("tensor"),
  tensor: z.string(),
  width: z.enum(widths),
  sizeBytes: z.number(),
  /** By sequence: nats per token, nats per token, share. */
  loss: z.array(z.number()),
  kl: z.array(z.number()),
  agreement: z.array(z.number()),
});
export type TensorCell = z.infer<typeof tensorCell>;

export interface WidthMapColumn {
  /** `embedding`, `head`, `L3.query`. */
  readonly tensor: string;
  /** Null for embedding and head. */
  readonly layer: number | null;
  readonly role: LayerTensor | GlobalTensor;
  readonly elements: number;
  readonly fp16Bytes: number;
}

export interface WidthMapCell {
  readonly tensor: string;
  readonly width: Width;
  readonly sizeBytes: number;
  readonly bitsPerWeight: number;
  readonly kl: { mean: number; standardError: number };
  readonly loss: { mean: number; standardError: number };
  readonly agreement: { mean: number; standardError: number };
}

/** The matrix a page draws: columns × widths, cells where something is measured. */
export interface WidthMap {
  readonly columns: WidthMapColumn[];
  /** Most bits first. */
  readonly widths: Width[];
  readonly cells: WidthMapCell[];
  /** Bytes of what is never quantized: norms, in fp16. */
  readonly fixedBytes: number;
  /** tensor → width → by sequence, nats per token. */
  readonly perSequence: Record<string, Record<string, { kl: number[]; loss: number[] }>>;
}

export const orderedWidths = (chosen: readonly Width[]): Width[] =>
  [...new Set(chosen)].sort((a, b) => bitsOf(b) - bitsOf(a) || a.localeCompare(b));

export const columnsOf = (arch: DecoderArchitecture): WidthMapColumn[] =>
  matrices(arch).map(({ name, layer, role, shape }) => ({
    tensor: tensorUnit(name),
    layer,
    role,
    elements: elementCount(shape),
    fp16Bytes: 2 * elementCount(shape),
  }));

export async function measureTensor(
  entry: WeightEntry,
  width: Width,
  config: WidthMapConfig,
  model: OpenModel,
  sequences: readonly TokenSequence[],
  shard: string,
  context: ExperimentContext,
): Promise<TensorCell> {
  const { signal } = context;
  const prefix = await onceFor(model, `prefix ${shard}`, () =>
    PrefixStreams.compute(model.runner, sequences, { signal }),
  );
  const weights = await errorWeightsOf(config.weighting, model, sequences, context);
  const values = float32Data(await readWeight(model.weights, entry));
  const { granularity } = granularityFor(entry.shape, granularityOf(config));
  const steps = storeSteps(width, values, entry.shape, granularity, weights.get(entry.name));
  const stored = await inTurns(steps, signal);
  const decoded = decodeWeight(stored);
  const found = await tensorSensitivity(prefix, entry, decoded, { signal });
  const tensor = tensorUnit(entry.name);
  const bad = found.findIndex((f) => !Number.isFinite(f.kl) || !Number.isFinite(f.loss));
  if (bad >= 0)
    throw new EspalierError("numeric/non-finite", `${tensor} at ${width}: the loss of sequence ${bad} is not finite`);
  return {
    of: "tensor",
    tensor,
    width,
    sizeBytes: weightSizeBytes(stored),
    loss: found.map((f) => f.loss),
    kl: found.map((f) => f.kl),
    agreement: found.map((f) => f.agreement),
  };
}

/** The matrix from the cells there are. */
export function widthMapOf(
  arch: DecoderArchitecture,
  fixedBytes: number,
  chosen: readonly Width[],
  cells: readonly TensorCell[],
): WidthMap {
  const columns = columnsOf(arch);
  const elements = new Map(columns.map((c) => [c.tensor, c.elements]));
  const perSequence: Record<string, Record<string, { kl: number[]; loss: number[] }>> = {};
  for (const { tensor, width, kl, loss } of cells)
    perSequence[tensor] = { ...perSequence[tensor], [width]: { kl, loss } };
  return {
    columns,
    widths: orderedWidths(chosen),
    fixedBytes,
    cells: cells.map((c) => ({
      tensor: c.tensor,
      width: c.width,
      sizeBytes: c.sizeBytes,
      bitsPerWeight: (8 * c.sizeBytes) / (elements.get(c.tensor) ?? Number.NaN),
      kl: meanAndError(c.kl),
      loss: meanAndError(c.loss),
      agreement: meanAndError(c.agreement),
    })),
    perSequence,
  };
}
