/**
 * @file What an engine is: something that runs a MIL function.
 *
 * Engines are interchangeable; `test/engines` holds one conformance suite for all. A compiled function keeps no
 * weights: they are inputs unless the program holds them as constants. States follow Core ML: `makeState` gives
 * a cache of zeros that `run` reads and updates.
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
}

export interface Engine {
  readonly name: string;
  /** What ran: engine, backend, version and threads, for provenance. */
  readonly description: string;
  compile(fn: MilFunction, options?: CompileOptions): Promise<Executable>;
}
