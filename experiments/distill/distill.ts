/**
 * @file Distill: teach a small model to say what a large one says, and win back what pruning lost.
 *
 * Loss α · CE + (1 − α) · τ² KL(teacher ‖ student) on training text, AdamW with warm-up and cosine decay. Every so often the
 * divergence on held-out text is measured and the best weights so far are kept; a checkpoint makes a stopped run go on
 * exactly where it was: step s always sees the same text, because what it draws depends on the seed and s alone.
 */
import { createHash } from "node:crypto";
import { rm, stat } from "node:fs/promises";
import { basename } from "node:path";
import { z } from "zod";
import { throwIfCancelled } from "../../lib/cancel.ts";
import { originRecord } from "../../lib/checkpoint/origin.ts";
import { writeCheckpoint } from "../../lib/checkpoint/write-checkpoint.ts";
import { DecoderRunner } from "../../lib/decoder/runner.ts";
import { type DecoderWeights, decoderWeights } from "../../lib/decoder/weights.ts";
import { EspalierError } from "../../lib/errors.ts";
import { sequenceLosses } from "../../lib/eval/perplexity.ts";
import { predictedTokens, sequencesFromText } from "../../lib/eval/sequences.ts";
import { summarizeLosses } from "../../lib/eval/summary.ts";
import { f32, float32Data, type Tensor } from "../../lib/mil/tensor.ts";
import { createRng } from "../../lib/random.ts";
import { newAdamWState } from "../../lib/train/adamw.ts";
import { readTrainingState, writeTrainingState } from "../../lib/train/state-file.ts";
import { type Batch, Trainer } from "../../lib/train/trainer.ts";
import type { Experiment, ExperimentContext, Unit } from "../definition.ts";
import { type OpenModel, readText } from "../models.ts";
import { originalOf, originRecordFor } from "../original.ts";
import { storedType, weightToWrite } from "../prune/prune.ts";

