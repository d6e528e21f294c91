/**
 * @file A package that was read back, as a step model that an engine runs.
 */
import type { Engine } from "../engines/engine.ts";
import { EspalierError } from "../errors.ts";
import type { MilFunction, Program } from "../mil/program.ts";
import type { StepModel } from "./generate.ts";

/** `round` computes fp16 op by op as the device would, `widen` in fp32. Throws `format/unsupported` for another interface. */
export async function packageModel(engine: Engine, program: Program, float16: "round" | "widen"): Promise<StepModel> {
  const find = (name: string): MilFunction | undefined => program.functions.find((f) => f.name === name);
  const decode = find("decode");
  if (!decode) {
    throw new EspalierError(
      "format/unsupported",
      `the package has the functions ${program.functions.map((f) => f.name).join(", ")}, none is decode`,
      {
        hint: "Only packages with Espalier's decode interface can generate text here.",
      },
    );
  }
  const tensorOf = (fn: MilFunction, name: string): readonly number[] => {
    const v = [...fn.inputs, ...fn.outputs].find((i) => i.name === name);
    if (!v) throw new EspalierError("format/unsupported", `${fn.name} has no ${name}`);
    return v.type.kind === "state" ? v.type.wrapped.shape : v.type.shape;
  };
  const cache = decode.inputs.find((i) => i.type.kind === "state" && i.name.startsWith("kv_cache"));
  const prefill = find("prefill");
  const executable = await engine.compile(decode, { float16 });
  return {
    vocab: tensorOf(decode, "logits").at(-1) ?? 0,
    context: tensorOf(decode, cache?.name ?? "kv_cache")[2] ?? 0,
    decode: executable,
    prefill: prefill
      ? { executable: await engine.compile(prefill, { float16 }), length: tensorOf(prefill, "ids")[1] ?? 1 }
      : undefined,
    inputs: {},
    makeState: () => executable.makeState(),
  };
}
