/** @file How a weight of a program is stored: scheme, bytes, palette tables. Groups the schemes of
 * `CompressedWeight` by streaming rate. */
import { operand, shapeOf } from "../mil/function-view.ts";
import { operandValues, type Value } from "../mil/program.ts";
import { dtypeBits, elementCount } from "../mil/types.ts";
import type { Scheme } from "./workload.ts";

export interface StoredWeight {
  /** `blocks` for integers with scales along their inputs, which the Neural Engine does not take. */
  readonly scheme: Scheme | "blocks";
  readonly sizeBytes: number;
  readonly tables: number;
  /** Tables beyond one per four output channels. */
  readonly crowdedTables: number;
}

/** The size of a constant in the weight file, including the tables and scales that decode it. */
export function storedBytes(v: Value): number {
  // The mask of sparse codes is an operand twice and stored once.
  return [...storedValues(v)].reduce((n, part) => n + sizeOf(part), 0);
}

function storedValues(v: Value): Set<Value> {
  const op = v.producer;
  if (!op?.type.startsWith("constexpr_")) return new Set([v]);
  return new Set(operandValues(op).flatMap((part) => [...storedValues(part)]));
}

function sizeOf(v: Value): number {
  return v.type.kind === "tensor" ? Math.ceil((elementCount(v.type.shape) * dtypeBits[v.type.dtype]) / 8) : 0;
}

export function storedWeight(v: Value): StoredWeight {
  const sizeBytes = storedBytes(v);
  const op = v.producer;
  const none = { sizeBytes, tables: 0, crowdedTables: 0 };
  if (op?.type === "constexpr_lut_to_dense") {
    const lut = shapeOf(operand(op, "lut"));
    const tables = elementCount(lut.slice(0, -2));
    const channels = shapeOf(v)[0] ?? 0;
    if (elementCount(lut.slice(1, -2)) > 1) return { ...none, scheme: "blocks" };
    // The streaming rate was measured with one table for the whole weight.
    const counted = tables > 1 ? tables : 0;
    return { scheme: "palette", sizeBytes, tables: counted, crowdedTables: Math.max(0, counted - channels / 4) };
  }
  if (op?.type === "constexpr_blockwise_shift_scale") {
    const scale = shapeOf(operand(op, "scale"));
    return { ...none, scheme: elementCount(scale.slice(1)) > 1 ? "blocks" : "int8" };
  }
  return { ...none, scheme: op?.type === "constexpr_sparse_to_dense" ? "sparse" : "fp16" };
}

const MIB = 2 ** 20;
const NOTCH = 16 * 1024;

/** True when each of 16 cores' share of an fp16 (N, D, …) weight is within 16 KiB of a whole number of MiB. */
export function inDmaNotch(shape: readonly number[]): boolean {
  const bytes = Math.ceil((shape[0] ?? 0) / 16) * elementCount(shape.slice(1)) * 2;
  return bytes > MIB / 2 && Math.abs(bytes - Math.round(bytes / MIB) * MIB) <= NOTCH;
}
