/**
 * @file Distill: train a small model to predict what a large one predicts, and so recover the loss
 * from pruning.
 *
 * Loss α · CE + (1 − α) · τ² KL(teacher ‖ student) on training text, AdamW with warm-up and cosine decay. Every so often the
 * divergence on held-out text is measured and the best weights so far are kept; a checkpoint makes a stopped run go on
 * exactly where it was: step s always sees the same text, because what it draws depends on the seed and s alone. With
 * `teacherTop` the teacher's k most likely tokens are kept on disk by sequence, so that text that comes again costs no teacher.
 */
import { rm, stat } from "node:fs/promises";
import { basename } from "node:path";
import { z } from "zod";
import { throwIfCancelled } from "../../../lib/cancel.ts";
import { madeFrom } from "../../../lib/checkpoint/made-from.ts";
import type { OriginRecord } from "../../../lib/checkpoint/origin.ts";
import { writeCheckpoint } from "../../../lib/checkpoint/write-checkpoint.ts";
import { isTrained } from "../../../lib/decoder/architecture.ts";
import { DecoderRunner } from "../../../lib/decoder/runner.ts";
import type { SequenceShape } from "../../../lib/decoder/sequence-programs.ts";
import { type DecoderWeights, decoderWeights, type WeightEntry, weightList } from "../../../lib/decoder/weights.ts";
import { EspalierError } from "../../../lib/errors.ts";
import { BesideBase } from "../../../lib/eval/beside-base.ts";
import { sequencesFromText, splitAtSeparator, tokensOf } from "../../../lib/eval/sequences.ts";
import { summarizeLosses } from "../../../lib/eval/summary.ts";
import { f32, float32Data } from "../../../lib/mil/tensor.ts";
import { createRng } from "../../../lib/random.ts";
import { newAdamWState } from "../../../lib/train/adamw.ts";
import { LowRank } from "../../../lib/train/low-rank.ts";
import { readTrainingState, writeTrainingState } from "../../../lib/train/state-file.ts";
import { teacherFiles } from "../../../lib/train/teacher-files.ts";
import { joinTopTokens, type TopTokens, topTokens } from "../../../lib/train/top-tokens.ts";
import { type Batch, Trainer } from "../../../lib/train/trainer.ts";
import type { CheckContext, Maker, MakerContext, OutputFolder } from "../../definition.ts";
import type { OpenModel } from "../../model-session.ts";
import { originalOf, originRecordFor } from "../../original.ts";
import { outputConfig } from "../../output.ts";
import { requireSameTokens } from "../../same-tokens.ts";
import { bosConfig } from "../../text.ts";
import { readText } from "../../text-file.ts";

export const distillConfig = z.object({
  model: z
    .string()
    .describe("The teacher: a checkpoint folder, a .gguf file or the id of a known model")
    .meta({ role: "model" }),
  student: z.string().describe("The model to train, usually the pruned teacher").meta({ role: "model" }),
  text: z.string().describe("Training text").meta({ role: "text" }),
  heldOut: z
    .string()
    .describe("Text to measure the divergence on while training; must not be part of the training text")
    .meta({ role: "text" }),
  separator: z
    .string()
    .optional()
    .meta({ escapes: true })
    .describe("String that separates documents; default: windows over the whole text"),
  ...bosConfig,
  ...outputConfig("Folder to write the distilled checkpoint to"),
  steps: z.number().int().positive().default(300).describe("Optimizer steps"),
  batch: z.number().int().positive().default(8).describe("Sequences per step"),
  accumulate: z
    .number()
    .int()
    .positive()
    .default(1)
    .describe("Batches whose gradients are added for one step: a large step with the memory of a small one"),
  context: z.number().int().min(8).default(128).describe("Tokens per sequence"),
  learningRate: z.number().positive().default(1e-3).describe("Learning rate at the peak of the schedule"),
  warmup: z.number().min(0).max(1).default(0.05).describe("Share of the steps in which the learning rate rises"),
  temperature: z.number().positive().default(1).describe("Temperature τ: both models' logits are divided by it"),
  crossEntropy: z
    .number()
    .min(0)
    .max(1)
    .default(0)
    .describe("Share of the loss that comes from the text itself; the rest comes from the teacher"),
  teacherTop: z
    .number()
    .int()
    .positive()
    .optional()
    .describe(
      "Store only this many of the teacher's most likely tokens, on disk (64 is enough); default: all its logits, computed again each time",
    ),
  loraRank: z
    .number()
    .int()
    .positive()
    .optional()
    .describe("Train low-rank adapters of this rank and merge them when writing; default: train every weight"),
  loraScale: z.number().positive().default(2).describe("With --lora-rank: factor on the product of the adapters"),
  freezeEmbedding: z
    .boolean()
    .default(false)
    .describe("Do not train the embedding and the output head: less memory and work when the vocabulary is large"),
  evaluateEvery: z
    .number()
    .int()
    .positive()
    .default(50)
    .describe("Steps between held-out measurements and checkpoints"),
  heldOutLimit: z.number().int().positive().default(48).describe("Held-out sequences at most"),
  seed: z.number().int().default(0).describe("Decides the order of the text"),
});
export type DistillConfig = z.infer<typeof distillConfig>;

