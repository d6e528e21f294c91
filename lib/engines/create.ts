/** @file An engine by name; its packages are loaded only when it is asked for. */
import { EspalierError } from "../errors.ts";
import type { Clock } from "../random.ts";
import type { Engine } from "./engine.ts";

export const engineNames = ["onnxruntime", "tensorflow", "webgpu", "auto"] as const;
export type EngineName = (typeof engineNames)[number];

export const defaultEngine: EngineName = "onnxruntime";

/** Throws `input/invalid` for an unknown name. `where`: the flag or setting that says so. */
export function engineNamed(name: string | undefined, where = "engine"): EngineName {
  const found = engineNames.find((e) => e === (name ?? defaultEngine));
  if (found) return found;
  throw new EspalierError("input/invalid", `${where}: there is no engine ${name}`, {
    hint: `One of ${engineNames.join(", ")}.`,
  });
}

export interface CreateEngineOptions {
  readonly threads: number;
  readonly clock: Clock;
  /** Where a native tfjs-node lies when it is not installed beside us. */
  readonly tfjsNodePath?: string | undefined;
  /** Hears which engine `auto` took, and why. */
  readonly log?: ((line: string) => void) | undefined;
}

/** Throws `engine/unavailable` where the engine's package or device is missing; `auto` takes what there is. */
export async function createEngine(name: EngineName, options: CreateEngineOptions): Promise<Engine> {
  const { threads, tfjsNodePath } = options;
  if (name === "onnxruntime") {
    const { createOnnxRuntimeEngine } = await import("./onnxruntime/onnxruntime-engine.ts");
    return createOnnxRuntimeEngine({ threads });
  }
  if (name === "webgpu") {
    const { createWebGpuEngine } = await import("./onnxruntime/webgpu.ts");
    return createWebGpuEngine({ threads });
  }
  if (name === "auto") {
    const { fasterEngine } = await import("./faster.ts");
    const { engine, reason } = await fasterEngine(
      { gpu: () => createEngine("webgpu", options), cpu: () => createEngine("onnxruntime", options) },
      options.clock,
    );
    options.log?.(`engine auto: ${engine.description}, because ${reason}`);
    return engine;
  }
  const { createTensorFlowEngine } = await import("./tensorflow/tensorflow-engine.ts");
  return createTensorFlowEngine({ threads, ...(tfjsNodePath === undefined ? {} : { tfjsNodePath }) });
}
