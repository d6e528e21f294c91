/**
 * @file A compressed decoder as the program a package holds: decode and prefill in fp16 over one set of weights.
 *
 * Weights are constants in the very form they were compressed to. Norm gains are folded, so that 1 + w is a constant.
 * This is the plain layout, for CPU and GPU; the Neural Engine layout is another lowering.
 */
import { weightConstant } from "../compress/constants.ts";
import type { CompressedWeight } from "../compress/weight.ts";
import { roundToFloat16 } from "../float16.ts";
import type { Program, Value } from "../mil/program.ts";
import type { DecoderArchitecture } from "./architecture.ts";
import { cachedProgram, type WeightValues } from "./cached-program.ts";

export interface PackageShape {
  /** Positions the cache holds. */
  readonly context: number;
  /** Positions a prefill call takes; null for decode alone. */
  readonly prefillLength: number | null;
}

/** `weights` by flat name; matrices of any kind, norm gains dense. */
export function packageProgram(
  arch: DecoderArchitecture,
  weights: ReadonlyMap<string, CompressedWeight>,
  { context, prefillLength }: PackageShape,
): Program {
  const folded: DecoderArchitecture = { ...arch, normOffset: 0 };
  const build = (name: string, length: number) => {
    const known = new Map<string, Value>();
    const values: WeightValues = (b, weightName, shape) => {
      let value = known.get(weightName);
      if (!value) {
        const w = weights.get(weightName);
        if (!w) throw new RangeError(`no weight ${weightName}`);
        const gain =
          shape.length === 1 && w.kind === "dense"
            ? { ...w, values: w.values.map((v) => roundToFloat16(v + arch.normOffset)) }
            : w;
        value = weightConstant(b, weightName, gain, "fp16");
        known.set(weightName, value);
      }
      return value;
    };
    return cachedProgram(name, folded, { length, context, dtype: "fp16", perLayerRows: "gather" }, values);
  };
  const functions = [build("decode", 1), ...(prefillLength === null ? [] : [build("prefill", prefillLength)])];
  return { opset: "CoreML8", functions, defaultFunction: "decode" };
}
