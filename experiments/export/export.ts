/**
 * @file Export: write a package, read it back, run it here, compare it with the model it came from.
 *
 * A package is called ready only when it was read and type-checked by our own reader, executed by an engine with fp16 rounding
 * after every operation, said the same greedy text as the fp32 model with the same compressed weights, and its logits lay
 * within fp16's reach, and that no lint rule calls an error. The card records all of it, with modelled speeds. Checked here is
 * everything but the device.
 */
import { cp, mkdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { bitsPerWeight } from "../../lib/compress/decode.ts";
import type { CompressedWeight } from "../../lib/compress/weight.ts";
import { argmax, generate, step } from "../../lib/decoder/generate.ts";
import { packageModel } from "../../lib/decoder/package-model.ts";
import { packageProgram } from "../../lib/decoder/package-program.ts";
import { stepModel } from "../../lib/decoder/step-model.ts";
import { parameterCount, weightList } from "../../lib/decoder/weights.ts";
import { EspalierError } from "../../lib/errors.ts";
import { throwIfCancelled } from "../../lib/eval/perplexity.ts";
import { sequencesFromText, type TokenSequence } from "../../lib/eval/sequences.ts";
import { withOutputDirectory } from "../../lib/files/atomic.ts";
import { roundToFloat16 } from "../../lib/float16.ts";
import { type PackageSummary, summarizePackage } from "../../lib/formats/coreml/inspect.ts";
import { readPackage } from "../../lib/formats/coreml/package-reader.ts";
import { writePackage } from "../../lib/formats/coreml/package-writer.ts";
import { elementCount } from "../../lib/mil/types.ts";
import type { Experiment, ExperimentContext, Unit } from "../definition.ts";
import { type OpenModel, readText } from "../models.ts";
import { deviceChecks, deviceChecksShape } from "./device-checks.ts";

export const targets = ["coreml"] as const;

export const exportConfig = z.object({
  model: z.string().describe("A checkpoint folder or the id of a known model").meta({ role: "model" }),
  to: z.enum(targets).default("coreml").describe("What to write"),
  out: z.string().describe("Folder for the package, its card and the tokenizer").meta({ role: "output" }),
  context: z
    .number()
    .int()
    .min(16)
    .optional()
    .describe("Positions the cache holds; default: what the model allows, at most 512"),
  prefill: z.number().int().min(2).default(32).describe("Positions a prefill call takes"),
  text: z
    .string()
    .optional()
    .describe("Held-out text for the comparison; default: the model's own greedy text")
    .meta({ role: "text" }),
  separator: z.string().optional().describe("Documents in the text are split at this string"),
  checkTokens: z.number().int().min(16).default(64).describe("Tokens of greedy text that must be identical"),
  name: z
    .string()
    .regex(/^[\w-]+$/)
    .default("Model")
    .describe("Name of the package"),
  replace: z.boolean().default(false).describe("Overwrite what is at --out").meta({ role: "replace" }),
});
export type ExportConfig = z.infer<typeof exportConfig>;

const cardSchema = z.object({
  ready: z.boolean(),
  package: z.string(),
  sizeBytes: z.number(),
  weightBytes: z.number(),
  parameters: z.number(),
  bitsPerWeight: z.number(),
  fp16Bytes: z.number(),
  timesSmallerThanFp16: z.number(),
  functions: z.array(z.string()),
  context: z.number(),
  parity: z.object({
    positions: z.number(),
    greedyTokens: z.number(),
    greedyIdentical: z.boolean(),
    greedyFirstDifference: z.number().nullable(),
    maxLogitDifference: z.number(),
    largestLogit: z.number(),
    meanKl: z.number(),
    topAgreement: z.number(),
    prefillMaxDifference: z.number().nullable(),
  }),
  ...deviceChecksShape,
  sample: z.string(),
  provenance: z.object({ model: z.string(), modelHash: z.string(), engine: z.string(), espalier: z.string() }),
  notChecked: z.array(z.string()),
});
export type ExportCard = z.infer<typeof cardSchema>;

const result = z.object({ card: cardSchema });

export interface ExportSummary {
  readonly card: ExportCard;
  readonly out: string;
}

/** Logits may differ by fp16 rounding: this share of the largest. */
const LOGIT_TOLERANCE = 0.02;

export const exportExperiment: Experiment<ExportConfig, Unit, z.infer<typeof result>, ExportSummary> = {
  kind: "export",
  version: 1,
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
  const positions = Math.min(config.context ?? 512, arch.maxPositions);
  const prefillLength = config.prefill < positions ? config.prefill : null;
  const weights = await shippedWeights(model);
  const program = packageProgram(arch, weights, { context: positions, prefillLength });
  onShare(0.1);
  return withOutputDirectory(
    config.out,
    async (folder) => {
      const file = `${config.name}.mlpackage`;
      // Built and checked under a name that says it is not ready.
      const unchecked = join(folder, "unchecked.mlpackage");
      const written = await writePackage(unchecked, program, {
        shortDescription: `${config.name}: ${arch.layers.length} layers, ${parameterCount(arch)} parameters`,
        author: "Espalier",
        license: "",
        version: "1",
        userDefined: {
          "espalier.model": model.hash,
          "espalier.context": String(positions),
          "espalier.prefill": String(prefillLength ?? 0),
        },
      });
      onShare(0.3);
      const read = await readPackage(unchecked);
      const summary = summarizePackage(read);
      checkWeightsShipped(summary, weights);
      onShare(0.4);
      const parity = await compare(config, context, model, read.program, positions, (share) =>
        onShare(0.4 + 0.55 * share),
      );
      const elements = [...weights.values()].reduce((n, w) => n + elementCount(w.shape), 0);
      const fp16Bytes = 2 * elements;
      const checks = await deviceChecks(unchecked, { units: "all", architecture: arch });
      const ready =
        parity.greedyIdentical &&
        parity.maxLogitDifference <= LOGIT_TOLERANCE * parity.largestLogit &&
        checks.lint.counts.errors === 0;
      const { sample, ...numbers } = parity;
      const card: ExportCard = {
        ready,
        package: file,
        sizeBytes: written.sizeBytes,
        weightBytes: written.weightBytes,
        parameters: elements,
        bitsPerWeight:
          [...weights.values()].reduce((n, w) => n + bitsPerWeight(w) * elementCount(w.shape), 0) / elements,
        fp16Bytes,
        timesSmallerThanFp16: fp16Bytes / written.sizeBytes,
        functions: program.functions.map((f) => f.name),
        context: positions,
        parity: numbers,
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
      await rename(unchecked, join(folder, ready ? file : `not-ready-${file}`));
      return card;
    },
    { replace: config.replace },
  );
}

/** The reader must find as many weight elements as were meant to ship. */
function checkWeightsShipped(summary: PackageSummary, weights: ReadonlyMap<string, CompressedWeight>): void {
  const matrices = [...weights.values()]
    .filter((w) => w.shape.length > 1)
    .reduce((n, w) => n + elementCount(w.shape), 0);
  const found = summary.weights.reduce((n, w) => n + w.elements, 0);
  if (found < matrices)
    throw new EspalierError("export/parity", `the package holds ${found} weights, ${matrices} were written`);
}

async function compare(
  config: ExportConfig,
  context: ExperimentContext,
  model: OpenModel,
  program: Awaited<ReturnType<typeof readPackage>>["program"],
  positions: number,
  onShare: (share: number) => void,
): Promise<ExportCard["parity"] & { sample: string }> {
  const { tokenizer } = model;
  // The fp32 reference holds the weights as they ship: codes decoded, the rest rounded to fp16.
  const reference = await stepModel(context.engine, await shippedReference(model), { context: positions });
  const shipped = await packageModel(context.engine, program, "round");
  const text = config.text === undefined ? null : await readText(config.text);
  const sequences: TokenSequence[] = text
    ? sequencesFromText(text, tokenizer, { separator: config.separator, limit: 4, context: Math.min(positions, 96) })
    : [];
  const count = Math.min(config.checkTokens, positions - 1);
  const first = sequences[0];
  const prompt = first ? [...first.ids.slice(0, Math.min(24, first.ids.length))] : tokenizer.encode("", { bos: true });
  const seed = prompt.length > 0 ? prompt : [tokenizer.eosIds[0] ?? 0];
  const tokens = Math.min(count, positions - seed.length);
  const greedy = await generate(reference, seed, { maxTokens: tokens, signal: context.signal });
  onShare(0.3);
  const again = await generate(shipped, seed, { maxTokens: tokens, signal: context.signal });
  onShare(0.6);
  const difference = greedy.findIndex((id, i) => again[i] !== id);

  const compared = sequences.length > 0 ? sequences.map((s) => [...s.ids]) : [[...seed, ...greedy]];
  const totals = { positions: 0, kl: 0, agreed: 0, worst: 0, largest: 0 };
  for (const ids of compared) {
    const [a, b] = [reference.makeState(), shipped.makeState()];
    for (const [i, id] of ids.entries()) {
      throwIfCancelled(context.signal);
      const left = await step(reference, a, reference.decode, [id], i);
      const right = await step(shipped, b, shipped.decode, [id], i);
      accumulate(totals, left, right);
    }
    a.dispose();
    b.dispose();
  }
  onShare(0.9);
  return {
    positions: totals.positions,
    greedyTokens: tokens,
    greedyIdentical: difference < 0 && greedy.length === again.length,
    greedyFirstDifference: difference < 0 ? null : difference,
    maxLogitDifference: totals.worst,
    largestLogit: totals.largest,
    meanKl: totals.kl / totals.positions,
    topAgreement: totals.agreed / totals.positions,
    prefillMaxDifference: await prefillDifference(shipped, compared[0] ?? seed),
    sample: tokenizer.decode(greedy),
  };
}

async function shippedReference(model: OpenModel): Promise<OpenModel["weights"]> {
  const { decodeWeight } = await import("../../lib/compress/decode.ts");
  const { inMemoryWeights } = await import("../../lib/decoder/weights.ts");
  const { f32 } = await import("../../lib/mil/tensor.ts");
  const tensors = new Map([...(await shippedWeights(model))].map(([name, w]) => [name, f32(w.shape, decodeWeight(w))]));
  return inMemoryWeights(model.weights.arch, tensors);
}

function accumulate(
  totals: { positions: number; kl: number; agreed: number; worst: number; largest: number },
  a: Float32Array,
  b: Float32Array,
): void {
  const logSum = (z: Float32Array): number => {
    const top = z[argmax(z)] as number;
    let sum = 0;
    for (const v of z) sum += Math.exp(v - top);
    return top + Math.log(sum);
  };
  const [la, lb] = [logSum(a), logSum(b)];
  for (let v = 0; v < a.length; v++) {
    const [x, y] = [a[v] as number, b[v] as number];
    totals.worst = Math.max(totals.worst, Math.abs(x - y));
    totals.largest = Math.max(totals.largest, Math.abs(x));
    totals.kl += Math.exp(x - la) * (x - la - (y - lb));
  }
  totals.positions++;
  if (argmax(a) === argmax(b)) totals.agreed++;
}

/** The largest difference between a prefill chunk's logits and the same positions decoded one by one; null without prefill. */
async function prefillDifference(
  model: Awaited<ReturnType<typeof packageModel>>,
  ids: readonly number[],
): Promise<number | null> {
  const { prefill } = model;
  if (!prefill || ids.length < prefill.length) return null;
  const chunk = ids.slice(0, prefill.length);
  const [a, b] = [model.makeState(), model.makeState()];
  const together = await step(model, a, prefill.executable, chunk, 0);
  let worst = 0;
  for (const [i, id] of chunk.entries()) {
    const one = await step(model, b, model.decode, [id], i);
    for (let v = 0; v < one.length; v++)
      worst = Math.max(worst, Math.abs((one[v] as number) - (together[i * model.vocab + v] as number)));
  }
  a.dispose();
  b.dispose();
  return worst;
}
