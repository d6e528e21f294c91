/**
 * @file Loads TensorFlow.js with one of its two backends for Node: native (`@tensorflow/tfjs-node`) or WASM.
 *
 * The native package is optional; it can also be one built from source (`test/oracles/build-tfjs-node.sh`). It calls
 * `util.isNullOrUndefined`, which Node 23 removed. All copies of TensorFlow.js in a process share one registry, so
 * both backends can be loaded and `activate` says which one the next calls use. Not included: the browser's backends;
 * threads in WASM, which TensorFlow.js 4.22 does not start in Node (tensorflow/tfjs issue 3830).
 */

import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";
import util from "node:util";
import { itemAt } from "../../elements.ts";
import { EspalierError } from "../../errors.ts";

export type TensorFlow = typeof import("@tensorflow/tfjs");
export type TfTensor = import("@tensorflow/tfjs").Tensor;

export interface TensorFlowOptions {
  /** `auto`, the default: native where it can be loaded, else WASM. */
  readonly backend?: "node" | "wasm" | "auto";
  /** Folder of a built `@tensorflow/tfjs-node`, instead of the installed one. `auto` then takes nothing else. */
  readonly tfjsNodePath?: string;
  /** Threads of one operation, 1 unless given. What the first native load of a process asks for holds for all. */
  readonly threads?: number;
}

export interface LoadedTensorFlow {
  readonly tf: TensorFlow;
  readonly backend: "node" | "wasm";
  /** Package, version and threads, for provenance. */
  readonly description: string;
  /** Makes this backend the one that `tf` computes with, until another is made so. */
  activate(): void;
}

/** Throws `engine/unavailable` when the backend asked for cannot be loaded, `input/invalid` for bad options. */
export async function loadTensorFlow(options: TensorFlowOptions = {}): Promise<LoadedTensorFlow> {
  const { backend = "auto", tfjsNodePath, threads = 1 } = options;
  if (!Number.isInteger(threads) || threads < 1) {
    throw new EspalierError("input/invalid", `threads must be a positive integer, found ${threads}`);
  }
  if (backend === "wasm") return loadWasm(threads);
  try {
    return await loadNative(tfjsNodePath, threads);
  } catch (cause) {
    if (backend === "auto" && tfjsNodePath === undefined) return loadWasm(threads);
    const where = tfjsNodePath ?? nativePackage;
    throw new EspalierError("engine/unavailable", `${where} could not be loaded: ${firstLine(cause)}`, {
      hint: "Run `npm install @tensorflow/tfjs-node`, or build it with `bash test/oracles/build-tfjs-node.sh`.",
      cause,
    });
  }
}

const nativePackage = "@tensorflow/tfjs-node";

const firstLine = (thrown: unknown): string =>
  itemAt((thrown instanceof Error ? thrown.message : String(thrown)).split("\n"), 0);

/** What the first load of a process settled. */
let nativeThreads: number | undefined;
let wasmReady = false;

async function loadNative(folder: string | undefined, threads: number): Promise<LoadedTensorFlow> {
  const target =
    folder === undefined
      ? nativePackage
      : pathToFileURL(createRequire(import.meta.url).resolve(path.resolve(folder))).href;
  restoreRemovedChecks();
  if (nativeThreads === undefined) {
    // libtensorflow reads these once, when it makes its device; the binding passes no configuration.
    process.env.TF_NUM_INTRAOP_THREADS = String(threads);
    process.env.TF_NUM_INTEROP_THREADS = "1";
    process.env.TF_CPP_MIN_LOG_LEVEL ??= "2";
  }
  const tf = asTensorFlow(await import(/* @vite-ignore */ target), nativePackage);
  nativeThreads ??= threads;
  // A second copy of TensorFlow.js would otherwise warn of every kernel it finds registered.
  tf.enableProdMode();
  const activate = activator(tf, "tensorflow");
  activate();
  const version = "tfjs-node" in tf.version ? String(tf.version["tfjs-node"]) : tf.version.tfjs;
  return { tf, backend: "node", description: `tfjs-node ${version}, CPU, ${count(nativeThreads)}`, activate };
}

async function loadWasm(threads: number): Promise<LoadedTensorFlow> {
  try {
    const tf = asTensorFlow(await import("@tensorflow/tfjs"), "@tensorflow/tfjs");
    tf.enableProdMode();
    const loaded: typeof import("@tensorflow/tfjs-backend-wasm") = await import("@tensorflow/tfjs-backend-wasm");
    if (!wasmReady) {
      const binaries = createRequire(import.meta.url).resolve("@tensorflow/tfjs-backend-wasm/package.json");
      loaded.setWasmPaths(path.join(path.dirname(binaries), "dist") + path.sep);
      loaded.setThreadsCount(threads);
      if (!(await tf.setBackend("wasm"))) throw new Error("tf.setBackend gave false");
      wasmReady = true;
    }
    const activate = activator(tf, "wasm");
    activate();
    const actual = tf.env().get("WASM_HAS_MULTITHREAD_SUPPORT") === true ? loaded.getThreadsCount() : 1;
    return { tf, backend: "wasm", description: `tfjs ${tf.version.tfjs}, WASM, ${count(actual)}`, activate };
  } catch (cause) {
    throw new EspalierError("engine/unavailable", `TensorFlow.js could not start on WASM: ${firstLine(cause)}`, {
      hint: "Run `npm install`; the .wasm files are in node_modules/@tensorflow/tfjs-backend-wasm/dist.",
      cause,
    });
  }
}

const count = (threads: number): string => `${threads} ${threads === 1 ? "thread" : "threads"}`;

/** `setBackend` finishes within the call for a backend that has started, so nothing can come between. */
function activator(tf: TensorFlow, name: string): () => void {
  return () => {
    if (tf.getBackend() === name) return;
    void tf.setBackend(name);
    if (tf.getBackend() !== name) {
      throw new EspalierError("engine/failed", `TensorFlow.js stayed on ${tf.getBackend()} instead of ${name}`);
    }
  };
}

/** The namespace of a CommonJS module, which import() may give only as its default export. */
function asTensorFlow(module: unknown, name: string): TensorFlow {
  if (isTensorFlow(module)) return module;
  if (typeof module === "object" && module !== null && "default" in module && isTensorFlow(module.default)) {
    return module.default;
  }
  throw new EspalierError("engine/unavailable", `${name} does not export TensorFlow.js`);
}

const isTensorFlow = (module: unknown): module is TensorFlow =>
  typeof module === "object" && module !== null && "matMul" in module && "setBackend" in module && "version" in module;

function restoreRemovedChecks(): void {
  const missing: Record<string, unknown> = {};
  if (!("isNullOrUndefined" in util)) missing.isNullOrUndefined = (v: unknown) => v === null || v === undefined;
  if (!("isArray" in util)) missing.isArray = Array.isArray;
  Object.assign(util, missing);
}
