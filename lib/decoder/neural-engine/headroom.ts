/**
 * @file How far a package's numbers are from fp16's largest, layer by layer, on some text.
 *
 * The very functions that ship are run with fp16 widened to fp32 and every product, sum and activation watched, masked scores
 * left out. Headroom is 65504 over the peak: below 1 the value overflows on a device. Text decides peaks, so headroom is a
 * measurement, not a bound.
 */
import type { Engine } from "../../engines/engine.ts";
import { throwIfCancelled } from "../../eval/perplexity.ts";
import { observePeaks } from "../../mil/passes/observe-peaks.ts";
import { type MilFunction, type Operation, operandValues, type Program } from "../../mil/program.ts";
import type { NeuralEngineInterface } from "../package-interface.ts";
import { openNeuralEngineModel } from "./driver.ts";
import type { HostEmbedding } from "./embedding.ts";
import { FLOAT16_MAX, type LayerPeaks } from "./scaling.ts";

export interface LayerHeadroom extends LayerPeaks {
  /** The largest value inside the layer's blocks, and the operation that gives it. */
  readonly inside: number;
  readonly insideAt: string;
}

export interface Headroom {
  readonly layers: readonly LayerHeadroom[];
  /** Largest before the first layer, and after the last one with the logits. */
  readonly embedding: number;
  readonly head: number;
  /** 65504 over the largest of all. */
  readonly worst: number;
  readonly positions: number;
}

const observedTypes = new Set(["conv", "matmul", "mul", "add", "gather", "silu", "gelu", "layer_norm", "reduce_sum"]);

/** Everything that could overflow but the masks and the scores they are added to. */
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
  options: { embedding?: HostEmbedding | null; signal?: AbortSignal | undefined } = {},
): Promise<Headroom> {
  const found = new Map<string, number>();
  const watched = new Map<string, ReadonlyMap<string, Operation>>();
  const model = openNeuralEngineModel(engine, program, description, {
    float16: "widen",
    embedding: options.embedding ?? null,
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

function byLayer(found: ReadonlyMap<string, number>): Omit<Headroom, "positions"> {
  const layers: {
    stream: number;
    attentionOutput: number;
    inner: number;
    mlpOutput: number;
    inside: number;
    insideAt: string;
  }[] = [];
  let embedding = 0;
  let head = 0;
  for (const [name, peak] of found) {
    const match = layerValue.exec(name);
    if (!match) {
      if (layers.length === 0) embedding = Math.max(embedding, peak);
      else head = Math.max(head, peak);
      continue;
    }
    const index = Number(match[1]);
    layers[index] ??= { stream: 0, attentionOutput: 0, inner: 0, mlpOutput: 0, inside: 0, insideAt: "" };
    const layer = layers[index];
    const what = match[2];
    if (what === "stream") layer.stream = Math.max(layer.stream, peak);
    else {
      if (peak > layer.inside) Object.assign(layer, { inside: peak, insideAt: name });
      if (what === "attention_output") layer.attentionOutput = Math.max(layer.attentionOutput, peak);
      if (what === "mlp_inner") layer.inner = Math.max(layer.inner, peak);
      if (what === "mlp_down") layer.mlpOutput = Math.max(layer.mlpOutput, peak);
    }
  }
  const largest = Math.max(embedding, head, ...layers.flatMap((l) => [l.stream, l.inside]));
  return { layers, embedding, head, worst: FLOAT16_MAX / largest };
}