const curvePoint = z.object({
  step: z.number(),
  /** Training loss of the last step; null before the first. */
  loss: z.number().nullable(),
  heldOutKl: z.number(),
  heldOutKlError: z.number().nullable(),
  heldOutNll: z.number(),
});
export type CurvePoint = z.infer<typeof curvePoint>;
const progressSchema = z.object({ curve: z.array(curvePoint), bestStep: z.number() });

export interface DistillSummary {
  readonly out: string;
  readonly curve: CurvePoint[];
  readonly bestStep: number;
  readonly tokens: number;
  readonly resumedFrom: number | null;
  /** The student's original, and its current loss against that. */
  readonly origin: OriginRecord;
}

export const distill: Maker<"distill", DistillConfig, DistillSummary> = {
  kind: "distill",
  makes: "model",
  doing: "distilling",
  version: 2,
  title: "Train a small model to match a large one",
  step: { name: "Distill", what: "Win back the lost accuracy." },
  figure: "curves",
  config: distillConfig,

  check: async (config, context) => requireOneVocabulary(config, context),

  make: train,

  headline: (s) => ({
    KL: Math.min(...s.curve.map((p) => p.heldOutKl)),
    "KL ±": s.curve.find((p) => p.step === s.bestStep)?.heldOutKlError,
    "KL before": s.curve[0]?.heldOutKl,
    "best step": s.bestStep,
    tokens: s.tokens,
  }),
};

async function requireOneVocabulary(config: DistillConfig, { modelShape }: CheckContext): Promise<void> {
  const [teacher, student] = [await modelShape(config.model), await modelShape(config.student)];
  if (!teacher || !student || teacher.vocab === student.vocab) return;
  throw new EspalierError(
    "input/invalid",
    `the teacher has ${teacher.vocab} tokens, the --student has ${student.vocab}`,
    { hint: "Distillation needs two models with the same vocabulary." },
  );
}

