/**
 * @file The program of a package in the layout asked for, with its interface, before it is written.
 *
 * For the Neural Engine headroom is measured first on the unscaled program; where a value comes near fp16's largest the
 * program is built again with the factors that bring it back.
 */

import { type Headroom, measureHeadroom } from "../../../lib/decoder/neural-engine/headroom.ts";
import { neuralEngineProgram } from "../../../lib/decoder/neural-engine/neural-engine-program.ts";
import {
  type NeuralEngineOptions,
  type NeuralEnginePlan,
  neuralEnginePlan,
  scaledPlan,
} from "../../../lib/decoder/neural-engine/plan.ts";
import { isUnscaled, scalingFor } from "../../../lib/decoder/neural-engine/scaling.ts";
import type { PackageInterface } from "../../../lib/decoder/package-interface.ts";
import { packageProgram } from "../../../lib/decoder/plain-layout-program.ts";
import type { RowTable } from "../../../lib/decoder/weights.ts";
import { numberAt } from "../../../lib/elements.ts";
import { stagedEngine } from "../../../lib/engines/staged.ts";
import { shippedTable } from "../../../lib/export/streamed-weights.ts";
import { targets as coremlTargets } from "../../../lib/formats/coreml/targets.ts";
import type { Program } from "../../../lib/mil/program.ts";
import { formOf, rowsTogether } from "../../../lib/weights/form.ts";
import type { ExperimentContext } from "../../definition.ts";
import type { CoremlCard } from "./card.ts";
import type { ExportConfig, ExportSizes } from "./config.ts";
import { type ExportSource, weightOf } from "./source.ts";

export interface Layout {
  readonly program: Program;
  readonly interface: PackageInterface;
  readonly headroom: CoremlCard["headroom"];
  readonly scaling: CoremlCard["scaling"];
}

/** What decides a program before any of it is run. */
export interface Plan {
  readonly config: ExportConfig;
  readonly sizes: ExportSizes;
  readonly source: Pick<ExportSource, "model" | "arch" | "weights">;
}

export interface LayoutRequest extends Plan {
  /** With text to measure headroom on. */
  readonly source: ExportSource;
  readonly context: ExperimentContext;
}

/** Weights that are in memory at once, as they are stored, while a program larger than memory is run. */
export const STAGE_BYTES = 100_000_000;

export async function buildLayout(request: LayoutRequest): Promise<Layout> {
  const { functions } = coremlTargets[request.config.target];
  return asMain(request.sizes.layout === "plain" ? plainLayout(request) : await neuralEngineLayout(request), functions);
}

/** The program as it is built first: the one that ships unless a value of it comes near fp16's largest. */
export function plannedProgram(plan: Plan): Pick<Layout, "program" | "interface"> {
  const { functions } = coremlTargets[plan.config.target];
  if (plan.sizes.layout === "plain") return asMain(plainLayout(plan), functions);
  const { arch, weights } = plan.source;
  const planned = neuralEnginePlan(arch, neuralEngineOptions(plan));
  return asMain({ program: neuralEngineProgram(arch, weights, planned), interface: planned.interface }, functions);
}

/** A system without functions knows one, `main`. */
function asMain<L extends Pick<Layout, "program" | "interface">>(layout: L, functions: boolean): L {
  const [only, ...more] = layout.program.functions;
  if (functions || !only || more.length > 0) return layout;
  const drive = layout.interface;
  return {
    ...layout,
    program: { ...layout.program, functions: [{ ...only, name: "main" }], defaultFunction: "main" },
    interface:
      drive.layout === "plain"
        ? { ...drive, functions: drive.functions.map((f) => ({ ...f, name: "main" })) }
        : { ...drive, functions: drive.functions.map((f) => ({ ...f, name: "main" })) },
  };
}

const beginToken = ({ bos = "auto" }: ExportConfig, { model }: Pick<ExportSource, "model">): number | null =>
  model.tokenizer.addedTokens(bos).begin[0] ?? null;

