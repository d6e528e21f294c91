/** @file Conversion to fp16 for written files: a value beyond its range is refused by name instead
 * of becoming infinite. */
import { EspalierError } from "../errors.ts";
import { float16FromFloat32 } from "../float16.ts";

/** The limit below which a value still rounds to the largest fp16 number, 65504. */
const BEYOND = 65_520;

/** Throws `numeric/non-finite` naming the first value that fp16 cannot hold. */
export function requireFloat16(values: Float32Array, name: string): void {
  for (let i = 0; i < values.length; i++) {
    const v = values[i] as number;
    if (v > -BEYOND && v < BEYOND) continue;
    throw new EspalierError("numeric/non-finite", `value ${i} of ${name} is ${v}; fp16 ends at 65504`, {
      hint: Number.isFinite(v)
        ? "Phones compute in fp16, so such a model cannot be stored for them; scale that weight down and what reads it up."
        : "The weights hold values the model cannot compute with; check the checkpoint.",
    });
  }
}

/** The bits of each value. Throws as `requireFloat16`. */
export function finiteFloat16(values: Float32Array, name: string): Uint16Array {
  requireFloat16(values, name);
  return float16FromFloat32(values);
}
