/** @file The numbers in constants: small ones as a list, big ones looked at once and not kept. */
import { f32At, numberAt } from "../../../elements.ts";
import { float16Table } from "../../../float16.ts";
import { peekData } from "../../../formats/coreml/constant-reader.ts";
import type { Operation, Value } from "../../../mil/program.ts";
import { type DType, elementCount } from "../../../mil/types.ts";

/** Above this size a constant is a weight, not a number in the program. */
const SMALL = 65_536;

/** The numbers of a small float constant; null for computed, compressed and big ones. */
export function smallConstant(v: Value | undefined): readonly number[] | null {
  const t = v?.producer?.type === "const" ? v.producer.constant : undefined;
  if (!t || (t.dtype !== "fp16" && t.dtype !== "fp32") || elementCount(t.shape) > SMALL) return null;
  const data = peekData(t);
  const table = t.dtype === "fp16" ? float16Table() : null;
  return Array.from(data, (x) => (table ? f32At(table, x) : x));
}

export interface ConstantRange {
  readonly nonFinite: number;
  /** Of the finite ones. */
  readonly largest: number;
}

/** Null for constants that are not floats. Reads the whole constant. */
export function constantRange(op: Operation): ConstantRange | null {
  const t = op.constant;
  if (!t || !isFloatDType(t.dtype)) return null;
  const data = peekData(t);
  let nonFinite = 0;
  let largest = 0;
  if (t.dtype === "fp16") {
    for (let i = 0; i < data.length; i++) {
      const magnitude = numberAt(data, i) & 0x7fff;
      if (magnitude >= 0x7c00) nonFinite++;
      else if (magnitude > largest) largest = magnitude;
    }
    return { nonFinite, largest: f32At(float16Table(), largest) };
  }
  for (let i = 0; i < data.length; i++) {
    const magnitude = Math.abs(numberAt(data, i));
    if (!Number.isFinite(magnitude)) nonFinite++;
    else if (magnitude > largest) largest = magnitude;
  }
  return { nonFinite, largest };
}

const isFloatDType = (dtype: DType): boolean => dtype === "fp16" || dtype === "fp32";
