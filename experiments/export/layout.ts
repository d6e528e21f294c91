/**
 * @file The program of a package in the layout asked for, with its interface: what there is to write, before it is written.
 *
 * For the Neural Engine headroom is measured first on the unscaled program; where a value comes near fp16's largest the
 * program is built again with the factors that bring it back.
 */
import type { CompressedWeight } from "../../lib/compress/weight.ts";
import { hostEmbedding } from "../../lib/decoder/neural-engine/embedding.ts";
import { type Headroom, measureHeadroom } from "../../lib/decoder/neural-engine/headroom.ts";
import { neuralEnginePlan, scaledPlan } from "../../lib/decoder/neural-engine/plan.ts";
import { neuralEngineProgram } from "../../lib/decoder/neural-engine/program.ts";
import { isUnscaled, scalingFor } from "../../lib/decoder/neural-engine/scaling.ts";
import type { NeuralEngineInterface, PackageInterface } from "../../lib/decoder/package-interface.ts";
import { packageProgram } from "../../lib/decoder/package-program.ts";
import type { RowTable } from "../../lib/decoder/weights.ts";
import type { Program } from "../../lib/mil/program.ts";
import type { ExperimentContext } from "../definition.ts";
import type { OpenModel } from "../models.ts";
import type { ExportCard } from "./card.ts";
import type { ExportConfig, ExportSizes } from "./config.ts";

export interface Layout {
  readonly program: Program;
  readonly interface: PackageInterface;
  readonly headroom: ExportCard["headroom"];
  readonly scaling: ExportCard["scaling"];
}

export interface LayoutRequest {
  readonly config: ExportConfig;
  readonly sizes: ExportSizes;
  readonly model: OpenModel;
  readonly weights: ReadonlyMap<string, CompressedWeight>;
  /** Text to measure headroom on. */
  readonly sequences: readonly (readonly number[])[];
  readonly context: ExperimentContext;
}

export async function buildLayout(request: LayoutRequest): Promise<Layout> {
  return request.sizes.layout === "plain" ? plainLayout(request) : neuralEngineLayout(request);
}

const beginToken = (model: OpenModel): number | null => model.tokenizer.encode("", { bos: true })[0] ?? null;

function plainLayout({ sizes, model, weights }: LayoutRequest): Layout {
  const { arch } = model.weights;
  const context = sizes.contexts[0] as number;
  const prefillLength = sizes.prefill[0] ?? null;
  const prefill =
    prefillLength === null ? [] : [{ name: "prefill", role: "prefill" as const, width: prefillLength, context }];
  return {
    program: packageProgram(arch, weights, { context, prefillLength }),
    interface: {
      version: 1,
      layout: "plain",
      family: arch.family,
      hidden: arch.hidden,
      vocab: arch.vocab,
      beginToken: beginToken(model),
      stopTokens: [...model.tokenizer.eosIds],
      functions: [{ name: "decode", role: "decode", width: 1, context }, ...prefill],
    },
    headroom: null,
    scaling: null,
  };
}

async function neuralEngineLayout(request: LayoutRequest): Promise<Layout> {
  const { config, sizes, model, weights, sequences, context } = request;
  const { arch } = model.weights;
  const plan = neuralEnginePlan(arch, {
    contexts: sizes.contexts,
    prefill: sizes.prefill,
    embedding: sizes.embedding,
    cacheForm: "state",
    prefillLogits: "last",
    beginToken: beginToken(model),
    stopTokens: model.tokenizer.eosIds,
    embeddingFile: embeddingFile(config.name),
    perLayerFile: perLayerFile(config.name),
  });
  const outside = (name: string, isOutside: boolean): RowTable | null =>
    isOutside ? hostEmbedding(weights.get(name) as CompressedWeight) : null;
  const tables = {
    embedding: outside("embedding", sizes.embedding === "host"),
    perLayer: outside("perLayerEmbedding", arch.perLayer !== null),
  };
  const measure = (program: Program, description: NeuralEngineInterface): Promise<Headroom> =>
    measureHeadroom(context.engine, program, description, sequences, { ...tables, signal: context.signal });

  const program = neuralEngineProgram(arch, weights, plan);
  const headroom = await measure(program, plan.interface);
  const scaling = scalingFor(arch.layers, headroom);
  if (isUnscaled(scaling)) return { program, interface: plan.interface, headroom: reported(headroom), scaling: null };
  const quiet = scaledPlan(plan, scaling);
  const scaled = neuralEngineProgram(arch, weights, quiet);
  const after = await measure(scaled, quiet.interface);
  return {
    program: scaled,
    interface: quiet.interface,
    headroom: reported(after),
    scaling: { ...scaling, layers: [...scaling.layers], worstWithout: headroom.worst },
  };
}

export const embeddingFile = (name: string): string => `${name}.embedding.safetensors`;
export const perLayerFile = (name: string): string => `${name}.per-layer.safetensors`;

function reported(headroom: Headroom): NonNullable<ExportCard["headroom"]> {
  const { worst, embedding, perLayerContext, perLayerVectors, head, layers, positions } = headroom;
  return {
    worst,
    embedding: Math.max(embedding, perLayerContext, perLayerVectors),
    head,
    positions,
    layers: layers.map(({ stream, inside, insideAt }) => ({ stream, inside, insideAt })),
  };
}
