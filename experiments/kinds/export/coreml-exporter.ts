/**
 * @file The exporter of Core ML packages.
 *
 * Faithful is a package that has the bytes that were predicted, was read and type-checked by our own reader and holds the very
 * constants it was to hold, was executed by an engine with fp16 rounding after every operation, chose as the fp32 model with
 * the same compressed weights does all along its greedy text, its logits lay within fp16's reach, and no lint rule calls an error.
 * Checked here is everything but the device.
 */
import { stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { type HostTables, openEmbedding, writeEmbedding } from "../../../lib/decoder/neural-engine/embedding.ts";
import { loadPackage, loadStaged, type OpenedPackage, packageModel } from "../../../lib/decoder/opened-package.ts";
import { firstOverflow, firstStagedOverflow, overflowError } from "../../../lib/decoder/overflow.ts";
import { EspalierError } from "../../../lib/errors.ts";
import { summarizeFiles } from "../../../lib/export/coreml/package-summary.ts";
import { hashPackage } from "../../../lib/formats/coreml/package-hash.ts";
import { targets as coremlTargets } from "../../../lib/formats/coreml/targets.ts";
import type { Program } from "../../../lib/mil/program.ts";
import { elementCount } from "../../../lib/mil/types.ts";
import { formOf, formSizeBytes } from "../../../lib/weights/form.ts";
import type { ExperimentContext } from "../../definition.ts";
import { drivenPairs } from "../../probe/manifest.ts";
import { writeProbe } from "../../probe/write-probe.ts";
import { type CoremlCard, originalFp16Bytes } from "./card.ts";
import { checkSizes, type ExportSizes, exportSizes, refuseOthers } from "./config.ts";
import { type DeviceChecks, deviceChecks } from "./device-checks.ts";
import type { Exporter } from "./exporter.ts";
import { goldenVectors } from "./golden.ts";
import { buildLayout, embeddingFile, type Layout, perLayerFile, STAGE_BYTES } from "./layout.ts";
import { compareConstants, filesToWrite, readFiles, type WrittenFiles, writeFiles } from "./package-files.ts";
import { compareWithModel, notCompared, type Parity } from "./parity.ts";
import { qualityOf } from "./quality.ts";
import { type ExportSource, exportSource, weightOf, weightsFor } from "./source.ts";
import { LOGIT_TOLERANCE, verdictOf } from "./verdict.ts";

interface Written {
  readonly path: string;
  readonly sizes: ExportSizes;
  readonly source: ExportSource;
  readonly layout: Layout;
  readonly program: Program;
  readonly files: WrittenFiles;
  /** Tables beside the package. */
  readonly embedding: string | null;
  readonly perLayer: string | null;
}

interface Verified {
  readonly constantsCompared: number;
  readonly run: PackageRun;
  readonly checks: DeviceChecks;
}

export const coremlExporter: Exporter<Written, Verified, CoremlCard> = {
  id: "coreml",

  check(config, shape) {
    refuseOthers(config);
    checkSizes(config, shape);
  },

  async write({ config, model, folder, context }) {
    const { onShare } = context;
    const arch = model.checkpoint.architecture;
    const sizes = exportSizes(config, arch);
    const source = await exportSource(config, sizes, model, await weightsFor(config, sizes, model), context);
    onShare(0.1);
    const target = coremlTargets[config.target];
    const layout = await buildLayout({ config, sizes, source, context });
    onShare(0.3);
    const program = { ...layout.program, opset: target.opset };
    const files = await writeFiles(folder, {
      ...filesToWrite({ config, sizes, source }),
      program,
      interface: layout.interface,
    });
    const embedding = sizes.embedding === "host" ? join(folder, embeddingFile(config.name)) : null;
    if (embedding) await writeEmbedding(embedding, weightOf(source, "embedding"));
    const perLayer = arch.perLayer && sizes.layout === "neural-engine" ? join(folder, perLayerFile(config.name)) : null;
    if (perLayer) await writeEmbedding(perLayer, weightOf(source, "perLayerEmbedding"));
    onShare(0.35);
    return { path: files.path, sizes, source, layout, program, files, embedding, perLayer };
  },

  async verify({ sizes, source, program, files: written, embedding, perLayer }, { config, model, context }) {
    const { onShare } = context;
    const files = await readFiles(written.path);
    const constantsCompared = await compareConstants(program, written, files, config.maxPackageBytes);
    onShare(0.4);
    const tables = {
      embedding: embedding ? await openEmbedding(embedding) : null,
      perLayer: perLayer ? await openEmbedding(perLayer) : null,
    };
    const { states } = coremlTargets[config.target];
    const run = await runPackage(source, { path: written.path, states }, tables, context, (share) =>
      onShare(0.4 + 0.55 * share),
    );
    const checks = await deviceChecks(
      files,
      { program: files[0] && files.length === 1 ? files[0].read.program : program, weightBytes: written.weightBytes },
      {
        units: sizes.layout === "neural-engine" ? "cpuAndNeuralEngine" : "all",
        architecture: model.checkpoint.architecture,
      },
    );
    return { constantsCompared, run, checks };
  },

  async card(written, { constantsCompared, run, checks }, { config, model, provenance }) {
    const { sizes, source, layout, files } = written;
    const execution = { ...run.execution, modelBytes: source.modelBytes, heldUpToBytes: config.streamAboveBytes };
    const good = qualityOf(model.checkpoint.config, config.maxKl);
    const verdict = verdictOf({ lint: checks.lint, parity: run.parity, headroom: layout.headroom, execution }, good);
    const forms = [...source.weights.values()].map(formOf);
    const elements = forms.reduce((n, f) => n + elementCount(f.shape), 0);
    const fp16Bytes = originalFp16Bytes(good, elements);
    const outsideBytes = await Promise.all(outside(written).map(async (path) => (await stat(path)).size));
    const embeddingBytes = outsideBytes.length > 0 ? outsideBytes.reduce((n, size) => n + size, 0) : null;
    const sizeBytes = files.writtenBytes + (embeddingBytes ?? 0);
    return {
      to: "coreml",
      ...verdict,
      package: files.name,
      file: verdict.ready ? files.name : `${verdict.status}-${files.name}`,
      kind: files.kind,
      parts: files.parts,
      target: config.target,
      layout: sizes.layout,
      sizeBytes,
      predictedBytes: files.predictedBytes,
      packageBytes: files.writtenBytes,
      weightBytes: files.weightBytes,
      embeddingBytes,
      notes: [...source.notes],
      parameters: elements,
      bitsPerWeight: (8 * forms.reduce((n, f) => n + formSizeBytes(f), 0)) / elements,
      fp16Bytes,
      timesSmallerThanFp16: fp16Bytes / sizeBytes,
      functions: layout.program.functions.map((f) => f.name),
      contexts: [...sizes.contexts],
      states: statesOf(written.program),
      headroom: layout.headroom,
      scaling: layout.scaling,
      constantsCompared,
      execution,
      parity: run.parity,
      ...checks,
      sample: run.sample,
      provenance,
      notChecked: [
        ...(execution.kind === "none" ? [`what the package says: ${execution.explanation}`] : []),
        ...(isProbed(written, config) ? [] : ["a probe, which is written for one package with states (iOS 18)"]),
        "loading by Apple's runtime",
        "placement, speed, memory and numerics on a device",
      ],
    };
  },

  async beside(written, card, { config, folder, context }) {
    if (!isProbed(written, config)) return;
    const { source, layout } = written;
    await writeProbe({
      folder,
      written: basename(written.path),
      packageFile: card.file,
      name: config.name,
      drive: layout.interface,
      golden: await goldenVectors(source.reference, {
        ...source.golden,
        topK: 16,
        relativeTolerance: LOGIT_TOLERANCE,
        functions: drivenPairs(layout.interface),
        signal: context.signal,
      }),
      companions: outside(written).map((path) => basename(path)),
    });
  },

  contents: async (path) => summarizeFiles((await readFiles(path)).map((f) => f.read)),
  hash: async (path) => (await hashPackage(path)).sha256,
};

const outside = ({ embedding, perLayer }: Written): string[] => [embedding, perLayer].filter((path) => path !== null);

const isProbed = ({ files }: Written, { target }: { target: keyof typeof coremlTargets }): boolean =>
  files.kind === "package" && coremlTargets[target].states;

interface PackageRun extends Parity {
  readonly execution: Pick<CoremlCard["execution"], "kind" | "explanation">;
}

/** Runs the written package from its files alone: as a whole if the model is in memory, else some
 * weights at a time. */
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
  const ids = text.sequences[0] ?? text.seed;
  if (source.held) {
    const found = await walk(await loadPackage(engine, path)).catch(async (thrown: unknown) => {
      throw await overflowError(thrown, () => firstOverflow(engine, path, ids, signal));
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
    const explanation = "a few weights at a time, on texts chosen in advance";
    return { ...(await walk(staged)), execution: { kind: "by-parts", explanation } };
  } catch (thrown) {
    // A program that cannot be cut is not run, and the card says so.
    if (thrown instanceof EspalierError && thrown.code === "export/unsupported") return unrun(thrown.message);
    throw await overflowError(thrown, () => firstStagedOverflow(engine, path, ids, STAGE_BYTES, signal));
  }
}

const statesOf = (program: Program): CoremlCard["states"] =>
  program.functions.flatMap((fn) =>
    fn.inputs.flatMap(({ name, type }) =>
      type.kind === "state" ? [{ function: fn.name, name, shape: [...type.wrapped.shape] }] : [],
    ),
  );
