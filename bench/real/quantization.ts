/**
 * @file Perplexity and divergence of a released model under schemes of equal size, beside torch's and coremltools' in the same run.
 *
 *   npx tsx bench/real/quantization.ts --model MODEL --text wikitext2-valid.txt [--schemes a,b] [--windows 16] [--calibration 32]
 *     [--peers PYTHON]
 *
 * Windows of 512 tokens. Calibration takes the first `--calibration` of the text's beginning, the report the last `--windows` of its
 * end; nothing is chosen on those. Mixtures are what `espalier quantize --max-bits` makes, which holds every fourth calibrating
 * window out. One thread; seconds are processor time of storing alone, calibration's forward passes included.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { fixed, table } from "../../bin/numbers.ts";
import { memoryArrays } from "../../experiments/array-files.ts";
import { memoryStore, runExperiment } from "../../experiments/definition.ts";
import { quantize, quantizeConfig } from "../../experiments/kinds/quantize/quantize.ts";
import { modelSession } from "../../experiments/model-session.ts";
import { storeCalibrated } from "../../lib/compress/quantize/calibrated.ts";
import { type Granularity, granularityFor } from "../../lib/compress/quantize/granularity.ts";
import { quantizeLayerByLayer } from "../../lib/compress/quantize/layer-by-layer.ts";
import { type QuantizationRecipe, widthOf } from "../../lib/compress/quantize/recipe.ts";
import { inTurns } from "../../lib/compress/quantize/steps.ts";
import { tune } from "../../lib/compress/quantize/tune.ts";
import { storeSteps } from "../../lib/compress/quantize/width.ts";
import { decodedWeights } from "../../lib/decoder/decoded-weights.ts";
import { DecoderRunner } from "../../lib/decoder/runner.ts";
import type { Stream } from "../../lib/decoder/stream.ts";
import { type DecoderWeights, weight, weightList } from "../../lib/decoder/weights.ts";
import { createOnnxRuntimeEngine } from "../../lib/engines/onnxruntime/onnxruntime-engine.ts";
import { padIntoBatches, scoredRange, sequencesFromText, type TokenSequence } from "../../lib/eval/sequences.ts";
import { float32Data } from "../../lib/mil/tensor.ts";
import { elementCount } from "../../lib/mil/types.ts";
import { weightSizeBytes } from "../../lib/weights/decode.ts";
import type { CompressedWeight } from "../../lib/weights/weight.ts";

/** One recipe for all, or the mixture of palettes that is chosen under a budget of bits a weight. */
type Scheme =
  | {
      readonly recipe: QuantizationRecipe;
      readonly layout?: Partial<Granularity>;
      /** Absent: every weight to its nearest code. */
      readonly calibrated?: boolean;
      /** Passes over the calibrating windows. */
      readonly tune?: number;
    }
  | { readonly maxBits: number };

const schemes: Record<string, Scheme> = {
  "int8 per row": { recipe: { default: "affine8" } },
  "int4 groups of 32, rounded": { recipe: { default: "affine4" }, layout: { groupSize: 32, keepExtremes: true } },
  "int4 groups of 32, clip search": { recipe: { default: "affine4" }, layout: { groupSize: 32 } },
  "int4 groups of 32, GPTQ": { recipe: { default: "affine4" }, layout: { groupSize: 32 }, calibrated: true },
  "int4 groups of 32, GPTQ and tuned": {
    recipe: { default: "affine4" },
    layout: { groupSize: 32 },
    calibrated: true,
    tune: 1,
  },
  "palette 4": { recipe: { default: "palette4" } },
  "palette 4, GPTQ": { recipe: { default: "palette4" }, calibrated: true },
  "palette 4, GPTQ and tuned": { recipe: { default: "palette4" }, calibrated: true, tune: 1 },
  "palettes, at most 4.5 bits": { maxBits: 4.5 },
  "palettes, at most 4 bits": { maxBits: 4 },
  "palettes, at most 3.25 bits": { maxBits: 3.25 },
};

