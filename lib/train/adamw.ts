/**
 * @file AdamW, in place over typed arrays.
 *
 * Reference: Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (2019). With g clipped to a global norm:
 *   m ← β₁ m + (1 − β₁) g;  v ← β₂ v + (1 − β₂) g²
 *   w ← w − η (m̂ / (√v̂ + ε) + λ w),   m̂ = m / (1 − β₁ᵗ), v̂ = v / (1 − β₂ᵗ)
 * λ acts on matrices only, never on norm gains.
 */
import { EspalierError } from "../errors.ts";

export interface AdamWOptions {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay: number;
  /** Gradients are scaled down to this global norm; null: no clipping. */
  readonly clipNorm: number | null;
}

export const adamWDefaults: AdamWOptions = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, clipNorm: 1 };

export interface AdamWState {
  step: number;
  readonly first: Map<string, Float32Array>;
  readonly second: Map<string, Float32Array>;
}

export const newAdamWState = (): AdamWState => ({ step: 0, first: new Map(), second: new Map() });

export interface Parameter {
  readonly name: string;
  readonly values: Float32Array;
  readonly gradient: Float32Array;
  readonly decay: boolean;
}

/** √Σ g² over all gradients, before clipping. */
export function gradientNorm(parameters: readonly Parameter[]): number {
  let sum = 0;
  for (const { gradient } of parameters) {
    let part = 0;
    for (let i = 0; i < gradient.length; i++) part += (gradient[i] as number) ** 2;
    sum += part;
  }
  return Math.sqrt(sum);
}

/** One step; returns the gradient norm before clipping. If it throws `numeric/non-finite`, nothing
 * has changed. */
export function adamWStep(
  parameters: readonly Parameter[],
  state: AdamWState,
  learningRate: number,
  options: AdamWOptions = adamWDefaults,
): number {
  const norm = gradientNorm(parameters);
  if (!Number.isFinite(norm)) {
    throw new EspalierError("numeric/non-finite", `the gradient norm is ${norm} at step ${state.step + 1}`, {
      hint: "Lower the learning rate or lengthen the warm-up.",
    });
  }
  const scale = options.clipNorm !== null && norm > options.clipNorm ? options.clipNorm / norm : 1;
  const step = ++state.step;
  const correct1 = 1 / (1 - options.beta1 ** step);
  const correct2 = 1 / (1 - options.beta2 ** step);
  const { beta1, beta2, epsilon } = options;
  for (const { name, values, gradient, decay } of parameters) {
    const m = slot(state.first, name, values.length);
    const v = slot(state.second, name, values.length);
    const shrink = decay ? learningRate * options.weightDecay : 0;
    for (let i = 0; i < values.length; i++) {
      const g = (gradient[i] as number) * scale;
      const mi = beta1 * (m[i] as number) + (1 - beta1) * g;
      const vi = beta2 * (v[i] as number) + (1 - beta2) * g * g;
      m[i] = mi;
      v[i] = vi;
      const w = values[i] as number;
      values[i] = w - shrink * w - (learningRate * mi * correct1) / (Math.sqrt(vi * correct2) + epsilon);
    }
  }
  return norm;
}

function slot(slots: Map<string, Float32Array>, name: string, length: number): Float32Array {
  let values = slots.get(name);
  if (!values) {
    values = new Float32Array(length);
    slots.set(name, values);
  }
  return values;
}
