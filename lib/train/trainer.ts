/**
 * @file Trains a decoder in place: gradients half a block at a time, AdamW, a schedule, and a state that resumes exactly.
 *
 * Memory is that of the weights, one gradient and two moments for every trained value, and the streams of one batch. A step may
 * add up the gradients of several batches. With adapters (`low-rank.ts`) only those have gradients and moments.
 */

import { isTrained } from "../decoder/architecture.ts";
import { checkTokens } from "../decoder/runner.ts";
import type { SequenceShape } from "../decoder/sequence-programs.ts";
import { type DecoderWeights, weightList } from "../decoder/weights.ts";
import { f32At, under } from "../elements.ts";
import type { Engine } from "../engines/engine.ts";
import { EspalierError } from "../errors.ts";
import { f32, float32Data, type Tensor } from "../mil/tensor.ts";
import { type AdamWOptions, type AdamWState, adamWDefaults, adamWStep, newAdamWState } from "./adamw.ts";
import { Backward, type Teacher } from "./backward.ts";
import type { LowRank } from "./low-rank.ts";
import { learningRate, type Schedule } from "./schedule.ts";
import type { TopTokens } from "./top-tokens.ts";
import type { Objective } from "./training-program.ts";

export interface Batch {
  readonly ids: Int32Array; // (batch, length)
  readonly targets: Int32Array; // (batch, length)
  /** Adds up to 1 over all batches of a step; 0 where a position does not count. */
  readonly tokenWeights: Float32Array; // (batch, length)
  /** When distilling, one of the two. */
  readonly teacherLogits?: Tensor; // (batch * length, vocab)
  readonly teacherTop?: TopTokens; // of batch * length rows
}

export interface StepResult {
  readonly step: number;
  readonly loss: number;
  readonly crossEntropy: number;
  readonly divergence: number | null;
  readonly gradientNorm: number;
  readonly learningRate: number;
}

export interface TrainerOptions {
  readonly shape: SequenceShape;
  readonly schedule: Schedule;
  readonly objective: Objective;
  readonly adamW?: AdamWOptions;
  readonly state?: AdamWState;
  /** Absent: every weight is trained. */
  readonly adapters?: LowRank | undefined;
  /** Leaves the embedding and the head as they are. */
  readonly frozenEmbedding?: boolean | undefined;
}

export class Trainer {
  readonly weights: DecoderWeights;
  readonly state: AdamWState;
  private readonly backward: Backward;
  private readonly names: readonly string[];
  private readonly options: TrainerOptions;
  private lastFinite = Number.NaN;

  private constructor(engine: Engine, weights: DecoderWeights, options: TrainerOptions) {
    this.weights = weights;
    this.state = options.state ?? newAdamWState();
    this.options = options;
    const { adapters } = options;
    this.names = adapters
      ? []
      : weightList(weights.arch).flatMap(({ name, role }) =>
          isTrained(role) && !(options.frozenEmbedding && (role === "embedding" || role === "head")) ? [name] : [],
        );
    this.backward = new Backward(engine, weights, { trained: new Set(this.names), adapters });
  }

  /** `weights` are updated in place; `state` continues an earlier run exactly. */
  static async create(engine: Engine, weights: DecoderWeights, options: TrainerOptions): Promise<Trainer> {
    return new Trainer(engine, weights, options);
  }

  /** One step on all `batches`. Throws `numeric/non-finite` with the step and the last finite loss; the weights are then unchanged. */
  async step(batches: Batch | readonly Batch[]): Promise<StepResult> {
    const { objective, shape, adapters } = this.options;
    const distilling = objective.distillation > 0;
    const gradients = new Map<string, Float32Array>();
    const add = (name: string, gradient: Float32Array): void => {
      const sum = gradients.get(name);
      if (!sum) gradients.set(name, gradient);
      else for (let i = 0; i < sum.length; i++) sum[i] = f32At(sum, i) + f32At(gradient, i);
    };
    const sums = { loss: 0, crossEntropy: 0, divergence: 0 };
    for (const batch of [batches].flat()) {
      checkTokens(batch.ids, this.weights.arch.vocab);
      const tape = await this.backward.forward(batch.ids, shape);
      const teacher = distilling ? teacherOf(batch, this.weights.arch.vocab) : null;
      const head = await this.backward.head(tape, batch.targets, batch.tokenWeights, objective, teacher, add);
      sums.loss += head.loss;
      sums.crossEntropy += head.crossEntropy;
      sums.divergence += head.divergence ?? 0;
      if (!Number.isFinite(sums.loss)) this.refuse(sums.loss);
      await this.backward.back(tape, head.dx, add);
    }
    const step = this.state.step + 1;
    const rate = learningRate(this.options.schedule, step);
    const trained = adapters
      ? adapters.parameters()
      : this.names.map((name) => {
          const t = under(this.weights.tensors, name);
          return { name, values: float32Data(t), decay: t.shape.length > 1 };
        });
    const parameters = trained.map((p) => ({
      ...p,
      gradient: gradients.get(p.name) ?? new Float32Array(p.values.length),
    }));
    const norm = adamWStep(parameters, this.state, rate, this.options.adamW ?? adamWDefaults);
    await adapters?.merge();
    this.lastFinite = sums.loss;
    return {
      step,
      loss: sums.loss,
      crossEntropy: sums.crossEntropy,
      divergence: distilling ? sums.divergence : null,
      gradientNorm: norm,
      learningRate: rate,
    };
  }

  private refuse(loss: number): never {
    throw new EspalierError(
      "numeric/non-finite",
      `the loss is ${loss} at step ${this.state.step + 1}; the last finite loss was ${this.lastFinite}`,
      { hint: "Lower the learning rate or lengthen the warm-up, and resume from the last checkpoint." },
    );
  }

  dispose(): Promise<void> {
    return this.backward.dispose();
  }
}

function teacherOf({ teacherLogits, teacherTop }: Batch, vocab: number): Teacher {
  if (teacherTop) return { kind: "top", ...teacherTop };
  if (!teacherLogits) throw new EspalierError("input/invalid", "distillation needs the teacher's logits");
  const values = float32Data(teacherLogits);
  return {
    kind: "logits",
    logits: async (from, rows) => f32([rows, vocab], values.subarray(from * vocab, (from + rows) * vocab)),
  };
}
