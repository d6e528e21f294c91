/** @file The form and size of a matrix at a width, without compressing it. */
import type { WeightForm } from "../../weights/weight.ts";
import type { Granularity } from "./granularity.ts";
import { bitsOf, type Width } from "./width.ts";

type PaletteBits = Extract<WeightForm, { kind: "palette" }>["bits"];
type AffineBits = Extract<WeightForm, { kind: "affine" }>["bits"];

/** The form that `storeAs` gives a matrix of `shape` (rows, columns); `granularity` must fit it. */
export function formAt(width: Width, shape: readonly number[], granularity: Granularity): WeightForm {
  const [rows = 1, columns = 1] = shape;
  if (width === "fp16") return { kind: "dense", dtype: "fp16", shape };
  const bits = bitsOf(width);
  if (width.startsWith("palette")) {
    const inner = {
      kind: "palette" as const,
      bits: bits as PaletteBits,
      shape,
      rowsPerTable: granularity.rowsPerTable ?? rows,
    };
    return granularity.rowScales ? { kind: "scaled", shape, inner } : inner;
  }
  const scaleShape = [rows, columns / (granularity.groupSize ?? columns)];
  return { kind: "affine", bits: bits as AffineBits, shape, scaleShape, offsets: granularity.asymmetric };
}