const { values } = parseArgs({
  options: {
    model: { type: "string" },
    text: { type: "string" },
    schemes: { type: "string" },
    windows: { type: "string", default: "16" },
    calibration: { type: "string", default: "32" },
    peers: { type: "string" },
  },
});
if (values.model === undefined || values.text === undefined) throw new Error("--model and --text are needed");
const CONTEXT = 512;
/** About how many characters a window takes at most, so that only the ends of a text are tokenized. */
const CHARACTERS = 5000;

const engine = await createOnnxRuntimeEngine({ threads: 1 });
const models = modelSession(engine, async (reference) => reference);
const model = await models.open(values.model);
const text = readFileSync(values.text, "utf8");
const [calibrationCount, reportCount] = [Number(values.calibration), Number(values.windows)];
const windowsOf = (part: string): TokenSequence[] => sequencesFromText(part, model.tokenizer, { context: CONTEXT });
const calibration = windowsOf(text.slice(0, calibrationCount * CHARACTERS)).slice(0, calibrationCount);
// The last window of a text is short.
const report = windowsOf(text.slice(-(reportCount + 2) * CHARACTERS)).slice(-reportCount - 1, -1);
const batches = padIntoBatches(report);
const predicted = report.reduce((n, s) => n + s.ids.length - s.scoredFrom, 0);

const cpuSeconds = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};

/** Of the untouched model, leaving its last layer. */
const baseStreams: Stream[] = [];
for (const { ids, shape } of batches) baseStreams.push(await model.runner.blocks(await model.runner.embed(ids, shape)));

interface Outcome {
  readonly scheme: string;
  readonly bits: number;
  readonly nll: number;
  readonly kl: number;
  readonly seconds: number;
}

/** Means over the predicted tokens, in nats. */
async function measure(runner: DecoderRunner): Promise<{ nll: number; kl: number }> {
  let [nll, kl] = [0, 0];
  for (const [b, batch] of batches.entries()) {
    const x = await runner.blocks(await runner.embed(batch.ids, batch.shape));
    const base = baseStreams[b] as Stream;
    const found = await runner.compare(x, batch.targets, (from, rows) => model.runner.logits(base, from, rows));
    for (const [row, index] of batch.rows.entries()) {
      const { from, to } = scoredRange(report[index] as TokenSequence, row, batch.shape.length);
      for (let i = from; i < to; i++) {
        nll += (found.nll[i] as number) / predicted;
        kl += (found.kl[i] as number) / predicted;
      }
    }
  }
  return { nll, kl };
}

async function storeAll(scheme: Exclude<Scheme, { maxBits: number }>): Promise<Map<string, CompressedWeight>> {
  const { recipe, layout, calibrated, tune: passes } = scheme;
  const wanted: Granularity = {
    rowsPerTable: 16,
    groupSize: null,
    asymmetric: false,
    keepExtremes: false,
    ...layout,
  };
  const entries = weightList(model.weights.arch).filter((w) => w.shape.length > 1);
  const plan = new Map(entries.map((entry) => [entry.name, widthOf(recipe, entry, "fp16")]));
  if (calibrated) {
    const stored = await quantizeLayerByLayer(
      engine,
      model.weights,
      calibration,
      async (entry, given, inputs, product) => {
        const width = plan.get(entry.name) ?? "fp16";
        const { granularity } = granularityFor(entry.shape, wanted);
        return inputs
          ? storeCalibrated(width, given, entry.shape, granularity, inputs, product)
          : inTurns(storeSteps(width, given, entry.shape, granularity));
      },
    );
    return passes ? tune(engine, model.weights, stored, model.runner, calibration, { passes }) : stored;
  }
  const stored = new Map<string, CompressedWeight>();
  for (const { name, shape } of entries) {
    const given = float32Data(weight(model.weights, name));
    const { granularity } = granularityFor(shape, wanted);
    stored.set(name, await inTurns(storeSteps(plan.get(name) ?? "fp16", given, shape, granularity)));
  }
  return stored;
}

interface Stored {
  readonly weights: DecoderWeights;
  readonly bits: number;
}

