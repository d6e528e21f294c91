/**
 * @file Export: write a package, read it back, run it here, compare it with the model it came from.
 *
 * A package is called faithful only when it has the bytes that were predicted, was read and type-checked by our own reader and holds
 * the very constants it was to hold, was executed by an engine with fp16 rounding after every operation, chose as the fp32 model
 * with the same compressed weights does all along its greedy text, its logits lay within fp16's reach, and no lint rule
 * calls an error. It is good when its model still says what the original says (`quality.ts`), and ready when it is both. One that
 * could not be run here is `unexecuted`, never ready. The card records all of it, with modelled speeds.
 * Checked here is everything but the device.
 */
import { mkdir, rename, stat, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { type HostTables, openEmbedding, writeEmbedding } from "../../../lib/decoder/neural-engine/embedding.ts";
import { overflowError } from "../../../lib/decoder/overflow.ts";
import { loadPackage, loadStaged, type OpenedPackage, packageModel } from "../../../lib/decoder/package-model.ts";
import { parameterCount } from "../../../lib/decoder/weights.ts";
import { EspalierError } from "../../../lib/errors.ts";
import { withOutputDirectory } from "../../../lib/files/atomic.ts";
import { targets as coremlTargets } from "../../../lib/formats/coreml/targets.ts";
import type { Program } from "../../../lib/mil/program.ts";
import { elementCount } from "../../../lib/mil/types.ts";
import { formOf, formSizeBytes } from "../../../lib/weights/form.ts";
import type { ExperimentContext, Maker, MakerContext, OutputFolder } from "../../definition.ts";
import { drivenPairs } from "../../probe/manifest.ts";
import { writeProbe } from "../../probe/write-probe.ts";
import type { ExportCard } from "./card.ts";
import { checkSizes, type ExportConfig, exportConfig, exportSizes } from "./config.ts";
import { deviceChecks } from "./device-checks.ts";
import { goldenVectors } from "./golden.ts";
import { buildLayout, embeddingFile, type Layout, perLayerFile, STAGE_BYTES } from "./layout.ts";
import { compareConstants, readFiles, writeFiles } from "./package-files.ts";
import { compareWithModel, notCompared, type Parity } from "./parity.ts";
import { qualityOf } from "./quality.ts";
import { type ExportSource, exportSource, weightOf } from "./source.ts";
import { LOGIT_TOLERANCE, verdictOf } from "./verdict.ts";

export type { ExportCard } from "./card.ts";
export { type ExportConfig, exportConfig } from "./config.ts";

export interface ExportSummary {
  readonly card: ExportCard;
  readonly out: string;
}

export const exportExperiment: Maker<"export", ExportConfig, ExportSummary> = {
  kind: "export",
  makes: "package",
  doing: "exporting",
  version: 3,
  title: "A checked package",
  config: exportConfig,
  check: async (config, { modelShape }) => checkSizes(config, await modelShape(config.model)),
  make: async (config, context, folder) => ({ card: await exportPackage(config, context, folder), out: folder.path }),
  headline: ({ card }) => ({
    bytes: card.sizeBytes,
    "bits per weight": card.bitsPerWeight,
    "parity KL": card.parity.meanKl,
    ready: card.ready ? 1 : 0,
  }),
};

async function exportPackage(config: ExportConfig, context: MakerContext, output: OutputFolder): Promise<ExportCard> {
  const { onShare } = context;
  const model = await context.models.files(config.model);
  const arch = model.checkpoint.architecture;
  const sizes = exportSizes(config, arch);
  const source = await exportSource(config, sizes, model, context);
  onShare(0.1);
  const target = coremlTargets[config.target];
  const layout = asMain(await buildLayout({ config, sizes, source, context }), target.functions);
  onShare(0.3);
  return withOutputDirectory(
    output.path,
    async (folder) => {
      const program = { ...layout.program, opset: target.opset };
      const written = await writeFiles({
        folder,
        name: config.name,
        program,
        interface: layout.interface,
        metadata: {
          shortDescription: `${config.name}: ${arch.layers.length} layers, ${parameterCount(arch)} parameters`,
          author: "Espalier",
          license: "",
          version: "1",
          modelHash: model.hash,
        },
        compute: sizes.layout === "neural-engine" ? "neural-engine" : "gpu",
        limitBytes: config.maxPackageBytes,
      });
      const embeddingPath = sizes.embedding === "host" ? join(folder, embeddingFile(config.name)) : null;
      if (embeddingPath) await writeEmbedding(embeddingPath, weightOf(source, "embedding"));
      const perLayerPath =
        arch.perLayer && sizes.layout === "neural-engine" ? join(folder, perLayerFile(config.name)) : null;
      if (perLayerPath) await writeEmbedding(perLayerPath, weightOf(source, "perLayerEmbedding"));
      const outside = [embeddingPath, perLayerPath].filter((path) => path !== null);
      onShare(0.35);
      const files = await readFiles(written.path);
      const constantsCompared = await compareConstants(program, written, files, config.maxPackageBytes);
      onShare(0.4);
      const tables = {
        embedding: embeddingPath ? await openEmbedding(embeddingPath) : null,
        perLayer: perLayerPath ? await openEmbedding(perLayerPath) : null,
      };
      const run = await runPackage(source, { path: written.path, states: target.states }, tables, context, (share) =>
        onShare(0.4 + 0.55 * share),
      );
      const checks = await deviceChecks(
        files,
        { program: files[0] && files.length === 1 ? files[0].read.program : program, weightBytes: written.weightBytes },
        { units: sizes.layout === "neural-engine" ? "cpuAndNeuralEngine" : "all", architecture: arch },
      );
      const execution = { ...run.execution, modelBytes: source.modelBytes, heldUpToBytes: config.streamAboveBytes };
      const verdict = verdictOf(
        { lint: checks.lint, parity: run.parity, headroom: layout.headroom, execution },
        qualityOf(model.checkpoint.config, config.maxKl),
      );
      const file = verdict.ready ? written.name : `${verdict.status}-${written.name}`;
      const forms = [...source.weights.values()].map(formOf);
      const elements = forms.reduce((n, f) => n + elementCount(f.shape), 0);
      const outsideBytes = await Promise.all(outside.map(async (path) => (await stat(path)).size));
      const embeddingBytes = outside.length > 0 ? outsideBytes.reduce((n, size) => n + size, 0) : null;
      const sizeBytes = written.writtenBytes + (embeddingBytes ?? 0);
      const probed = written.kind === "package" && target.states;
      const card: ExportCard = {
        ...verdict,
        package: written.name,
        file,
        kind: written.kind,
        parts: written.parts,
        target: config.target,
        layout: sizes.layout,
        sizeBytes,
        predictedBytes: written.predictedBytes,
        packageBytes: written.writtenBytes,
        weightBytes: written.weightBytes,
        embeddingBytes,
        notes: [...source.notes],
        parameters: elements,
        bitsPerWeight: (8 * forms.reduce((n, f) => n + formSizeBytes(f), 0)) / elements,
        fp16Bytes: 2 * elements,
        timesSmallerThanFp16: (2 * elements) / sizeBytes,
        functions: layout.program.functions.map((f) => f.name),
        contexts: [...sizes.contexts],
        states: statesOf(program),
        headroom: layout.headroom,
        scaling: layout.scaling,
        constantsCompared,
        execution,
        parity: run.parity,
        ...checks,
        sample: run.sample,
        provenance: {
          model: config.model,
          modelHash: model.hash,
          engine: context.engine.description,
          espalier: "0.1.0",
        },
        notChecked: [
          ...(execution.kind === "none" ? [`what the package says: ${execution.explanation}`] : []),
          ...(probed ? [] : ["a probe, which is written for one package with states (iOS 18)"]),
          "loading by Apple's runtime",
          "placement, speed, memory and numerics on a device",
        ],
      };
      await writeFile(join(folder, "card.json"), `${JSON.stringify(card, null, 2)}\n`);
      await mkdir(join(folder, "tokenizer"));
      for (const name of ["tokenizer.json", "tokenizer_config.json"]) {
        const content = await model.checkpoint.file(name);
        if (content) await writeFile(join(folder, "tokenizer", name), content);
      }
      if (probed)
        await writeProbe({
          folder,
          written: basename(written.path),
          packageFile: file,
          name: config.name,
          drive: layout.interface,
          golden: await goldenVectors(source.reference, {
            ...source.golden,
            topK: 16,
            relativeTolerance: LOGIT_TOLERANCE,
            functions: drivenPairs(layout.interface),
            signal: context.signal,
          }),
          companions: outside.map((path) => basename(path)),
        });
      await rename(written.path, join(folder, file));
      return card;
    },
    { marked: true, replace: output.replace },
  );
}

/** A system without functions knows one, `main`. */
function asMain(layout: Layout, functions: boolean): Layout {
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

interface PackageRun extends Parity {
  readonly execution: Pick<ExportCard["execution"], "kind" | "explanation">;
}

/** Runs what was written, from its files alone: whole where the model is held, else some weights at a time. */
async function runPackage(
  source: ExportSource,
  { path, states }: { path: string; states: boolean },
  tables: HostTables,
  { engine, signal }: ExperimentContext,
  onShare: (share: number) => void,
): Promise<PackageRun> {
  const { reference, text } = source;
  const { tokenizer } = source.model;
  const walk = async (opened: OpenedPackage): Promise<Parity> => {
    const shipped = await packageModel(opened.engine, opened, "round", tables);
    try {
      return await compareWithModel(reference, shipped, text, tokenizer, { signal, onShare });
    } finally {
      await shipped.dispose();
    }
  };
  if (source.held) {
    const found = await walk(await loadPackage(engine, path)).catch(async (thrown: unknown) => {
      throw await overflowError(thrown, engine, path, text.sequences[0] ?? text.seed, signal);
    });
    return { ...found, execution: { kind: "whole", explanation: "every function, in memory" } };
  }
  const unrun = (why: string): PackageRun => ({
    parity: notCompared,
    sample: "",
    execution: { kind: "none", explanation: why },
  });
  if (!states)
    return unrun("a streamed model is run part by part, which caches that are inputs and outputs do not allow");
  try {
    const staged = await loadStaged(engine, path, STAGE_BYTES);
    await walk(staged);
    await staged.engine.execute(signal);
    const explanation = "some weights at a time, on texts chosen beforehand";
    return { ...(await walk(staged)), execution: { kind: "by-parts", explanation } };
  } catch (thrown) {
    // A program that cannot be cut is one that was not run, which the card says.
    if (thrown instanceof EspalierError && thrown.code === "export/unsupported") return unrun(thrown.message);
    throw thrown;
  }
}

const statesOf = (program: Program): ExportCard["states"] =>
  program.functions.flatMap((fn) =>
    fn.inputs.flatMap(({ name, type }) =>
      type.kind === "state" ? [{ function: fn.name, name, shape: [...type.wrapped.shape] }] : [],
    ),
  );
