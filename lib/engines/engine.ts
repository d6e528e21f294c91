/**
 * @file The interface of an engine, which runs MIL functions.
 *
 * Engines are interchangeable; `test/engines` holds one conformance suite for all. A compiled function keeps no
 * weights: they are inputs unless the program holds them as constants. States follow Core ML: `makeState` gives
 * a cache of zeros that `run` reads and updates. An engine with a device of its own takes tensors that it holds there
 * (`upload`) in place of the host's, and leaves outputs there on request; one without takes and gives the host's.
 */
import type { MilFunction } from "../mil/program.ts";
import type { Tensor } from "../mil/tensor.ts";

export interface EngineState {
  /** Current contents by state name. */
  read(): Promise<Record<string, Tensor>>;
  dispose(): void;
}

export interface Executable {
  /** Inputs by name; outputs by name. Throws `input/invalid` naming the input, expected and found type. */
  run(inputs: Record<string, Tensor>, state?: EngineState): Promise<Record<string, Tensor>>;
  /** Zeros, or `initial` by name. Throws `input/invalid` for a tensor of another type or name. */
  makeState(initial?: Record<string, Tensor>): EngineState;
  dispose(): Promise<void>;
}

export interface CompileOptions {
  /**
   * How fp16 values are computed. `round`: every fp16 result is computed in fp32 and rounded to fp16, op by op,
   * as a stand-in for the device. `widen`: fp16 is treated as fp32 throughout, so what is left is the graph.
   */
  readonly float16?: "round" | "widen";
  /** Outputs that stay on the device of an engine that has one: `run` gives them as a `DeviceTensor`. */
  readonly onDevice?: readonly string[];
}

export interface Engine {
  readonly name: string;
  /** Everything its numbers depend on: the engine, plus device and driver if it has its own. Part
   * of the key of a unit. */
  readonly identity: string;
  /** What ran: engine, backend, version, device or threads, for provenance. */
  readonly description: string;
  /** Positions (batch · length) that one call should hold: enough to keep the device busy. */
  readonly tokensPerCall: number;
  /** Its device is the CPU in the place of a GPU. */
  readonly isSoftware?: boolean;
  compile(fn: MilFunction, options?: CompileOptions): Promise<Executable>;
  /** The tensor on the engine's device, or the given tensor if it has none. Free it with `release`.
   */
  upload(t: Tensor): Promise<Tensor>;
  /** Operations of compiled functions that an engine with a device ran on the CPU instead: how many, by type. */
  elsewhere(): ReadonlyMap<string, number>;
}

/** The work that the engine's device did not do, for a log; null if it did all. */
export function elsewhereText(engine: Engine): string | null {
  const all = [...engine.elsewhere()].sort(([, a], [, b]) => b - a).map(([type, n]) => `${n} ${type}`);
  return all.length === 0 ? null : `of the operations compiled for ${engine.name}, the CPU ran ${all.join(", ")}`;
}

/** What an engine that computes in the host's memory says of a device. */
export const inHostMemory = {
  /** Few enough to stay in the caches of a core, enough for efficient products. */
  tokensPerCall: 1024,
  upload: async (t: Tensor): Promise<Tensor> => t,
  elsewhere: (): ReadonlyMap<string, number> => new Map(),
};
