/**
 * @file A decoder in memory as a step model: cached programs in fp32 with the weights as inputs.
 */
import type { Engine } from "../engines/engine.ts";
import type { Tensor } from "../mil/tensor.ts";
import { fp32 } from "../mil/types.ts";
import { cachedProgram } from "./decoding-step.ts";
import type { StepModel } from "./generate.ts";
import { plainStepModel } from "./plain-session.ts";
import { type DecoderWeights, perLayerRows } from "./weights.ts";

export async function stepModel(
  engine: Engine,
  weights: DecoderWeights,
  options: { context: number; prefillLength?: number | undefined },
): Promise<StepModel> {
  const { arch, tensors } = weights;
  const compile = (name: string, length: number) => {
    const known = new Map<string, ReturnType<Parameters<typeof cachedProgram>[3]>>();
    return engine.compile(
      cachedProgram(
        name,
        arch,
        { length, context: options.context, dtype: "fp32", perLayerRows: "input" },
        (b, weight, shape) => {
          const value = known.get(weight) ?? b.input(weight, fp32(...shape));
          known.set(weight, value);
          return value;
        },
      ),
    );
  };
  const decode = await compile("decode", 1);
  const length = options.prefillLength;
  const prefill = length ? { executable: await compile("prefill", length), length } : undefined;
  const inputs: Record<string, Tensor> = {};
  for (const [name, t] of tensors) inputs[name] = await engine.upload(t);
  return plainStepModel({
    vocab: arch.vocab,
    context: options.context,
    decode,
    prefill,
    inputs,
    inputsOf: (tokens) => perLayerRows(weights, tokens, 1),
  });
}
