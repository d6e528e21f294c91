/**
 * @file Export: write a package, read it back, run it here, compare it with the model it came from.
 *
 * A package is called ready only when it was read and type-checked by our own reader, executed by an engine with fp16 rounding
 * after every operation, said the same greedy text as the fp32 model with the same compressed weights, and its logits lay
 * within fp16's reach, that has the bytes it was predicted to have, and that no lint rule calls an error. The card records all of it, with modelled speeds. Checked here is
 * everything but the device.
 */
import { cp, mkdir, rename, stat, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { z } from "zod";
import { bitsPerWeight, decodeWeight } from "../../lib/compress/decode.ts";
import type { CompressedWeight } from "../../lib/compress/weight.ts";
import { generate, type StepModel } from "../../lib/decoder/generate.ts";
import { openEmbedding, writeEmbedding } from "../../lib/decoder/neural-engine/embedding.ts";
import { INTERFACE_KEY } from "../../lib/decoder/package-interface.ts";
import { packageModel } from "../../lib/decoder/package-model.ts";
import { stepModel } from "../../lib/decoder/step-model.ts";
import { inMemoryWeights, parameterCount, weightList } from "../../lib/decoder/weights.ts";
import { EspalierError } from "../../lib/errors.ts";
import { sequencesFromText } from "../../lib/eval/sequences.ts";
import { withOutputDirectory } from "../../lib/files/atomic.ts";
import { roundToFloat16 } from "../../lib/float16.ts";
import { type PackageSummary, summarizePackage } from "../../lib/formats/coreml/inspect.ts";
import { type ReadPackage, readPackage } from "../../lib/formats/coreml/package-reader.ts";
import { predictPackage, writePackage } from "../../lib/formats/coreml/package-writer.ts";
import { targets as coremlTargets } from "../../lib/formats/coreml/targets.ts";
import { f32 } from "../../lib/mil/tensor.ts";
import { elementCount } from "../../lib/mil/types.ts";
import type { Experiment, ExperimentContext, Unit } from "../definition.ts";
import { type OpenModel, readText } from "../models.ts";
import { drivenPairs } from "../probe/manifest.ts";
import { writeProbe } from "../probe/write-probe.ts";
import { cardSchema, type ExportCard } from "./card.ts";
import { type ExportConfig, exportConfig, exportSizes } from "./config.ts";
import { deviceChecks } from "./device-checks.ts";
import { GOLDEN_TOKENS, goldenPrompt, goldenVectors } from "./golden.ts";
import { buildLayout, embeddingFile, perLayerFile } from "./layout.ts";
import { type ComparedText, compareWithModel } from "./parity.ts";

export type { ExportCard } from "./card.ts";
export { type ExportConfig, exportConfig } from "./config.ts";

const result = z.object({ card: cardSchema });

export interface ExportSummary {
  readonly card: ExportCard;
  readonly out: string;
}

/** Logits may differ by fp16 rounding: this share of the largest. */
const LOGIT_TOLERANCE = 0.02;

export const exportExperiment: Experiment<ExportConfig, Unit, z.infer<typeof result>, ExportSummary> = {
  kind: "export",
  version: 2,
  title: "A checked package",
  config: exportConfig,
  result,
  async plan(config, context) {
    const { hash } = await context.models.open(config.model);
    return [{ key: `${hash} ${JSON.stringify(config)} ${context.clock.nowMs()}`, label: "exporting" }];
  },
  run: async (_unit, config, context, onShare) => ({ card: await exportPackage(config, context, onShare) }),
  async summarize(config, results) {
    const card = results[0]?.result.card;
    if (!card) throw new EspalierError("internal/invariant", "internal: an export has one unit");
    return { card, out: config.out };
  },
};

/** Every weight as it will ship: compressed ones as stored, dense ones rounded to fp16. */
export async function shippedWeights(model: OpenModel): Promise<Map<string, CompressedWeight>> {
  const shipped = new Map<string, CompressedWeight>();
  for (const { name } of weightList(model.weights.arch)) {
    const w = await model.checkpoint.weight(name);
    shipped.set(name, w.kind === "dense" ? { ...w, dtype: "fp16", values: w.values.map(roundToFloat16) } : w);
  }
  return shipped;
}

async function exportPackage(
  config: ExportConfig,
  context: ExperimentContext,
  onShare: (share: number) => void,
): Promise<ExportCard> {
  const model = await context.models.open(config.model);
  const { arch } = model.weights;
  const sizes = exportSizes(config, arch);
  const weights = await shippedWeights(model);
  // The fp32 reference holds the weights as they ship: codes decoded, the rest rounded to fp16.
  const reference = await stepModel(context.engine, shippedReference(model, weights), {
    context: sizes.contexts.at(-1) as number,
  });
  const text = await comparedText(config, model, reference, {
    smallest: sizes.contexts[0] as number,
    signal: context.signal,
  });
  onShare(0.1);
  const layout = await buildLayout({ config, sizes, model, weights, sequences: text.sequences, context });
  onShare(0.3);
  return withOutputDirectory(
    config.out,
    async (folder) => {
      const file = `${config.name}.mlpackage`;
      // Built and checked under a name that says it is not ready.
      const unchecked = join(folder, "unchecked.mlpackage");
      const metadata = {
        shortDescription: `${config.name}: ${arch.layers.length} layers, ${parameterCount(arch)} parameters`,
        author: "Espalier",
        license: "",
        version: "1",
        userDefined: { "espalier.model": model.hash, [INTERFACE_KEY]: JSON.stringify(layout.interface) },
      };
      const program = { ...layout.program, opset: coremlTargets[config.target].opset };
      const compute = sizes.layout === "neural-engine" ? "neural-engine" : "gpu";
      const predicted = await predictPackage(program, metadata, { compute });
      const written = await writePackage(unchecked, program, metadata, { compute });
      const embeddingPath = sizes.embedding === "host" ? join(folder, embeddingFile(config.name)) : null;
      if (embeddingPath) await writeEmbedding(embeddingPath, weights.get("embedding") as CompressedWeight);
      const perLayerPath =
        arch.perLayer && sizes.layout === "neural-engine" ? join(folder, perLayerFile(config.name)) : null;
      if (perLayerPath) await writeEmbedding(perLayerPath, weights.get("perLayerEmbedding") as CompressedWeight);
      const outside = [embeddingPath, perLayerPath].filter((path) => path !== null);
      onShare(0.35);
      const read = await readPackage(unchecked);
      checkWeightsShipped(summarizePackage(read), weights, [
        ...(embeddingPath && !arch.tiedHead ? ["embedding"] : []),
        ...(perLayerPath ? ["perLayerEmbedding"] : []),
      ]);
      onShare(0.4);
      const shipped = await packageModel(context.engine, read, "round", {
        embedding: embeddingPath ? await openEmbedding(embeddingPath) : null,
        perLayer: perLayerPath ? await openEmbedding(perLayerPath) : null,
      });
      const { parity, sample } = await compareWithModel(reference, shipped, text, model.tokenizer, {
        signal: context.signal,
        onShare: (share) => onShare(0.4 + 0.55 * share),
      });
      const checks = await deviceChecks(unchecked, {
        units: sizes.layout === "neural-engine" ? "cpuAndNeuralEngine" : "all",
        architecture: arch,
      });
      const ready =
        checks.lint.counts.errors === 0 &&
        predicted.sizeBytes === written.sizeBytes &&
        parity.greedyIdentical &&
        parity.maxLogitDifference <= LOGIT_TOLERANCE * parity.largestLogit &&
        (layout.headroom === null || layout.headroom.worst >= 1);
      const elements = [...weights.values()].reduce((n, w) => n + elementCount(w.shape), 0);
      const outsideBytes = await Promise.all(outside.map(async (path) => (await stat(path)).size));
      const embeddingBytes = outside.length > 0 ? outsideBytes.reduce((n, size) => n + size, 0) : null;
      const sizeBytes = written.sizeBytes + (embeddingBytes ?? 0);
      const card: ExportCard = {
        ready,
        package: file,
        layout: sizes.layout,
        sizeBytes,
        predictedBytes: predicted.sizeBytes,
        packageBytes: written.sizeBytes,
        weightBytes: written.weightBytes,
        embeddingBytes,
        parameters: elements,
        bitsPerWeight:
          [...weights.values()].reduce((n, w) => n + bitsPerWeight(w) * elementCount(w.shape), 0) / elements,
        fp16Bytes: 2 * elements,
        timesSmallerThanFp16: (2 * elements) / sizeBytes,
        functions: layout.program.functions.map((f) => f.name),
        contexts: [...sizes.contexts],
        states: statesOf(read),
        headroom: layout.headroom,
        scaling: layout.scaling,
        parity,
        ...checks,
        sample,
        provenance: {
          model: config.model,
          modelHash: model.hash,
          engine: context.engine.description,
          espalier: "0.1.0",
        },
        notChecked: ["loading by Apple's runtime", "placement, speed, memory and numerics on a device"],
      };
      await writeFile(join(folder, "card.json"), `${JSON.stringify(card, null, 2)}\n`);
      await mkdir(join(folder, "tokenizer"));
      for (const name of ["tokenizer.json", "tokenizer_config.json"]) {
        await cp(join(model.directory, name), join(folder, "tokenizer", name)).catch(() => undefined);
      }
      const final = ready ? file : `not-ready-${file}`;
      await writeProbe({
        folder,
        written: "unchecked.mlpackage",
        packageFile: final,
        name: config.name,
        drive: layout.interface,
        golden: await goldenVectors(reference, {
          prompt: goldenPrompt(text.sequences[0] ?? text.seed, layout.interface.functions),
          greedyTokens: GOLDEN_TOKENS,
          topK: 16,
          relativeTolerance: LOGIT_TOLERANCE,
          functions: drivenPairs(layout.interface),
          signal: context.signal,
        }),
        tokenizer: model.tokenizer,
        companions: outside.map((path) => basename(path)),
      });
      await rename(unchecked, join(folder, final));
      return card;
    },
    { replace: config.replace },
  );
}

const statesOf = (read: ReadPackage): ExportCard["states"] =>
  read.program.functions.flatMap((fn) =>
    fn.inputs.flatMap(({ name, type }) =>
      type.kind === "state" ? [{ function: fn.name, name, shape: [...type.wrapped.shape] }] : [],
    ),
  );

/** Held-out text, or the model's own, in pieces that fit the smallest context; and the prompt of the greedy text. */
async function comparedText(
  config: ExportConfig,
  model: OpenModel,
  reference: StepModel,
  { smallest, signal }: { smallest: number; signal: AbortSignal | undefined },
): Promise<ComparedText> {
  const { tokenizer } = model;
  const text = config.text === undefined ? null : await readText(config.text);
  const options = { separator: config.separator, limit: 4, context: Math.min(smallest, 96) };
  const sequences = text ? sequencesFromText(text, tokenizer, options).map((s) => [...s.ids]) : [];
  const prompt = sequences[0]?.slice(0, 24) ?? tokenizer.encode("", { bos: true });
  const seed = prompt.length > 0 ? prompt : [tokenizer.eosIds[0] ?? 0];
  if (sequences.length === 0) {
    const maxTokens = Math.min(smallest, 96) - seed.length;
    sequences.push([...seed, ...(await generate(reference, seed, { maxTokens, signal }))]);
  }
  return { sequences, seed, checkTokens: config.checkTokens };
}

/** The reader must find as many weight elements as were meant to ship. */
function checkWeightsShipped(
  summary: PackageSummary,
  weights: ReadonlyMap<string, CompressedWeight>,
  outside: readonly string[],
): void {
  const matrices = [...weights]
    .filter(([name, w]) => w.shape.length > 1 && !outside.includes(name))
    .reduce((n, [, w]) => n + elementCount(w.shape), 0);
  const found = summary.weights.reduce((n, w) => n + w.elements, 0);
  if (found < matrices)
    throw new EspalierError("export/parity", `the package holds ${found} weights, ${matrices} were written`);
}

function shippedReference(model: OpenModel, weights: ReadonlyMap<string, CompressedWeight>): OpenModel["weights"] {
  const tensors = new Map([...weights].map(([name, w]) => [name, f32(w.shape, decodeWeight(w))]));
  return inMemoryWeights(model.weights.arch, tensors);
}