async function storedAs(scheme: Scheme): Promise<Stored> {
  if ("maxBits" in scheme) return mixtureUnder(scheme.maxBits);
  const stored = await storeAll(scheme);
  let [sizeBytes, elements] = [0, 0];
  for (const { name, shape } of weightList(model.weights.arch)) {
    const w = stored.get(name);
    elements += elementCount(shape);
    sizeBytes += w ? weightSizeBytes(w) : 2 * elementCount(shape);
  }
  return { weights: decodedWeights(model.weights, stored), bits: (8 * sizeBytes) / elements };
}

/** Kept, so that costs are measured once for all budgets. */
const store = memoryStore();
const arrays = memoryArrays();

async function mixtureUnder(maxBits: number): Promise<Stored> {
  const folder = mkdtempSync(join(tmpdir(), "espalier-quantization-"));
  const [out, given] = [join(folder, "made"), join(folder, "calibration.txt")];
  writeFileSync(given, text.slice(0, calibrationCount * CHARACTERS));
  const config = quantizeConfig.parse({
    model: values.model,
    out,
    maxBits,
    text: given,
    context: CONTEXT,
    limit: calibrationCount,
  });
  const log = (line: string): void => void process.stderr.write(`${line}\n`);
  const { bitsPerWeight } = await runExperiment(quantize, config, {
    engine,
    models,
    store,
    arrays,
    clock: { nowMs: () => 0 },
    log,
  });
  const { weights } = await models.open(out);
  rmSync(folder, { recursive: true });
  return { weights, bits: bitsPerWeight };
}

async function outcomeOf(name: string, scheme: Scheme): Promise<Outcome> {
  const started = cpuSeconds();
  const { weights, bits } = await storedAs(scheme);
  const seconds = cpuSeconds() - started;
  const runner = new DecoderRunner(engine, weights, model.runner.programs);
  return { scheme: name, bits, ...(await measure(runner)), seconds };
}

function peers(python: string): Outcome[] {
  const folder = mkdtempSync(join(tmpdir(), "espalier-quantization-"));
  const ids = (sequences: readonly TokenSequence[]): number[][] => sequences.map((s) => [...s.ids]);
  const file = join(folder, "windows.json");
  writeFileSync(file, JSON.stringify({ calibration: ids(calibration), report: ids(report) }));
  const script = fileURLToPath(new URL("quantization_peer.py", import.meta.url));
  const done = spawnSync(python, [script, values.model ?? "", file], { encoding: "utf8", maxBuffer: 2 ** 26 });
  rmSync(folder, { recursive: true });
  if (done.status !== 0) throw new Error(`the peer failed: ${done.stderr.slice(-2000)}`);
  return JSON.parse(done.stdout.trim().split("\n").at(-1) ?? "[]");
}

let baseNll = 0;
for (const [b, batch] of batches.entries()) {
  const nll = await model.runner.nll(baseStreams[b] as Stream, batch.targets);
  for (const [row, index] of batch.rows.entries()) {
    const { from, to } = scoredRange(report[index] as TokenSequence, row, batch.shape.length);
    for (let i = from; i < to; i++) baseNll += (nll[i] as number) / predicted;
  }
}
const wantedSchemes = values.schemes?.split(",").map((s) => s.trim().replaceAll(";", ",")) ?? Object.keys(schemes);
const outcomes: Outcome[] = [];
const row = (o: Outcome): string[] => [
  o.scheme,
  fixed(o.bits, 3),
  fixed(Math.exp(o.nll - baseNll), 4),
  fixed(o.kl, 4),
  fixed(o.seconds, 1),
];
for (const name of wantedSchemes) {
  const scheme = schemes[name];
  if (!scheme) throw new Error(`there is no scheme "${name}"; there are ${Object.keys(schemes).join("; ")}`);
  outcomes.push(await outcomeOf(name, scheme));
  process.stderr.write(`${row(outcomes.at(-1) as Outcome).join(" | ")}\n`);
}
if (values.peers !== undefined) outcomes.push(...peers(values.peers));
process.stdout.write(
  `${report.length} windows of ${CONTEXT}, ${predicted} tokens; calibrated on ${calibration.length} others; base perplexity ${fixed(Math.exp(baseNll), 3)}\n\n` +
    `${table(["scheme", "bits a weight", "× perplexity", "KL", "processor s"], outcomes.map(row))}\n`,
);
