/**
 * @file Trains a decoder in place: one compiled step, AdamW, a schedule, and a state that resumes exactly.
 */

import { isTrained } from "../decoder/architecture.ts";
import type { SequenceShape } from "../decoder/programs.ts";
import { checkTokens } from "../decoder/runner.ts";
import { type DecoderWeights, perLayerRows, weightList } from "../decoder/weights.ts";
import type { Engine, Executable } from "../engines/engine.ts";
import { EspalierError } from "../errors.ts";
import { f32, float32Data, i32, type Tensor } from "../mil/tensor.ts";
import { type AdamWOptions, type AdamWState, adamWDefaults, adamWStep, newAdamWState } from "./adamw.ts";
import { learningRate, type Schedule } from "./schedule.ts";
import { type Objective, trainingProgram } from "./training-program.ts";

export interface Batch {
  readonly ids: Int32Array; // (batch, length)
  readonly targets: Int32Array; // (batch, length)
  /** Adds up to 1; 0 where a position does not count. */
  readonly tokenWeights: Float32Array; // (batch, length)
  readonly teacherLogits?: Tensor; // (batch * length, vocab)
}

export interface StepResult {
  readonly step: number;
  readonly loss: number;
  readonly crossEntropy: number;
  readonly divergence: number | null;
  readonly gradientNorm: number;
  readonly learningRate: number;
}

export class Trainer {
  readonly weights: DecoderWeights;
  readonly state: AdamWState;
  private readonly executable: Executable;
  private readonly shape: SequenceShape;
  private readonly schedule: Schedule;
  private readonly adamW: AdamWOptions;
  private readonly distilling: boolean;
  private lastFinite = Number.NaN;

  private constructor(
    executable: Executable,
    weights: DecoderWeights,
    state: AdamWState,
    options: { shape: SequenceShape; schedule: Schedule; adamW: AdamWOptions; distilling: boolean },
  ) {
    this.executable = executable;
    this.weights = weights;
    this.state = state;
    this.shape = options.shape;
    this.schedule = options.schedule;
    this.adamW = options.adamW;
    this.distilling = options.distilling;
  }

  /** Compiles the step. `weights` are updated in place; `state` continues an earlier run exactly. */
  static async create(
    engine: Engine,
    weights: DecoderWeights,
    options: {
      shape: SequenceShape;
      schedule: Schedule;
      objective: Objective;
      adamW?: AdamWOptions;
      state?: AdamWState;
    },
  ): Promise<Trainer> {
    const executable = await engine.compile(trainingProgram(weights.arch, options.shape, options.objective));
    return new Trainer(executable, weights, options.state ?? newAdamWState(), {
      shape: options.shape,
      schedule: options.schedule,
      adamW: options.adamW ?? adamWDefaults,
      distilling: options.objective.distillation > 0,
    });
  }

  /** One step. Throws `numeric/non-finite` with the step and the last finite loss; the weights are then unchanged. */
  async step(batch: Batch): Promise<StepResult> {
    const { batch: n, length } = this.shape;
    checkTokens(batch.ids, this.weights.arch.vocab);
    const inputs: Record<string, Tensor> = {
      ids: i32([n, length], batch.ids),
      targets: i32([n * length], batch.targets),
      tokenWeights: f32([n * length], batch.tokenWeights),
      ...Object.fromEntries(this.weights.tensors),
      ...(await perLayerRows(this.weights, batch.ids, n)),
    };
    if (this.distilling) {
      if (!batch.teacherLogits) throw new EspalierError("input/invalid", "distillation needs the teacher's logits");
      inputs.teacherLogits = batch.teacherLogits;
    }
    const out = await this.executable.run(inputs);
    const scalar = (name: string): number => {
      const t = out[name];
      return t ? (float32Data(t)[0] as number) : Number.NaN;
    };
    const loss = scalar("loss");
    const step = this.state.step + 1;
    if (!Number.isFinite(loss)) {
      throw new EspalierError(
        "numeric/non-finite",
        `the loss is ${loss} at step ${step}; the last finite loss was ${this.lastFinite}`,
        {
          hint: "Lower the learning rate or lengthen the warm-up, and resume from the last checkpoint.",
        },
      );
    }
    const rate = learningRate(this.schedule, step);
    const parameters = weightList(this.weights.arch)
      .filter(({ role }) => isTrained(role))
      .map(({ name, shape }) => ({
        name,
        values: float32Data(this.weights.tensors.get(name) as Tensor),
        gradient: float32Data(out[`d_${name}`] as Tensor),
        decay: shape.length > 1,
      }));
    const norm = adamWStep(parameters, this.state, rate, this.adamW);
    this.lastFinite = loss;
    return {
      step,
      loss,
      crossEntropy: scalar("crossEntropy"),
      divergence: this.distilling ? scalar("divergence") : null,
      gradientNorm: norm,
      learningRate: rate,
    };
  }

  dispose(): Promise<void> {
    return this.executable.dispose();
  }
}
