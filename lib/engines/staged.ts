/**
 * @file An engine for programs larger than memory: it runs calls known in advance, one part of the
 * program at a time.
 *
 * Whoever drives it does so twice. The first time every call is noted and answered with zeros; `execute` then cuts the functions
 * into parts of at most `limitBytes` of weights (`mil/passes/partition.ts`), makes one part's weights at a time, runs all
 * calls of that part, and lets it go; the second time the same calls get what was computed. So calls must not
 * depend on what earlier ones gave: a text that is known can be walked, one that is still to be generated cannot. States stay with
 * their part. Not included: states that begin with values, caches that are inputs and outputs.
 */

import { throwIfCancelled } from "../cancel.ts";
import { EspalierError } from "../errors.ts";
import { partition } from "../mil/passes/partition.ts";
import type { MilFunction, Program } from "../mil/program.ts";
import { type Tensor, zeros } from "../mil/tensor.ts";
import type { CompileOptions, Engine, EngineState, Executable } from "./engine.ts";

export interface StagedEngine extends Engine {
  /** Runs what was noted; the calls may then be made again. */
  execute(signal?: AbortSignal): Promise<void>;
}

interface Call {
  readonly fn: string;
  readonly session: StagedState | null;
  /** Inputs, and what parts gave that later ones need. */
  known: Map<string, Tensor>;
}

class StagedState implements EngineState {
  async read(): Promise<Record<string, Tensor>> {
    throw new EspalierError("internal/invariant", "internal: the states of a staged run lie in its parts");
  }
  dispose(): void {}
}

/** `programs`: the parts of a pipeline whose functions are driven as wholes; they are cut further where that is needed. */
export function stagedEngine(engine: Engine, limitBytes: number, programs?: readonly Program[]): StagedEngine {
  const functions = new Map<string, MilFunction>();
  const calls: Call[] = [];
  let options: CompileOptions | undefined;
  let replayed = -1;

  const note = (fn: MilFunction, inputs: Record<string, Tensor>, state: EngineState | undefined) => {
    const session = state instanceof StagedState ? state : null;
    calls.push({ fn: fn.name, session, known: new Map(Object.entries(inputs)) });
    return Object.fromEntries(
      fn.outputs.flatMap((o) => (o.type.kind === "tensor" ? [[o.name, zeros(o.type)] as const] : [])),
    );
  };
  const replay = (fn: MilFunction): Record<string, Tensor> => {
    const call = calls[replayed++];
    if (call?.fn !== fn.name)
      throw new EspalierError(
        "internal/invariant",
        `internal: call ${replayed} is of ${fn.name}, it was of ${call?.fn} when it was noted`,
      );
    return Object.fromEntries(call.known);
  };
  return {
    ...engine,
    async compile(fn, compileOptions) {
      if (replayed < 0) functions.set(fn.name, fn);
      options = compileOptions;
      return {
        run: async (inputs, state) => (replayed < 0 ? note(fn, inputs, state) : replay(fn)),
        makeState(initial = {}) {
          if (Object.keys(initial).length > 0)
            throw new EspalierError("internal/invariant", "internal: a staged run begins with empty caches");
          return new StagedState();
        },
        async dispose() {},
      };
    },
    async execute(signal) {
      const all = [...functions.values()];
      const wholes = programs ?? [{ opset: "", functions: all, defaultFunction: all[0]?.name ?? "" }];
      const parts = all.length === 0 ? [] : wholes.flatMap((p) => partition(onlyNamed(p, functions), limitBytes));
      for (const [i, part] of parts.entries()) {
        throwIfCancelled(signal);
        await runPart(engine, part, calls, options);
        const later = parts.slice(i + 1);
        for (const call of calls) forget(call, functions.get(call.fn), later);
      }
      replayed = 0;
    },
  };
}

/** The functions that were asked for. */
function onlyNamed(program: Program, wanted: ReadonlyMap<string, MilFunction>): Program {
  const functions = program.functions.filter((f) => wanted.has(f.name));
  return { ...program, functions, defaultFunction: functions[0]?.name ?? "" };
}

/** Every call of one part, sessions of the same function one after the other. */
async function runPart(
  engine: Engine,
  part: Program,
  calls: readonly Call[],
  options: CompileOptions | undefined,
): Promise<void> {
  const executables = new Map<string, Executable>();
  const states = new Map<StagedState, EngineState>();
  const order = inSessions(calls);
  try {
    for (const [at, call] of order.entries()) {
      const fn = part.functions.find((f) => f.name === call.fn);
      if (!fn) throw new EspalierError("internal/invariant", `internal: a part without ${call.fn}`);
      // All that this function has to do was done in other parts.
      if (fn.operations.length === 0) continue;
      let executable = executables.get(fn.name);
      if (!executable) {
        executable = await engine.compile(fn, options);
        executables.set(fn.name, executable);
      }
      let state = call.session ? states.get(call.session) : undefined;
      if (call.session && !state) {
        state = executable.makeState();
        states.set(call.session, state);
      }
      const own = fn.inputs.flatMap(({ name, type }) => {
        const t = type.kind === "tensor" ? call.known.get(name) : undefined;
        return t ? [[name, t] as const] : [];
      });
      for (const [name, t] of Object.entries(await executable.run(Object.fromEntries(own), state)))
        call.known.set(name, t);
      if (order.slice(at + 1).every((c) => c.fn !== fn.name)) {
        await executable.dispose();
        executables.delete(fn.name);
      }
      if (call.session && state && order[at + 1]?.session !== call.session) state.dispose();
    }
  } finally {
    for (const executable of executables.values()) await executable.dispose();
  }
}

/** Calls of a session in their order; sessions by the function they begin with, so that few functions are compiled at once. */
function inSessions(calls: readonly Call[]): Call[] {
  const sessions = new Map<StagedState | Call, Call[]>();
  for (const call of calls) {
    const key = call.session ?? call;
    sessions.set(key, [...(sessions.get(key) ?? []), call]);
  }
  return [...sessions.values()].sort((a, b) => ((a[0]?.fn ?? "") < (b[0]?.fn ?? "") ? -1 : 1)).flat();
}

/** Lets go what neither a later part takes nor the function gives. */
function forget(call: Call, whole: MilFunction | undefined, later: readonly Program[]): void {
  const needed = new Set(whole?.outputs.map((o) => o.name));
  for (const part of later)
    for (const input of part.functions.find((f) => f.name === call.fn)?.inputs ?? []) needed.add(input.name);
  call.known = new Map([...call.known].filter(([name]) => needed.has(name)));
}
