/** @file An engine by name; its packages are loaded only when it is asked for. */
import type { Engine } from "./engine.ts";

export const engineNames = ["onnxruntime", "tensorflow"] as const;
export type EngineName = (typeof engineNames)[number];

/** `tfjsNodePath` is where a native tfjs-node lies when it is not installed beside us. */
export async function createEngine(
  name: EngineName,
  options: { threads: number; tfjsNodePath?: string | undefined },
): Promise<Engine> {
  const { threads, tfjsNodePath } = options;
  if (name === "onnxruntime") {
    const { createOnnxRuntimeEngine } = await import("./onnxruntime/engine.ts");
    return createOnnxRuntimeEngine({ threads });
  }
  const { createTensorFlowEngine } = await import("./tensorflow/engine.ts");
  return createTensorFlowEngine({ threads, ...(tfjsNodePath === undefined ? {} : { tfjsNodePath }) });
}