export const distillConfig = z.object({
  model: z.string().describe("The teacher: a checkpoint folder or the id of a known model").meta({ role: "model" }),
  student: z.string().describe("What is taught, usually the pruned teacher").meta({ role: "model" }),
  text: z.string().describe("Training text").meta({ role: "text" }),
  heldOut: z
    .string()
    .describe("Text the divergence is watched on; no part of the training text")
    .meta({ role: "text" }),
  separator: z.string().optional().describe("Documents are split at this string; absent: windows over the whole text"),
  out: z.string().describe("Folder to write the taught checkpoint to").meta({ role: "output" }),
  steps: z.number().int().positive().default(300).describe("Optimizer steps"),
  batch: z.number().int().positive().default(8).describe("Sequences a step"),
  context: z.number().int().min(8).default(128).describe("Tokens a sequence"),
  learningRate: z.number().positive().default(1e-3).describe("Peak of the schedule"),
  warmup: z.number().min(0).max(1).default(0.05).describe("Share of the steps with rising rate"),
  temperature: z.number().positive().default(1).describe("τ, by which both models' logits are divided"),
  crossEntropy: z.number().min(0).max(1).default(0).describe("Share of the loss that comes from the text itself"),
  evaluateEvery: z
    .number()
    .int()
    .positive()
    .default(50)
    .describe("Steps between held-out measurements and checkpoints"),
  heldOutLimit: z.number().int().positive().default(48).describe("Held-out sequences at most"),
  seed: z.number().int().default(0).describe("Decides the order of the text"),
  replace: z.boolean().default(false).describe("Overwrite what is at --out").meta({ role: "replace" }),
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

const result = z.object({
  curve: z.array(curvePoint),
  bestStep: z.number(),
  tokens: z.number(),
  resumedFrom: z.number().nullable(),
  /** What the student was first made from, and what it has lost against that now. */
  origin: originRecord,
});

export interface DistillSummary extends z.infer<typeof result> {
  readonly out: string;
}

export const distill: Experiment<DistillConfig, Unit, z.infer<typeof result>, DistillSummary> = {
  kind: "distill",
  version: 2,
  title: "Teach a small model what a large one says",
  config: distillConfig,
  result,

  async plan(config, context) {
    const [teacher, student] = [await context.models.open(config.model), await context.models.open(config.student)];
    if (teacher.weights.arch.vocab !== student.weights.arch.vocab) {
      throw new EspalierError(
        "input/invalid",
        `teacher and student have ${teacher.weights.arch.vocab} and ${student.weights.arch.vocab} tokens`,
        {
          hint: "Distillation needs two models with one vocabulary.",
        },
      );
    }
    return [{ key: `${teacher.hash} ${student.hash} ${config.out}`, label: "distilling", stored: false }];
  },

  run: (_unit, config, context, onShare) => train(config, context, onShare),

  summarize: async (config, results) => {
    const only = results[0]?.result;
    if (!only) throw new EspalierError("internal/invariant", "internal: distillation has one unit");
    return { ...only, out: config.out };
  },
};

async function train(
  config: DistillConfig,
  context: ExperimentContext,
  onShare: (share: number) => void,
): Promise<z.infer<typeof result>> {
  const teacher = await context.models.open(config.model);
  const origin = await context.models.open(config.student);
  if (!config.replace && (await stat(config.out).catch(() => null))) {
    throw new EspalierError("store/exists", `${config.out} exists already`, {
      hint: "Choose another --out, or say --replace.",
    });
  }
  const student = copyOf(origin.weights);
  const context_ = Math.min(config.context, student.arch.maxPositions);
  const shape = { batch: config.batch, length: context_ };
  const source = await batches(config, origin, context_);
  const heldOut = sequencesFromText(await readText(config.heldOut), origin.tokenizer, {
    separator: config.separator,
    limit: config.heldOutLimit,
    context: Math.min(256, student.arch.maxPositions),
  });

  const { out: _out, replace: _replace, model: _model, student: _student, ...settings } = config;
  // By content: the same text may lie elsewhere when the run goes on on another machine.
  const hashOf = async (path: string): Promise<string> =>
    createHash("sha256")
      .update(await readText(path))
      .digest("hex");
  const identity = {
    ...settings,
    teacher: teacher.hash,
    student: origin.hash,
    text: await hashOf(config.text),
    heldOut: await hashOf(config.heldOut),
  };
  const name = createHash("sha256").update(JSON.stringify(identity)).digest("hex").slice(0, 16);
  const statePath = `${config.out}.training-${name}.safetensors`;
  const bestPath = `${config.out}.best-${name}.safetensors`;

  let state = newAdamWState();
  let progress: z.infer<typeof progressSchema> = { curve: [], bestStep: 0 };
  let resumedFrom: number | null = null;
  await context.checkpoints?.restore(statePath);
  await context.checkpoints?.restore(bestPath);
  if (await stat(statePath).catch(() => null)) {
    const found = await readTrainingState(statePath, student, progressSchema);
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
  });
  const studentRunner = new DecoderRunner(context.engine, student);

  const checkpoint = async (): Promise<void> => {
    await writeTrainingState(statePath, student, state, progress);
    await context.checkpoints?.saved(statePath);
  };
  const measure = async (step: number, loss: number | null): Promise<void> => {
    const summary = summarizeLosses(
      await sequenceLosses(studentRunner, heldOut, { base: teacher.runner, signal: context.signal }),
    );
    const kl = summary.kl ?? { mean: Number.NaN, standardError: Number.NaN };
    const error = Number.isFinite(kl.standardError) ? kl.standardError : null;
    const best = Math.min(...progress.curve.map((p) => p.heldOutKl), Number.POSITIVE_INFINITY);
    progress.curve.push({ step, loss, heldOutKl: kl.mean, heldOutKlError: error, heldOutNll: summary.nllPerToken });
    if (kl.mean < best) {
      progress.bestStep = step;
      await writeTrainingState(bestPath, student, newAdamWState(), null);
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
      const batch = source(state.step + 1);
      const step = await trainer.step({ ...batch, teacherLogits: await teacherLogits(teacher, batch, shape) });
      onShare(step.step / config.steps);
      context.metric?.("loss", step.step, step.loss);
      context.metric?.("gradient norm", step.step, step.gradientNorm);
      context.metric?.("learning rate", step.step, step.learningRate);
      if (step.step % config.evaluateEvery === 0 || step.step === config.steps) await measure(step.step, step.loss);
    }
  } finally {
    await trainer.dispose();
    await studentRunner.dispose();
  }

  await readTrainingState(bestPath, student, z.null());
  const tokens = heldOut.reduce((n, s) => n + predictedTokens(s), 0);
  const record = await originRecordFor(
    student,
    await originalOf(origin, context, { known: [teacher] }),
    {
      sequences: heldOut,
      protocol: `${basename(config.heldOut)}: the held-out sequences of the distillation, ${tokens} tokens`,
    },
    context,
  );
  await writeCheckpoint(config.out, {
    architecture: student.arch,
    config: origin.checkpoint.config,
    dtype: storedType(origin.checkpoint.config),
    copyFrom: origin.checkpoint,
    replace: config.replace,
    weight: async (weightName) => weightToWrite(student, origin.checkpoint, weightName),
    provenance: { origin: record },
    extraFiles: { "distillation.json": `${JSON.stringify({ config: identity, ...progress }, null, 2)}\n` },
  });
  await rm(statePath, { force: true });
  await rm(bestPath, { force: true });
  return { ...progress, tokens: config.steps * config.batch * context_, resumedFrom, origin: record };
}

function copyOf(weights: DecoderWeights): DecoderWeights {
  return decoderWeights(
    weights.arch,
    new Map([...weights.tensors].map(([name, t]) => [name, f32(t.shape, float32Data(t).slice())])),
    weights.tables,
  );
}

async function teacherLogits(
  teacher: OpenModel,
  batch: Batch,
  shape: { batch: number; length: number },
): Promise<Tensor> {
  const x = await teacher.runner.blocks(await teacher.runner.embed(batch.ids, shape));
  return teacher.runner.logits(x);
}

/** The batch of a step, from the seed and the step alone. */
async function batches(config: DistillConfig, model: OpenModel, length: number): Promise<(step: number) => Batch> {
  const text = await readText(config.text);
  const { tokenizer } = model;
  const pieces =
    config.separator === undefined
      ? [text]
      : text
          .split(config.separator)
          .map((d) => d.trim())
          .filter((d) => d !== "");
  const lead = tokenizer.bosId === null ? [] : [tokenizer.bosId];
  const end = tokenizer.eosIds.slice(0, 1);
  const starts: number[] = [];
  const stream: number[] = [];
  for (const piece of pieces) {
    starts.push(stream.length);
    for (const id of [...lead, ...tokenizer.encode(piece, { bos: false }), ...end]) stream.push(id);
  }
  if (stream.length < length + 1) {
    throw new EspalierError(
      "input/empty",
      `the training text has ${stream.length} tokens, one sequence needs ${length + 1}`,
      { hint: "Give more text or lower --context." },
    );
  }
  // Sequences begin where documents do, or anywhere when there is but one.
  const legal = starts.length > 1 ? starts.filter((s) => s + length + 1 <= stream.length) : null;
  const tokens = Int32Array.from(stream);
  return (step) => {
    const rng = createRng(config.seed, `distill step ${step}`);
    const ids = new Int32Array(config.batch * length);
    const targets = new Int32Array(config.batch * length);
    for (let row = 0; row < config.batch; row++) {
      const from = legal ? (legal[rng.integer(legal.length)] ?? 0) : rng.integer(tokens.length - length);
      ids.set(tokens.subarray(from, from + length), row * length);
      targets.set(tokens.subarray(from + 1, from + 1 + length), row * length);
    }
    return { ids, targets, tokenWeights: new Float32Array(ids.length).fill(1 / ids.length) };
  };
}
