/**
 * @file A decoder as a package in the Neural Engine layout: one function for every width and context, over one set of weights.
 *
 * Everything is fp16, static and at most of rank 4; a scale of the logits is in the last norm's gain; tables of rotations and masks are inputs, so
 * the graph has no integer arithmetic and no comparisons. `docs/package-interface.md` describes
 * inputs and outputs. In fp32 the same graph can be compared with the plain one.
 */

import { itemAt } from "../../elements.ts";
import { targets } from "../../formats/coreml/targets.ts";
import { Builder } from "../../mil/builder.ts";
import { removeDeadCode } from "../../mil/passes/dead-code.ts";
import { scaleOutputs } from "../../mil/passes/scale-outputs.ts";
import type { MilFunction, Program, Value } from "../../mil/program.ts";
import { type FloatDType, int32, tensorType } from "../../mil/types.ts";
import type { CompressedWeight, DeferredWeight } from "../../weights/weight.ts";
import type { DecoderArchitecture } from "../architecture.ts";
import type { NeuralEngineFunction } from "../package-interface.ts";
import { layerName } from "../sequence-programs.ts";
import { neuralEngineBlock, pointwise } from "./block.ts";
import { FunctionCacheValues, type SeenEntries } from "./cache.ts";
import { LayoutWeights } from "./layout-weights.ts";
import { mirrorNorm } from "./norm.ts";
import { perLayerVectors } from "./per-layer.ts";
import type { NeuralEnginePlan } from "./plan.ts";

/** `weights` by flat name; matrices of any kind, norm gains dense. */
export function neuralEngineProgram(
  arch: DecoderArchitecture,
  weights: ReadonlyMap<string, CompressedWeight | DeferredWeight>,
  plan: NeuralEnginePlan,
  dtype: FloatDType = "fp16",
): Program {
  const source = new LayoutWeights(weights, dtype, arch.normOffset);
  const functions = plan.interface.functions.map((entry) => neuralEngineFunction(arch, { plan, entry, source, dtype }));
  return { opset: targets.iOS18.opset, functions, defaultFunction: functions[0]?.name ?? "" };
}

interface FunctionContext {
  readonly plan: NeuralEnginePlan;
  readonly entry: NeuralEngineFunction;
  readonly source: LayoutWeights;
  readonly dtype: FloatDType;
}

function neuralEngineFunction(arch: DecoderArchitecture, context: FunctionContext): MilFunction {
  const { plan, entry, source, dtype } = context;
  const { scaling } = plan;
  const { width } = entry;
  const form = plan.interface.cacheForm;
  const b = new Builder(entry.name);

  let x = stream(b, arch, context);
  const ropes = plan.interface.ropes.map(({ cos, sin, inverseFrequencies }) => {
    const type = tensorType(dtype, [1, 1, width, 2 * inverseFrequencies.length]);
    return { cos: b.input(cos, type), sin: b.input(sin, type) };
  });
  const masks = plan.interface.masks.map(({ input, cache }) => {
    const { slots, attends } = cacheOf(entry, cache);
    const columns = attends === "cache" ? slots : slots + width;
    return b.input(input, tensorType(dtype, [1, 1, width, columns]));
  });
  const caches = plan.caches.map(
    (cache) => new FunctionCacheValues(b, { plan: cache, entry: cacheOf(entry, cache.name), width, dtype, form }),
  );

  const vectorsOf = perLayerVectors(b, x, { arch, plan, source, width, dtype });
  const seen: SeenEntries[] = [];
  for (const [index, layer] of arch.layers.entries()) {
    const at = itemAt(plan.layers, index);
    const done = b.scope(`L${index}`, () =>
      neuralEngineBlock(b, x, {
        arch,
        layer,
        weights: source,
        name: (role) => layerName(index, role),
        rope: at.rope === null ? null : (ropes[at.rope] ?? null),
        mask: itemAt(masks, at.mask),
        cache: itemAt(caches, at.cache),
        row: at.row,
        shared: layer.kvSource === null ? null : (seen[layer.kvSource] ?? null),
        perLayer: vectorsOf(index),
        perLayerVectors: scaling.perLayerVectors,
        stream: scaling.stream,
        scaling: itemAt(scaling.layers, index),
      }),
    );
    x = done.x;
    seen.push(done.seen);
  }

  if (entry.logits === "last") {
    const select = b.input("select", tensorType(dtype, [1, 1, 1, width]));
    x = b.sum(b.mul(x, select), [3], true);
  }
  const gain = source.gain(b, "finalNorm", [1, arch.hidden, 1, 1], arch.logitScale);
  const normal = mirrorNorm(b, x, 1, arch.normEpsilon * scaling.stream ** 2, gain);
  const head = arch.tiedHead ? "embedding" : "head";
  const outputs: Record<string, Value> = {};
  for (const { output, from, to } of plan.interface.logits) {
    outputs[output] = pointwise(b, normal, source.pointwiseRows(b, head, `head_${from}`, from, to));
  }
  for (const cache of caches) Object.assign(outputs, cache.outputs());
  return scaleOutputs(removeDeadCode(b.build(outputs)));
}

/** The stream (1, C, 1, S) that layers start from, times α. */
function stream(b: Builder, arch: DecoderArchitecture, { plan, entry, source, dtype }: FunctionContext): Value {
  const { hidden } = arch;
  const { width } = entry;
  if (plan.interface.embedding.location === "host") return b.input("hidden", tensorType(dtype, [1, hidden, 1, width]));
  const ids = b.input("ids", int32(1, width));
  const rows = b.gather(source.table(b, "embedding"), ids, 0); // (1, S, C)
  const channels = width === 1 ? rows : b.transpose(rows, [0, 2, 1]);
  const x = b.reshape(channels, [1, hidden, 1, width]);
  const scale = arch.embeddingScale * plan.scaling.stream;
  return scale === 1 ? x : b.mul(x, scale);
}

function cacheOf(entry: NeuralEngineFunction, name: string): NeuralEngineFunction["caches"][number] {
  return entry.caches.find((c) => c.name === name) as NeuralEngineFunction["caches"][number];
}
