/**
 * @file A compressed decoder as the program a package holds: decode and prefill in fp16 over one set of weights.
 *
 * Weights are constants in their compressed form; deferred ones are made when the package is
 * written. Norm gains are folded, so that 1 + w is a constant. This is the plain layout, for CPU
 * and GPU; the Neural Engine layout is a separate lowering.
 */

import { EspalierError } from "../errors.ts";
import { roundToFloat16 } from "../float16.ts";
import { targets } from "../formats/coreml/targets.ts";
import { scaleOutputs } from "../mil/passes/scale-outputs.ts";
import type { Program, Value } from "../mil/program.ts";
import type { CompressedWeight, DeferredWeight } from "../weights/weight.ts";
import { type WeightTensors, weightConstant, weightTensors } from "../weights/weight-constants.ts";
import type { DecoderArchitecture } from "./architecture.ts";
import { cachedProgram, type WeightValues } from "./decoding-step.ts";

export interface PackageShape {
  /** Positions the cache holds. */
  readonly context: number;
  /** Positions a prefill call takes; null for decode alone. */
  readonly prefillLength: number | null;
  /** Core ML opset; that of iOS 18 by default. */
  readonly opset?: string;
  /** Default `state`; `arguments` for systems without states (iOS 17). */
  readonly cacheForm?: "state" | "arguments";
}

/** `weights` by flat name; matrices of any kind, norm gains dense. */
export function packageProgram(
  arch: DecoderArchitecture,
  weights: ReadonlyMap<string, CompressedWeight | DeferredWeight>,
  { context, prefillLength, opset = targets.iOS18.opset, cacheForm = "state" }: PackageShape,
): Program {
  const folded: DecoderArchitecture = { ...arch, normOffset: 0 };
  // Made once and shared by all functions.
  const tensors = new Map<string, WeightTensors>();
  const tensorsOf = (name: string, shape: readonly number[]): WeightTensors => {
    let known = tensors.get(name);
    if (!known) {
      const w = weights.get(name);
      if (!w) throw new EspalierError("model/missing-tensor", `the package needs the weight ${name}`);
      known = weightTensors(shape.length === 1 ? gain(w, arch.normOffset) : w);
      tensors.set(name, known);
    }
    return known;
  };
  const build = (name: string, length: number) => {
    const known = new Map<string, Value>();
    const values: WeightValues = (b, weightName, shape) => {
      let value = known.get(weightName);
      if (!value) {
        value = weightConstant(b, weightName, tensorsOf(weightName, shape), "fp16");
        known.set(weightName, value);
      }
      return value;
    };
    const shape = { length, context, dtype: "fp16", perLayerRows: "gather", cacheForm } as const;
    return scaleOutputs(cachedProgram(name, folded, shape, values));
  };
  const functions = [build("decode", 1), ...(prefillLength === null ? [] : [build("prefill", prefillLength)])];
  return { opset, functions, defaultFunction: "decode" };
}

/** A norm's weight as a gain, in fp16. */
function gain(w: CompressedWeight | DeferredWeight, offset: number): CompressedWeight | DeferredWeight {
  const folded = (piece: CompressedWeight): CompressedWeight =>
    piece.kind === "dense"
      ? { ...piece, dtype: "fp16", values: piece.values.map((v) => roundToFloat16(v + offset)) }
      : piece;
  if (w.kind !== "deferred") return folded(w);
  const form = w.form.kind === "dense" ? { ...w.form, dtype: "fp16" as const } : w.form;
  return {
    kind: "deferred",
    form,
    async *pieces(rows) {
      for await (const piece of w.pieces(rows)) yield folded(piece);
    },
  };
}
