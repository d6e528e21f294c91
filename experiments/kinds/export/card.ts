/** @file The export card: a description of a package, and the checks it passed before it was called
 * ready. */
import { z } from "zod";
import { targetNames } from "../../../lib/formats/coreml/targets.ts";
import { deviceChecksShape } from "./device-checks.ts";
import { type Quality, quality } from "./quality.ts";

const layerHeadroom = z.object({
  /** Largest absolute value of the residual stream behind the layer, as it ships. */
  stream: z.number(),
  /** Largest inside its blocks, and where. */
  inside: z.number(),
  insideAt: z.string(),
});

/** `unexecuted`: well-formed, but not run here, so its correctness is unknown. */
export const verdicts = ["ready", "not-ready", "unexecuted"] as const;

const part = z.object({
  file: z.string(),
  /** What a part of a pipeline holds, or the function of a package for one. */
  holds: z.string(),
  sizeBytes: z.number(),
  weightBytes: z.number(),
});

/** What the card of every target says. */
const common = {
  /** Faithful and good. */
  ready: z.boolean(),
  status: z.enum(verdicts),
  /** In words, why the package is not ready; empty when it is. */
  reasons: z.array(z.string()),
  /** Whether the package computes the same as its model; `ok` is null if it was not run. Null in
   * older cards, which lack the distinction. */
  faithful: z
    .object({ ok: z.boolean().nullable(), reasons: z.array(z.string()) })
    .nullable()
    .default(null),
  /** Whether its model still predicts what the original predicts. Null in older cards. */
  good: quality.nullable().default(null),
  package: z.string(),
  /** What lies beside this card: `package`, with the verdict in front of it unless it is ready. */
  file: z.string(),
  sizeBytes: z.number(),
  /** What the packages were to have, counted before they were written; null in cards from before it was. */
  predictedBytes: z.number().nullable().default(null),
  /** What they have, the same or nothing is kept; `sizeBytes` counts an embedding beside them too. */
  packageBytes: z.number().nullable().default(null),
  weightBytes: z.number(),
  /** Weights that the target stores in a different form from the checkpoint's. */
  notes: z.array(z.string()).default([]),
  parameters: z.number(),
  bitsPerWeight: z.number(),
  /** Of the weights of the original in fp16; of the model itself where the original is not known. */
  fp16Bytes: z.number(),
  /** The package, tables beside it counted: `fp16Bytes` over `sizeBytes`. */
  timesSmallerThanFp16: z.number(),
  execution: z.object({
    /** `by-parts`: some weights at a time, model and package alike; `none`: type-checked, linted and compared, not run. */
    kind: z.enum(["whole", "by-parts", "none"]),
    /** Of the model in fp32, and up to which models are held in memory. */
    modelBytes: z.number(),
    heldUpToBytes: z.number(),
    explanation: z.string(),
  }),
  parity: z.object({
    positions: z.number(),
    greedyTokens: z.number(),
    /** Every token the one the fp32 model chose, ties aside. */
    greedyIdentical: z.boolean(),
    greedyFirstDifference: z.number().nullable(),
    /** Tokens chosen otherwise where fp16 cannot choose: the fp32 logits lie within one of its steps. */
    greedyTies: z.array(z.object({ token: z.number(), gap: z.number() })).default([]),
    maxLogitDifference: z.number(),
    largestLogit: z.number(),
    meanKl: z.number(),
    topAgreement: z.number(),
    prefillMaxDifference: z.number().nullable(),
    /** Every function against the fp32 model. */
    functions: z.array(z.object({ name: z.string(), positions: z.number(), maxLogitDifference: z.number() })),
  }),
  sample: z.string(),
  provenance: z.object({ model: z.string(), modelHash: z.string(), engine: z.string(), espalier: z.string() }),
  notChecked: z.array(z.string()),
};

/** The bytes that sizes of a model are compared with. */
export const originalFp16Bytes = (good: Quality, parameters: number): number =>
  2 * (good.origin?.parameters ?? parameters);

export const coremlCard = z.object({
  /** Absent in cards from before there were other targets. */
  to: z.literal("coreml").default("coreml"),
  ...common,
  /** One package; packages that follow each other; or a package for each function. */
  kind: z.enum(["package", "pipeline", "functions"]),
  parts: z.array(part),
  target: z.enum(targetNames),
  layout: z.enum(["neural-engine", "plain"]),
  /** Of the tables beside the package, embedding and per-layer embeddings; null where there are none. */
  embeddingBytes: z.number().nullable(),
  functions: z.array(z.string()),
  contexts: z.array(z.number()),
  states: z.array(z.object({ function: z.string(), name: z.string(), shape: z.array(z.number()) })),
  /** Room below fp16's 65504 on the compared text; null for the plain layout, where it is not measured. */
  headroom: z
    .object({
      /** 65504 over the largest value anywhere. */
      worst: z.number(),
      embedding: z.number(),
      head: z.number(),
      layers: z.array(layerHeadroom),
      positions: z.number(),
    })
    .nullable(),
  /** Factors that keep the model inside fp16; null where none were needed. */
  scaling: z
    .object({
      stream: z.number(),
      /** Of per-layer inputs: their projection of the embedding, and the vectors. */
      perLayerContext: z.number().default(1),
      perLayerVectors: z.number().default(1),
      layers: z.array(
        z.object({ attention: z.number(), inner: z.number(), mlp: z.number(), perLayer: z.number().default(1) }),
      ),
      /** The smallest headroom without them. */
      worstWithout: z.number(),
    })
    .nullable(),
  /** Which constants of the written files were compared, bit for bit, with what was to be written. */
  constantsCompared: z.number(),
  ...deviceChecksShape,
});
export type CoremlCard = z.infer<typeof coremlCard>;

/** Tensors that are stored alike, and what became of their weights. */
const storedType = z.object({
  type: z.string(),
  fidelity: z.enum(["kept", "rounded", "quantized"]),
  tensors: z.number(),
  weights: z.number(),
  sizeBytes: z.number(),
});
export type StoredType = z.infer<typeof storedType>;
const storedTypes = z.array(storedType);

export const ggufCard = z.object({
  to: z.literal("gguf"),
  ...common,
  /** general.architecture */
  architecture: z.string(),
  /** Positions the model was made for. */
  contexts: z.array(z.number()),
  types: storedTypes,
  /** Weights that were added as zeros, where layers were uneven. */
  paddedWeights: z.number(),
  /** Tensors whose bytes were read back and are those that were written. */
  tensorsCompared: z.number(),
  /** Texts whose token ids were compared. */
  textsCompared: z.number(),
});
export type GgufCard = z.infer<typeof ggufCard>;

export const mlxCard = z.object({
  to: z.literal("mlx"),
  ...common,
  /** Positions the model was made for. */
  contexts: z.array(z.number()),
  types: storedTypes,
  paddedWeights: z.number(),
});
export type MlxCard = z.infer<typeof mlxCard>;

export const cardSchema = z.union([ggufCard, mlxCard, coremlCard]);
export type ExportCard = z.infer<typeof cardSchema>;
