/** @file The engines the conformance suite runs on. */
import type { Engine } from "../../lib/engines/engine.ts";
import { createOnnxRuntimeEngine } from "../../lib/engines/onnxruntime/onnxruntime-engine.ts";
import { createWebGpuEngine } from "../../lib/engines/onnxruntime/webgpu.ts";
import { createTensorFlowEngine } from "../../lib/engines/tensorflow/tensorflow-engine.ts";

/** Folder of a built @tensorflow/tfjs-node; without it that backend is left out (see test/oracles/build-tfjs-node.sh). */
const native = process.env.ESPALIER_TFJS_NODE;

export interface TestedEngine {
  readonly name: string;
  readonly create: () => Promise<Engine>;
  /** It has a device, which refuses no index that is out of bounds. */
  readonly hasDevice?: boolean;
}

/** One thread each: the suite checks numbers, and other tests run beside it. */
const onCpu: readonly TestedEngine[] = [
  { name: "onnxruntime", create: () => createOnnxRuntimeEngine({ threads: 1 }) },
  { name: "tensorflow wasm", create: () => createTensorFlowEngine({ backend: "wasm" }) },
  ...(native
    ? [{ name: "tensorflow node", create: () => createTensorFlowEngine({ backend: "node", tfjsNodePath: native }) }]
    : []),
];

/** With ESPALIER_TEST_WEBGPU the GPU stands beside the first engine; see `npm run test:webgpu`. */
export const engines: readonly TestedEngine[] = process.env.ESPALIER_TEST_WEBGPU
  ? [...onCpu.slice(0, 1), { name: "webgpu", create: () => createWebGpuEngine(), hasDevice: true }]
  : onCpu;
