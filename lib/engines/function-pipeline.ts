/**
 * @file Several functions run one after the other as if they were one: what a part gives, later parts may take.
 *
 * Every part has its own states; a call reads and updates all of them. Tensors keep their names across parts.
 */
import { EspalierError } from "../errors.ts";
import type { MilFunction, Program, Value } from "../mil/program.ts";
import type { Tensor } from "../mil/tensor.ts";
import type { CompileOptions, Engine, EngineState, Executable } from "./engine.ts";

class PipelineState implements EngineState {
  readonly parts: readonly EngineState[];

  constructor(parts: readonly EngineState[]) {
    this.parts = parts;
  }

  /** By part and state: `0.kv_cache`. */
  async read(): Promise<Record<string, Tensor>> {
    const all: Record<string, Tensor> = {};
    for (const [i, part] of this.parts.entries())
      for (const [name, t] of Object.entries(await part.read())) all[`${i}.${name}`] = t;
    return all;
  }

  dispose(): void {
    for (const part of this.parts) part.dispose();
  }
}

/** Gives the outputs of `functions` that are named in `outputs`. */
export async function compilePipeline(
  engine: Engine,
  functions: readonly MilFunction[],
  outputs: readonly string[],
  options?: CompileOptions,
): Promise<Executable> {
  const parts: { fn: MilFunction; executable: Executable }[] = [];
  for (const fn of functions) parts.push({ fn, executable: await engine.compile(fn, options) });
  return {
    async run(inputs, state) {
      if (state && !(state instanceof PipelineState))
        throw new EspalierError("input/invalid", "this state belongs to another program");
      const known = new Map(Object.entries(inputs));
      for (const [i, { fn, executable }] of parts.entries()) {
        const own: Record<string, Tensor> = {};
        for (const { name, type } of fn.inputs) {
          if (type.kind === "state") continue;
          const t = known.get(name);
          if (!t)
            throw new EspalierError(
              "input/invalid",
              `part ${i + 1} of ${parts.length} needs ${name}, which nothing gives`,
            );
          own[name] = t;
        }
        for (const [name, t] of Object.entries(await executable.run(own, state?.parts[i]))) known.set(name, t);
      }
      return Object.fromEntries(
        outputs.map((name) => {
          const t = known.get(name);
          if (!t) throw new EspalierError("engine/failed", `no part gave ${name}`);
          return [name, t];
        }),
      );
    },
    makeState: () => new PipelineState(parts.map((p) => p.executable.makeState())),
    async dispose() {
      for (const { executable } of parts) await executable.dispose();
    },
  };
}

export interface PipelineParts {
  /** In the order they run. */
  readonly programs: readonly Program[];
  /** The outputs of the whole, by function. */
  readonly outputs: Readonly<Record<string, readonly string[]>>;
  readonly userDefined: Readonly<Record<string, string>>;
}

/**
 * The program the parts are together, its functions without operations, and an engine that runs those functions part by
 * part. Whatever drives one package drives a pipeline of any layout so.
 */
export function pipelineEngine(
  engine: Engine,
  { programs, outputs, userDefined }: PipelineParts,
): { engine: Engine; program: Program; userDefined: Readonly<Record<string, string>> } {
  const parts = new Map<MilFunction, readonly MilFunction[]>();
  const functions = Object.entries(outputs).map(([name, wanted]) => {
    const own = programs.flatMap((p) => p.functions.filter((f) => f.name === name));
    if (own.length !== programs.length)
      throw new EspalierError(
        "format/malformed",
        `${own.length} of ${programs.length} packages have a function ${name}`,
      );
    const given = new Map(own.flatMap((fn) => fn.outputs).map((v) => [v.name, v]));
    const inputs = new Map<string, Value>();
    for (const v of own.flatMap((fn) => fn.inputs))
      if (!given.has(v.name) && !inputs.has(v.name)) inputs.set(v.name, v);
    const whole: MilFunction = {
      name,
      inputs: [...inputs.values()],
      operations: [],
      outputs: wanted.flatMap((o) => given.get(o) ?? []),
    };
    parts.set(whole, own);
    return whole;
  });
  const first = programs[0];
  if (!first) throw new EspalierError("format/malformed", "a pipeline of no packages");
  return {
    program: { opset: first.opset, functions, defaultFunction: first.defaultFunction },
    userDefined,
    engine: {
      ...engine,
      compile(fn, options) {
        const own = parts.get(fn);
        return own ? compilePipeline(engine, own, outputs[fn.name] ?? [], options) : engine.compile(fn, options);
      },
    },
  };
}
