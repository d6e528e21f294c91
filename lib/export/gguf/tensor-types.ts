/**
 * @file Which GGUF type holds a matrix: the one asked for, one of a mixture, or the nearest to the codes that the model has.
 *
 * The K types need rows of 256, the others of 32; where a row is no whole number of blocks, the type that llama.cpp falls back to is
 * taken, and F16 where nothing fits. A mixture gives more bits to the value and down projections of the first and the last eighth of the
 * layers and of every third between them, and to the head.
 *
 * Reference: `llama-quant.cpp` of ggml-org/llama.cpp for mixtures and fallbacks. Not included: its mixtures of IQ types.
 */
import type { DecoderArchitecture } from "../../decoder/architecture.ts";
import type { WeightEntry } from "../../decoder/weights.ts";
import { type WrittenType, writtenTypes } from "../../formats/gguf/quantize.ts";
import { blockSizes, type GgufTensorType } from "../../formats/gguf/tensor-type.ts";
import type { WeightForm } from "../../weights/weight.ts";

export const mixtures = ["Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K_M"] as const;
export type Mixture = (typeof mixtures)[number];

/** What can be asked for. */
export const askedTypes = [...writtenTypes, ...mixtures] as const;
export type AskedType = WrittenType | Mixture;

const isMixture = (asked: AskedType): asked is Mixture => mixtures.some((m) => m === asked);

/** The type of a matrix when all are asked to be `asked`. */
export function askedType(asked: AskedType, { role, layer }: WeightEntry, arch: DecoderArchitecture): WrittenType {
  if (!isMixture(asked)) return asked;
  if (layer === null) return "Q6_K";
  const layers = arch.layers.length;
  const eighth = Math.floor(layers / 8);
  const more = layer < eighth || layer >= Math.floor((7 * layers) / 8) || (layer - eighth) % 3 === 2;
  if (asked === "Q4_K_M" || asked === "Q5_K_M") {
    const base = asked === "Q4_K_M" ? "Q4_K" : "Q5_K";
    return more && (role === "value" || role === "down") ? "Q6_K" : base;
  }
  if (asked === "Q3_K_M") {
    if (role === "value") return layer < 2 ? "Q5_K" : "Q4_K";
    if (role === "down") return layer < Math.floor(layers / 16) ? "Q5_K" : "Q4_K";
    return role === "output" ? "Q4_K" : "Q3_K";
  }
  if (role === "value") return "Q4_K";
  return role === "down" || role === "output" ? "Q3_K" : "Q2_K";
}

/** The type of about the bits of codes that no type holds as they are. */
export function nearestType(form: Exclude<WeightForm, { kind: "dense" }>): WrittenType {
  if (form.kind === "sparse") return "Q8_0";
  const { bits } = form.kind === "scaled" ? form.inner : form;
  return ({ 1: "Q2_K", 2: "Q2_K", 3: "Q3_K", 4: "Q4_K", 6: "Q6_K", 8: "Q8_0" } as const)[bits];
}

const fallbacks: Readonly<Partial<Record<GgufTensorType, WrittenType>>> = {
  Q6_K: "Q8_0",
  Q5_K: "Q5_1",
  Q4_K: "Q5_0",
  Q3_K: "IQ4_NL",
  Q2_K: "IQ4_NL",
  IQ4_XS: "IQ4_NL",
};

/** `type`, or what stands in for it in rows of `columns`. */
export function fittingType(type: WrittenType, columns: number): WrittenType {
  if (columns % blockSizes[type].elements === 0) return type;
  const fallback = fallbacks[type];
  return fallback && columns % blockSizes[fallback].elements === 0 ? fallback : "F16";
}

/** `general.file_type` of a file whose most bytes are of this type. */
export const fileTypes: Readonly<Record<WrittenType, number>> = {
  ...{ F32: 0, F16: 1, BF16: 32, Q8_0: 7, Q5_1: 9, Q5_0: 8, Q4_1: 3, Q4_0: 2 },
  ...{ Q6_K: 18, Q5_K: 17, Q4_K: 15, Q3_K: 12, Q2_K: 10, IQ4_XS: 30, IQ4_NL: 25 },
};