async function train(config: DistillConfig, context: MakerContext, folder: OutputFolder): Promise<DistillSummary> {
  const teacher = await context.models.open(config.model);
  const origin = await context.models.open(config.student);
  requireSameTokens(teacher, origin);
  if (!folder.replace && (await stat(folder.path).catch(() => null))) {
    throw new EspalierError("store/exists", `${folder.path} exists already`, {
      hint: "Choose another --out, or add --replace.",
    });
  }
  const student = trainedCopy(origin.weights, config);
  const context_ = Math.min(config.context, student.arch.maxPositions);
  const shape = { batch: config.batch, length: context_ };
  const source = await batches(config, origin, context_);
  const lora =
    config.loraRank === undefined
      ? undefined
      : new LowRank(context.engine, origin.weights, student, {
          rank: config.loraRank,
          scale: config.loraScale,
          rng: createRng(config.seed, "adapters"),
        });
  const trained = new Map(
    lora
      ? [...lora.pairs].flatMap(([name, { a, b }]) => [[`${name}.a`, a] as const, [`${name}.b`, b] as const])
      : [...student.tensors].filter(([name, t]) => t !== origin.weights.tensors.get(name)),
  );
  const heldOut = sequencesFromText(await readText(config.heldOut), origin.tokenizer, {
    separator: config.separator,
    limit: config.heldOutLimit,
    bos: config.bos,
    context: Math.min(256, student.arch.maxPositions),
  });

  const name = context.address.slice(0, 16);
  const statePath = `${folder.path}.training-${name}.safetensors`;
  const bestPath = `${folder.path}.best-${name}.safetensors`;
  const teacherFolder = `${folder.path}.teacher-${name}`;
  const teach = teacherFor(config, teacher, shape, teacherFolder);

  let state = newAdamWState();
  let progress: z.infer<typeof progressSchema> = { curve: [], bestStep: 0 };
  let resumedFrom: number | null = null;
  await context.checkpoints?.restore(statePath);
  await context.checkpoints?.restore(bestPath);
  if (await stat(statePath).catch(() => null)) {
    const found = await readTrainingState(statePath, trained, progressSchema);
    await lora?.merge();
    ({ state } = found);
    progress = found.extra;
    resumedFrom = state.step;
    context.log?.(`resuming at step ${state.step} of ${config.steps}`);
  }

  const share = 1 - config.crossEntropy;
  const trainer = await Trainer.create(context.engine, student, {
    shape,
    state,
    objective: { crossEntropy: config.crossEntropy, distillation: share, temperature: config.temperature },
    schedule: {
      peak: config.learningRate,
      warmupSteps: Math.max(1, Math.round(config.warmup * config.steps)),
      totalSteps: config.steps,
      finalShare: 0.02,
    },
    adamW: { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.01, clipNorm: 1 },
    adapters: lora,
    frozenEmbedding: config.freezeEmbedding,
  });
  const studentRunner = new DecoderRunner(context.engine, student);
  const base = await BesideBase.compute(teacher.runner, heldOut, { signal: context.signal });

  const checkpoint = async (): Promise<void> => {
    await writeTrainingState(statePath, trained, state, progress);
    await context.checkpoints?.saved(statePath);
  };
  const measure = async (step: number, loss: number | null): Promise<void> => {
    const summary = summarizeLosses(await base.compare(studentRunner, { signal: context.signal }));
    const kl = summary.kl ?? { mean: Number.NaN, standardError: Number.NaN };
    const error = Number.isFinite(kl.standardError) ? kl.standardError : null;
    const best = Math.min(...progress.curve.map((p) => p.heldOutKl), Number.POSITIVE_INFINITY);
    progress.curve.push({ step, loss, heldOutKl: kl.mean, heldOutKlError: error, heldOutNll: summary.nllPerToken });
    if (kl.mean < best) {
      progress.bestStep = step;
      await writeTrainingState(bestPath, trained, newAdamWState(), null);
      await context.checkpoints?.saved(bestPath);
    }
    await checkpoint();
    context.metric?.("held-out KL", step, kl.mean);
    if (error !== null) context.metric?.("held-out KL ±", step, error);
    context.metric?.("held-out loss", step, summary.nllPerToken);
    context.log?.(
      `step ${step}: held-out KL ${kl.mean.toFixed(4)} nats per token${loss === null ? "" : `, loss ${loss.toFixed(4)}`}`,
    );
  };

  try {
    if (progress.curve.length === 0) await measure(0, null);
    while (state.step < config.steps) {
      if (context.signal?.aborted) await checkpoint();
      throwIfCancelled(context.signal);
      const taught: Batch[] = [];
      for (const batch of source(state.step + 1)) taught.push({ ...batch, ...(await teach(batch)) });
      const step = await trainer.step(taught);
      context.onShare(step.step / config.steps);
      context.metric?.("loss", step.step, step.loss);
      context.metric?.("gradient norm", step.step, step.gradientNorm);
      context.metric?.("learning rate", step.step, step.learningRate);
      if (step.step % config.evaluateEvery === 0 || step.step === config.steps) await measure(step.step, step.loss);
    }
  } finally {
    await trainer.dispose();
    await studentRunner.dispose();
  }

  await readTrainingState(bestPath, trained, z.null());
  await lora?.merge();
  await lora?.dispose();
  const tokens = tokensOf(heldOut);
  const { model: teacherHash, student: studentHash, ...settings } = context.decidedBy;
  const decided = { ...settings, teacher: teacherHash, student: studentHash };
  const record = await originRecordFor(
    student,
    await originalOf(origin, context, { known: [teacher] }),
    {
      sequences: heldOut,
      protocol: `${basename(config.heldOut)}: the held-out sequences of the distillation, ${tokens} tokens`,
    },
    context,
  );
  await writeCheckpoint(folder.path, {
    architecture: student.arch,
    config: origin.checkpoint.config,
    copyFrom: origin.checkpoint,
    replace: folder.replace,
    ...madeFrom(origin.checkpoint, origin.weights, student),
    provenance: { origin: record },
    extraFiles: { "distillation.json": `${JSON.stringify({ config: decided, ...progress }, null, 2)}\n` },
  });
  await rm(statePath, { force: true });
  await rm(bestPath, { force: true });
  await rm(teacherFolder, { recursive: true, force: true });
  return {
    out: folder.path,
    ...progress,
    tokens: config.steps * config.accumulate * config.batch * context_,
    resumedFrom,
    origin: record,
  };
}

/** Copies of the tensors that training changes; the others are shared. */
function trainedCopy(weights: DecoderWeights, config: DistillConfig): DecoderWeights {
  const changes = ({ layer, role, shape }: WeightEntry): boolean =>
    config.loraRank === undefined
      ? isTrained(role) && !(config.freezeEmbedding && (role === "embedding" || role === "head"))
      : layer !== null && shape.length === 2 && isTrained(role);
  const changed = new Set(weightList(weights.arch).flatMap((w) => (changes(w) ? [w.name] : [])));
  return decoderWeights(
    weights.arch,
    new Map(
      [...weights.tensors].map(([name, t]) => [name, changed.has(name) ? f32(t.shape, float32Data(t).slice()) : t]),
    ),
    weights.tables,
  );
}

