/**
 * @file Text, token by token, from a decoder with a KV cache: greedy or sampled.
 *
 * Reference for top-p: Holtzman et al., "The Curious Case of Neural Text Degeneration" (2020).
 */

import { throwIfCancelled } from "../cancel.ts";
import { f32At } from "../elements.ts";
import { EspalierError } from "../errors.ts";
import { float32FromFloat16 } from "../float16.ts";
import type { Tensor } from "../mil/tensor.ts";
import type { Rng } from "../random.ts";
import { checkTokens } from "./runner.ts";

/** A decoder that takes tokens and gives logits: our own programs, or packages of any layout. */
export interface StepModel {
  readonly vocab: number;
  /** Positions a text can have. */
  readonly context: number;
  open(): StepSession;
  /** Releases what was compiled. */
  dispose(): Promise<void>;
}

/** One text, with its KV cache. */
export interface StepSession {
  /** How many of the `remaining` tokens at `position` the next call takes. */
  chunk(position: number, remaining: number): number;
  /**
   * Runs the tokens at `position`: as many as `chunk` gives, or any number that a function takes.
   * Returns logits (rows, vocab) of every token, or of the last alone if a prefill gives no others.
   */
  feed(tokens: readonly number[], position: number): Promise<Float32Array>;
  dispose(): void;
}

export interface Sampling {
  readonly temperature: number;
  /** Draws only from the smallest set of tokens whose probability reaches this; 1 for all. */
  readonly topP: number;
  readonly rng: Rng;
}

export interface GenerateOptions {
  readonly maxTokens: number;
  readonly eosIds?: readonly number[];
  /** Absent for greedy. */
  readonly sampling?: Sampling | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onToken?: ((id: number) => void) | undefined;
  /** Called before each token with the logits it is chosen from; valid only during the call. */
  readonly onLogits?: ((logits: Float32Array, id: number) => void) | undefined;
}

/** Continues `prompt` (at least one token); gives the new tokens only, without the end token. */
export async function generate(
  model: StepModel,
  prompt: readonly number[],
  options: GenerateOptions,
): Promise<number[]> {
  if (prompt.length === 0) throw new EspalierError("input/empty", "the prompt has no tokens and the model has no BOS");
  checkTokens(prompt, model.vocab);
  const available = model.context - prompt.length;
  if (available < 1) {
    throw new EspalierError(
      "input/invalid",
      `the prompt has ${prompt.length} tokens, the context holds ${model.context}`,
      {
        hint: "Shorten the prompt, or give it more room: --context for a model, --contexts where a package is exported.",
      },
    );
  }
  const session = model.open();
  try {
    let logits = await consume(model, session, prompt, options.signal);
    const made: number[] = [];
    while (made.length < Math.min(options.maxTokens, available)) {
      throwIfCancelled(options.signal);
      const next = options.sampling ? sample(logits, options.sampling) : argmax(logits);
      if (options.eosIds?.includes(next)) break;
      made.push(next);
      options.onLogits?.(logits, next);
      options.onToken?.(next);
      if (made.length >= Math.min(options.maxTokens, available)) break;
      logits = await session.feed([next], prompt.length + made.length - 1);
    }
    return made;
  } finally {
    session.dispose();
  }
}

/** Feeds the prompt in the chunks the model takes, and gives the logits after its last token. */
export async function consume(
  model: StepModel,
  session: StepSession,
  prompt: readonly number[],
  signal?: AbortSignal,
): Promise<Float32Array> {
  let at = 0;
  let logits: Float32Array = new Float32Array();
  while (at < prompt.length) {
    throwIfCancelled(signal);
    const width = session.chunk(at, prompt.length - at);
    const all = await session.feed(prompt.slice(at, at + width), at);
    logits = all.subarray(all.length - model.vocab);
    at += width;
  }
  return logits;
}

/** Logits as fp32. Throws `engine/failed` for none, `numeric/non-finite` when they have overflowed. */
export function logitValues(out: Tensor | undefined, position: number): Float32Array {
  if (!out) throw new EspalierError("engine/failed", "the model gave no logits");
  const values = out.data instanceof Uint16Array ? float32FromFloat16(out.data) : out.data;
  if (!(values instanceof Float32Array))
    throw new EspalierError("engine/failed", `logits are ${out.dtype}, a float was expected`);
  for (let i = 0; i < values.length; i++) {
    if (Number.isFinite(values[i])) continue;
    throw new EspalierError("numeric/non-finite", `logit ${i} at position ${position} is ${values[i]}`, {
      hint: "A value before it left the range of its type, or a weight is not finite.",
    });
  }
  return values;
}

/** The first of the largest. */
export function argmax(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (f32At(values, i) > f32At(values, best)) best = i;
  return best;
}

function sample(logits: Float32Array, { temperature, topP, rng }: Sampling): number {
  const top = f32At(logits, argmax(logits));
  const candidates = Array.from(logits, (z, id) => ({ id, p: Math.exp((z - top) / temperature) })).sort(
    (a, c) => c.p - a.p,
  );
  const total = candidates.reduce((n, c) => n + c.p, 0);
  const kept: typeof candidates = [];
  let mass = 0;
  for (const c of candidates) {
    kept.push(c);
    mass += c.p / total;
    if (mass >= topP) break;
  }
  let draw = rng.uniform() * kept.reduce((n, c) => n + c.p, 0);
  for (const c of kept) {
    draw -= c.p;
    if (draw <= 0) return c.id;
  }
  return kept.at(-1)?.id ?? 0;
}
