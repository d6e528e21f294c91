/**
 * @file The engine that runs a MIL function on ONNX Runtime's CPU kernels.
 *
 * The function is lowered to ONNX once (`lower.ts`) and the session kept (`executable.ts`).
 */
import { EspalierError } from "../../errors.ts";
import { splitStates } from "../../mil/passes/split-states.ts";
import type { MilFunction } from "../../mil/program.ts";
import { ConstantPool } from "../constant-pool.ts";
import { type CompileOptions, type Engine, inHostMemory } from "../engine.ts";
import { messageOf, OnnxRuntimeExecutable, ortTensor } from "./executable.ts";
import { type LoweredFunction, type LoweringOptions, lowerFunction } from "./lower.ts";
import { type InferenceSession, loadOnnxRuntime, type OnnxRuntime, ortVersion } from "./onnxruntime-node.ts";
import { type StateLayout, stateLayouts } from "./states.ts";

export interface OnnxRuntimeOptions {
  /** Threads one operation may use; 1 unless given. */
  readonly threads?: number;
  /**
   * Constants that hold more than this together are handed over at every run, where all functions share them, instead of
   * copied into the model; 64 MiB unless given. Embedded ones are packed once for small products.
   */
  readonly embeddedLimitBytes?: number;
  /** `false` lowers every operation by itself, to compare with. */
  readonly fuse?: boolean;
}

/** Throws `engine/unavailable` where the package cannot be loaded. */
export async function createOnnxRuntimeEngine(options: OnnxRuntimeOptions = {}): Promise<Engine> {
  const threads = checkedThreads(options.threads);
  const ort = await loadOnnxRuntime();
  const pool = new ConstantPool();
  return {
    ...inHostMemory,
    name: "onnxruntime",
    identity: "onnxruntime",
    description: `onnxruntime-node ${ortVersion(ort)}, CPU, ${threads} ${threads === 1 ? "thread" : "threads"}`,
    compile: async (fn, compileOptions = {}) => {
      const { lowered, layouts } = await lowerWith(pool, fn, compileOptions, {
        ...options,
        threads,
        stateUpdates: true,
      });
      const session = await openSession(ort, fn, lowered, threads, {});
      const constants = Object.fromEntries(
        [...lowered.constants].map(([name, { type, data }]) => [name, ortTensor(ort, type.shape, data)]),
      );
      return new OnnxRuntimeExecutable({ ort, session, fn, lowered, layouts, constants, transfers: null });
    },
  };
}

/** Throws `input/invalid` for an invalid number of threads. */
export function checkedThreads(given: number | undefined): number {
  const threads = given ?? 1;
  if (Number.isInteger(threads) && threads >= 1) return threads;
  throw new EspalierError("input/invalid", `threads must be a positive integer, found ${threads}`);
}

/** A function as a graph, its constants from the pool of the engine, its states divided. */
export async function lowerWith(
  pool: ConstantPool,
  fn: MilFunction,
  compileOptions: CompileOptions,
  options: OnnxRuntimeOptions & Pick<LoweringOptions, "threads" | "fusesProducts" | "stateUpdates">,
): Promise<{ lowered: LoweredFunction; layouts: readonly StateLayout[] }> {
  const split = splitStates(fn);
  const lowered = lowerFunction(split.fn, await pool.valuesOf(split.fn), {
    float16: compileOptions.float16 ?? "widen",
    threads: options.threads,
    embeddedLimitBytes: options.embeddedLimitBytes ?? 2 ** 26,
    fuse: options.fuse ?? true,
    fusesProducts: options.fusesProducts ?? true,
    stateUpdates: options.stateUpdates ?? false,
  });
  return { lowered, layouts: stateLayouts(fn, split) };
}

/** Throws `engine/failed` naming the function that does not load. */
export function openSession(
  ort: OnnxRuntime,
  fn: MilFunction,
  lowered: LoweredFunction,
  threads: number,
  more: InferenceSession.SessionOptions,
): Promise<InferenceSession> {
  return ort.InferenceSession.create(lowered.model, {
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: "sequential",
    graphOptimizationLevel: "all",
    // A plan of all intermediates for every shape costs memory and gained no time.
    enableMemPattern: false,
    logSeverityLevel: 3,
    // Spinning between operations costs other processes a core, and ran slower whenever the machine was shared.
    extra: { session: { set_denormal_as_zero: "1", intra_op: { allow_spinning: "0" } } },
    ...more,
  }).catch((cause: unknown) => {
    throw new EspalierError("engine/failed", `onnxruntime could not load ${fn.name}: ${messageOf(cause)}`, { cause });
  });
}
