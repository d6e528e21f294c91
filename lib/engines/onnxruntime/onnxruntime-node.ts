/** @file The package onnxruntime-node: loaded when asked for, its types under the names used here. */
import { EspalierError } from "../../errors.ts";

export type { InferenceSession, Tensor as OrtTensor } from "onnxruntime-node";
export type OnnxRuntime = typeof import("onnxruntime-node");

/** Throws `engine/unavailable` where there is no build for this machine. */
export async function loadOnnxRuntime(): Promise<OnnxRuntime> {
  try {
    return await import("onnxruntime-node");
  } catch (cause) {
    throw new EspalierError("engine/unavailable", "onnxruntime-node could not be loaded", {
      hint: "Run `npm install`; there are builds for Linux, macOS (arm64) and Windows.",
      cause,
    });
  }
}

export const ortVersion = (ort: OnnxRuntime): string => ort.env.versions.node ?? ort.env.versions.common;
