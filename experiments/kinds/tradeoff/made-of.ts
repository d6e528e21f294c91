/**
 * @file The composition of a point of a trade-off: heads, neurons and bits compared with the base,
 * bytes as a package keeps them, and its losses by sequence, so that two points can be compared
 * pair by pair.
 */
import { z } from "zod";
import type { Checkpoint } from "../../../lib/checkpoint/checkpoint.ts";
import { matrices } from "../../../lib/compress/importance/tensor-sensitivity.ts";
import { keptOf } from "../../../lib/compress/prune/kept.ts";
import type { DecoderArchitecture } from "../../../lib/decoder/architecture.ts";
import { weightList } from "../../../lib/decoder/weights.ts";
import { elementCount } from "../../../lib/mil/types.ts";
import { tensorUnit } from "../../../lib/units.ts";
import { formSizeBytes } from "../../../lib/weights/form.ts";
import type { WeightForm } from "../../../lib/weights/weight.ts";
import type { EvaluateSummary } from "../evaluate/evaluate.ts";

/** A model's composition compared with the base: which heads it keeps, how many neurons, how many
 * bits each tensor takes. */
export interface MadeOf {
  /** One a layer that is left, numbered as in the model it began as. */
  readonly layers: {
    layer: number;
    /** As numbered there. */
    heads: number[];
    /** Null when that layer is not in the base. */
    headsOfBase: number | null;
    neurons: number;
    neuronsOfBase: number | null;
  }[];
  /** Matrices alone; `bits` are those of a code, `bitsPerWeight` count tables and scales too. */
  readonly tensors: { tensor: string; kind: string; bits: number; bitsPerWeight: number; sizeBytes: number }[];
}

export const made = z.object({
  layers: z.array(
    z.object({
      layer: z.number(),
      heads: z.array(z.number()),
      headsOfBase: z.number().nullable(),
      neurons: z.number(),
      neuronsOfBase: z.number().nullable(),
    }),
  ),
  tensors: z.array(
    z.object({
      tensor: z.string(),
      kind: z.string(),
      bits: z.number(),
      bitsPerWeight: z.number(),
      sizeBytes: z.number(),
    }),
  ),
});

/** The config and the architecture of a checkpoint. */
export interface Described {
  readonly config: Readonly<Record<string, unknown>>;
  readonly arch: DecoderArchitecture;
}

/** Every weight as it will ship, without its data: compressed ones as stored, dense ones in fp16. */
export function shippedForms({
  architecture,
  form,
}: Pick<Checkpoint, "architecture" | "form">): Map<string, WeightForm> {
  return new Map(
    weightList(architecture).map(({ name }) => {
      const found = form(name);
      return [name, found.kind === "dense" ? { ...found, dtype: "fp16" } : found];
    }),
  );
}

const bitsPerWeight = (form: WeightForm): number => (8 * formSizeBytes(form)) / elementCount(form.shape);

export function madeOf(model: Described, base: Described, shipped: ReadonlyMap<string, WeightForm>): MadeOf {
  const origin = new Map(keptOf(base.config, base.arch).map((k, l) => [k.layer, base.arch.layers[l]]));
  return {
    layers: keptOf(model.config, model.arch).map(({ layer, heads, neurons }) => ({
      layer,
      heads: [...heads],
      headsOfBase: origin.get(layer)?.queryHeads ?? null,
      neurons: neurons.length,
      neuronsOfBase: origin.get(layer)?.neurons ?? null,
    })),
    tensors: matrices(model.arch).flatMap(({ name }) => {
      const w = shipped.get(name);
      if (!w) return [];
      const tensor = tensorUnit(name);
      const bits = "bits" in w ? w.bits : 16;
      return [{ tensor, kind: w.kind, bits, bitsPerWeight: bitsPerWeight(w), sizeBytes: formSizeBytes(w) }];
    }),
  };
}

/** Bytes and mean bits of weights as a package keeps them: codes, scales, tables, fp16 norms. */
export function storedSize(shipped: Iterable<WeightForm>): { sizeBytes: number; bitsPerWeight: number } {
  let [sizeBytes, bits, elements] = [0, 0, 0];
  for (const w of shipped) {
    const n = elementCount(w.shape);
    sizeBytes += formSizeBytes(w);
    bits += bitsPerWeight(w) * n;
    elements += n;
  }
  return { sizeBytes, bitsPerWeight: bits / elements };
}

export const pairedLossesSchema = z.object({
  /** Predicted tokens, and sums over them: nats, nats, tokens. */
  tokens: z.array(z.number()),
  nll: z.array(z.number()),
  kl: z.array(z.number()),
  agreed: z.array(z.number()),
  right: z.array(z.boolean()).nullable(),
});
export type PairedLosses = z.infer<typeof pairedLossesSchema>;

export const pairedLosses = ({ perSequence, tasks }: EvaluateSummary): PairedLosses => ({
  tokens: perSequence.map((s) => s.tokens),
  nll: perSequence.map((s) => s.nll),
  kl: perSequence.map((s) => s.kl ?? Number.NaN),
  agreed: perSequence.map((s) => s.agreed ?? Number.NaN),
  right: tasks ? tasks.perItem : null,
});
