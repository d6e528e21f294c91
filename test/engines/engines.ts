/** @file The engines the conformance suite runs on. */
import type { Engine } from "../../lib/engines/engine.ts";
import { createOnnxRuntimeEngine } from "../../lib/engines/onnxruntime/engine.ts";
import { createTensorFlowEngine } from "../../lib/engines/tensorflow/engine.ts";

/** Folder of a built @tensorflow/tfjs-node; without it that backend is left out (see test/oracles/build-tfjs-node.sh). */
const native = process.env.ESPALIER_TFJS_NODE;

/** One thread each: the suite checks numbers, and other tests run beside it. */
export const engines: readonly { readonly name: string; readonly create: () => Promise<Engine> }[] = [
  { name: "onnxruntime", create: () => createOnnxRuntimeEngine({ threads: 1 }) },
  { name: "tensorflow wasm", create: () => createTensorFlowEngine({ backend: "wasm" }) },
  ...(native
    ? [{ name: "tensorflow node", create: () => createTensorFlowEngine({ backend: "node", tfjsNodePath: native }) }]
    : []),
];