function plainLayout({ config, sizes, source }: Plan): Layout {
  const { arch, weights } = source;
  const context = numberAt(sizes.contexts, 0);
  const cacheForm = coremlTargets[config.target].states ? "state" : "arguments";
  const prefillLength = sizes.prefill[0] ?? null;
  const prefill =
    prefillLength === null ? [] : [{ name: "prefill", role: "prefill" as const, width: prefillLength, context }];
  return {
    program: packageProgram(arch, weights, { context, prefillLength, cacheForm }),
    interface: {
      version: 1,
      layout: "plain",
      family: arch.family,
      hidden: arch.hidden,
      vocab: arch.vocab,
      cacheForm,
      beginToken: beginToken(config, source),
      startToken: source.model.tokenizer.startId,
      stopTokens: [...source.model.tokenizer.eosIds],
      functions: [{ name: "decode", role: "decode", width: 1, context }, ...prefill],
    },
    headroom: null,
    scaling: null,
  };
}

function neuralEngineOptions({ config, sizes, source }: Plan): NeuralEngineOptions {
  const { arch } = source;
  return {
    contexts: sizes.contexts,
    prefill: sizes.prefill,
    embedding: sizes.embedding,
    cacheForm: coremlTargets[config.target].states ? "state" : "arguments",
    prefillLogits: "last",
    beginToken: beginToken(config, source),
    startToken: source.model.tokenizer.startId,
    stopTokens: source.model.tokenizer.eosIds,
    headRowsTogether: rowsTogether(formOf(weightOf(source, arch.tiedHead ? "embedding" : "head"))),
    embeddingFile: embeddingFile(config.name),
    perLayerFile: perLayerFile(config.name),
  };
}

async function neuralEngineLayout(request: LayoutRequest): Promise<Layout> {
  const { sizes, source, context } = request;
  const { arch, weights } = source;
  const options = neuralEngineOptions(request);
  const plan = neuralEnginePlan(arch, options);
  // Peaks are those of the same graph with states, which can be run in stages.
  const measured = source.held ? plan : neuralEnginePlan(arch, { ...options, cacheForm: "state" });
  const headroom = await measure(source, measured, sizes, context);
  const scaling = scalingFor(arch.layers, headroom);
  if (isUnscaled(scaling))
    return {
      program: neuralEngineProgram(arch, weights, plan),
      interface: plan.interface,
      headroom: reported(headroom),
      scaling: null,
    };
  const quiet = scaledPlan(plan, scaling);
  const after = await measure(source, scaledPlan(measured, scaling), sizes, context);
  return {
    program: neuralEngineProgram(arch, weights, quiet),
    interface: quiet.interface,
    headroom: reported(after),
    scaling: { ...scaling, layers: [...scaling.layers], worstWithout: headroom.worst },
  };
}

/** Headroom of the plan's program on the compared text, in stages where the model is not held. */
async function measure(
  source: ExportSource,
  plan: NeuralEnginePlan,
  sizes: ExportSizes,
  { engine, signal }: ExperimentContext,
): Promise<Headroom> {
  const { sequences } = source.text;
  const program = neuralEngineProgram(source.arch, source.weights, plan);
  const outside = (name: string, isOutside: boolean): RowTable | null => {
    return isOutside ? shippedTable(source.model.checkpoint, name) : null;
  };
  const tables = {
    embedding: outside("embedding", sizes.embedding === "host"),
    perLayer: outside("perLayerEmbedding", source.arch.perLayer !== null),
  };
  if (source.held) return measureHeadroom(engine, program, plan.interface, sequences, { ...tables, signal });
  const staged = stagedEngine(engine, STAGE_BYTES);
  const walk = (): Promise<Headroom> =>
    measureHeadroom(staged, program, plan.interface, sequences, { ...tables, signal });
  await walk();
  await staged.execute(signal);
  return walk();
}

export const embeddingFile = (name: string): string => `${name}.embedding.safetensors`;
export const perLayerFile = (name: string): string => `${name}.per-layer.safetensors`;

function reported(headroom: Headroom): NonNullable<CoremlCard["headroom"]> {
  const { worst, embedding, perLayerContext, perLayerVectors, head, layers, positions } = headroom;
  return {
    worst,
    embedding: Math.max(embedding, perLayerContext, perLayerVectors),
    head,
    positions,
    layers: layers.map(({ stream, inside, insideAt }) => ({ stream, inside, insideAt })),
  };
}
