/** @file The engines the conformance suite runs on. */
import type { Engine } from "../../lib/engines/engine.ts";
import { createOnnxRuntimeEngine } from "../../lib/engines/onnxruntime/engine.ts";

/** One thread each: the suite checks numbers, and other tests run beside it. */
export const engines: readonly { readonly name: string; readonly create: () => Promise<Engine> }[] = [
  { name: "onnxruntime", create: () => createOnnxRuntimeEngine({ threads: 1 }) },
];
