/**
 * @file How far a package's numbers are from fp16's largest, layer by layer, on some text.
 *
 * The functions that ship are run with fp16 widened to fp32, and every product, sum and activation
 * is observed except masked scores. Headroom is 65504 over the peak: below 1 the value overflows on
 * a device. Peaks depend on the text, so headroom is a measurement, not a bound.
 */

import { throwIfCancelled } from "../../cancel.ts";
import type { Engine } from "../../engines/engine.ts";
import { observePeaks } from "../../mil/passes/observe-peaks.ts";
import { type MilFunction, type Operation, operandValues, type Program } from "../../mil/program.ts";
import type { NeuralEngineInterface } from "../package-interface.ts";
import { openNeuralEngineModel } from "./driver.ts";
import type { HostTables } from "./embedding.ts";
import { type DecoderPeaks, FLOAT16_MAX, type LayerPeaks } from "./scaling.ts";

export interface LayerHeadroom extends LayerPeaks {
  /** The largest value inside the layer's blocks, and the operation that gives it. */
  readonly inside: number;
  readonly insideAt: string;
}

export interface Headroom extends DecoderPeaks {
  readonly layers: readonly LayerHeadroom[];
  /** Largest after the last layer, with the logits. */
  readonly head: number;
  /** 65504 over the largest of all. */
  readonly worst: number;
  readonly positions: number;
}

const observedTypes = new Set(["conv", "matmul", "mul", "add", "gather", "silu", "gelu", "layer_norm", "reduce_sum"]);

/** Everything that could overflow, except masks and the scores they are added to. */
function isObserved(op: Operation): boolean {
  if (!observedTypes.has(op.type)) return false;
  return !(op.type === "add" && operandValues(op).some((v) => v.producer === null && v.name.startsWith("mask_")));
}

/** Runs the sequences, at most a context long, through the functions. */
export async function measureHeadroom(
  engine: Engine,
  program: Program,
  description: NeuralEngineInterface,
  sequences: readonly (readonly number[])[],
  options: HostTables & { signal?: AbortSignal | undefined } = {},
): Promise<Headroom> {
  const found = new Map<string, number>();
  const watched = new Map<string, ReadonlyMap<string, Operation>>();
  const model = openNeuralEngineModel(engine, program, description, {
    float16: "widen",
    embedding: options.embedding,
    perLayer: options.perLayer,
    observe: {
      change(fn: MilFunction) {
        const observed = observePeaks(fn, isObserved);
        watched.set(fn.name, observed.peaks);
        return observed.fn;
      },
      outputs(name, outputs) {
        for (const [output, op] of watched.get(name) ?? []) {
          const value = outputs[output]?.data[0] ?? 0;
          found.set(op.name, Math.max(found.get(op.name) ?? 0, Number.isNaN(value) ? Number.POSITIVE_INFINITY : value));
        }
      },
    },
  });
  let positions = 0;
  try {
    for (const ids of sequences) {
      const session = model.open({ padded: false });
      const length = Math.min(ids.length, model.context);
      for (let at = 0; at < length; ) {
        throwIfCancelled(options.signal);
        const count = session.chunk(at, length - at);
        await session.feed(ids.slice(at, at + count), at);
        at += count;
      }
      positions += length;
      session.dispose();
    }
  } finally {
    await model.dispose();
  }
  return { ...byLayer(found), positions };
}

const layerValue = /^L(\d+)_(.+?)(_\d+)?$/;

/** The values inside a layer that a factor reaches, by the name of their operation. */
const reached: Readonly<Record<string, keyof LayerPeaks>> = {
  attention_output: "attentionOutput",
  mlp_inner: "inner",
  mlp_down: "mlpOutput",
  per_layer_inner: "perLayerInner",
  per_layer_output: "perLayerOutput",
};
const quiet: LayerHeadroom = {
  stream: 0,
  attentionOutput: 0,
  inner: 0,
  mlpOutput: 0,
  perLayerInner: 0,
  perLayerOutput: 0,
  inside: 0,
  insideAt: "",
};

function byLayer(found: ReadonlyMap<string, number>): Omit<Headroom, "positions"> {
  const layers: { -readonly [K in keyof LayerHeadroom]: LayerHeadroom[K] }[] = [];
  let embedding = 0;
  let head = 0;
  let perLayerContext = 0;
  let perLayerVectors = 0;
  for (const [name, peak] of found) {
    const match = layerValue.exec(name);
    if (!match) {
      if (name.startsWith("per_layer_context")) perLayerContext = Math.max(perLayerContext, peak);
      else if (name.startsWith("per_layer_")) perLayerVectors = Math.max(perLayerVectors, peak);
      else if (layers.length === 0) embedding = Math.max(embedding, peak);
      else head = Math.max(head, peak);
      continue;
    }
    const index = Number(match[1]);
    layers[index] ??= { ...quiet };
    const layer = layers[index];
    const what = match[2] ?? "";
    if (what === "stream") layer.stream = Math.max(layer.stream, peak);
    else {
      if (peak > layer.inside) Object.assign(layer, { inside: peak, insideAt: name });
      const at = reached[what];
      if (at) layer[at] = Math.max(layer[at], peak);
    }
  }
  const largest = Math.max(
    embedding,
    head,
    perLayerContext,
    perLayerVectors,
    ...layers.flatMap((l) => [l.stream, l.inside]),
  );
  return { layers, embedding, perLayerContext, perLayerVectors, head, worst: FLOAT16_MAX / largest };
}