/** What the teacher says of a batch: its logits, or its most likely tokens, from disk where they lie there. */
function teacherFor(
  config: DistillConfig,
  teacher: OpenModel,
  shape: SequenceShape,
  folder: string,
): (batch: Batch) => Promise<Pick<Batch, "teacherLogits" | "teacherTop">> {
  const { runner } = teacher;
  const { length } = shape;
  const streams = async (ids: Int32Array, batch: number) => runner.blocks(await runner.embed(ids, { batch, length }));
  if (config.teacherTop === undefined)
    return async ({ ids }) => ({ teacherLogits: await runner.logits(await streams(ids, shape.batch)) });
  const { vocab } = teacher.weights.arch;
  const top = Math.min(config.teacherTop, vocab);
  const files = teacherFiles(folder, `${teacher.hash} τ ${config.temperature} k ${top}`, top);
  const ask = async (missing: readonly Int32Array[]): Promise<TopTokens[]> => {
    const ids = new Int32Array(missing.length * length);
    for (const [i, own] of missing.entries()) ids.set(own, i * length);
    const stream = await streams(ids, missing.length);
    const said: TopTokens[] = [];
    // A sequence at a time, so that logits of a whole batch never lie side by side.
    for (const i of missing.keys())
      said.push(
        topTokens(float32Data(await runner.logits(stream, i * length, length)), vocab, top, config.temperature),
      );
    return said;
  };
  return async ({ ids }) => {
    const sequences = Array.from({ length: shape.batch }, (_, i) => ids.subarray(i * length, (i + 1) * length));
    return { teacherTop: joinTopTokens(await files.of(sequences, ask)) };
  };
}

/**
 * The batches of a step, from the seed and the step alone: documents at random, or windows of one text, every one once before
 * any comes again.
 */
async function batches(config: DistillConfig, model: OpenModel, length: number): Promise<(step: number) => Batch[]> {
  const text = await readText(config.text);
  const { tokenizer } = model;
  const pieces = config.separator === undefined ? [text] : splitAtSeparator(text, config.separator);
  const { begin, end: added } = tokenizer.addedTokens(config.bos ?? "auto");
  // What ends a text stands between documents of one stream even where the tokenizer itself adds none.
  const end = added.length > 0 ? added : tokenizer.eosIds.slice(0, 1);
  const starts: number[] = [];
  const stream: number[] = [];
  for (const piece of pieces) {
    starts.push(stream.length);
    for (const id of [...begin, ...tokenizer.encode(piece), ...end]) stream.push(id);
  }
  if (stream.length < length + 1) {
    throw new EspalierError(
      "input/empty",
      `the training text has ${stream.length} tokens, one sequence needs ${length + 1}`,
      { hint: "Give more text, or a smaller --context." },
    );
  }
  const tokens = Int32Array.from(stream);
  const starting =
    starts.length > 1
      ? documentStarts(
          config.seed,
          starts.filter((s) => s + length + 1 <= stream.length),
        )
      : windowStarts(config.seed, Math.floor((stream.length - 1) / length), length);
  const each = config.batch * config.accumulate;
  return (step) => {
    const start = starting(step, each);
    return Array.from({ length: config.accumulate }, () => {
      const ids = new Int32Array(config.batch * length);
      const targets = new Int32Array(config.batch * length);
      for (let row = 0; row < config.batch; row++) {
        const from = start();
        ids.set(tokens.subarray(from, from + length), row * length);
        targets.set(tokens.subarray(from + 1, from + 1 + length), row * length);
      }
      return { ids, targets, tokenWeights: new Float32Array(ids.length).fill(1 / (each * length)) };
    });
  };
}

/** The first token of one sequence after the other of a step that has `each` of them. */
type Starting = (step: number, each: number) => () => number;

const documentStarts =
  (seed: number, legal: readonly number[]): Starting =>
  (step) => {
    const rng = createRng(seed, `distill step ${step}`);
    return () => legal[rng.integer(legal.length)] ?? 0;
  };

function windowStarts(seed: number, windows: number, length: number): Starting {
  const orders = new Map<number, number[]>();
  const orderOf = (epoch: number): number[] => {
    const order =
      orders.get(epoch) ??
      createRng(seed, `distill epoch ${epoch}`).shuffle(Array.from({ length: windows }, (_, i) => i));
    orders.set(epoch, order);
    return order;
  };
  return (step, each) => {
    let at = (step - 1) * each;
    return () => {
      const window = orderOf(Math.floor(at / windows))[at % windows] ?? 0;
      at++;
      return window * length;
    };
  };
}
