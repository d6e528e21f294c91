/**
 * @file Text, token by token, from a decoder with a KV cache: greedy or sampled.
 *
 * Reference for top-p: Holtzman et al., "The Curious Case of Neural Text Degeneration" (2020).
 */
import type { EngineState, Executable } from "../engines/engine.ts";
import { EspalierError } from "../errors.ts";
import { throwIfCancelled } from "../eval/perplexity.ts";
import { float32FromFloat16 } from "../float16.ts";
import { i32, type Tensor } from "../mil/tensor.ts";
import type { Rng } from "../random.ts";
import { checkTokens } from "./runner.ts";

/** A decoder that takes tokens at a position and gives logits: our own programs and packages alike. */
export interface StepModel {
  readonly vocab: number;
  readonly context: number;
  readonly decode: Executable;
  /** Takes a whole chunk at once; absent where a package has no prefill. */
  readonly prefill?: { executable: Executable; length: number } | undefined;
  /** Inputs every call needs besides `ids` and `position`: the weights, when they are inputs. */
  readonly inputs: Record<string, Tensor>;
  /** Inputs that depend on the tokens of a call: the rows of a per-layer table that is not in the program. */
  inputsOf?(tokens: readonly number[]): Promise<Record<string, Tensor>>;
  makeState(): EngineState;
}

export interface Sampling {
  readonly temperature: number;
  /** Only the smallest set of tokens whose probability reaches this is drawn from; 1 for all. */
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
        hint: "Shorten the prompt or raise --context.",
      },
    );
  }
  const state = model.makeState();
  try {
    let logits = await consume(model, state, prompt, options.signal);
    const made: number[] = [];
    while (made.length < Math.min(options.maxTokens, available)) {
      throwIfCancelled(options.signal);
      const next = options.sampling ? sample(logits, options.sampling) : argmax(logits);
      if (options.eosIds?.includes(next)) break;
      made.push(next);
      options.onToken?.(next);
      if (made.length >= Math.min(options.maxTokens, available)) break;
      logits = await step(model, state, model.decode, [next], prompt.length + made.length - 1);
    }
    return made;
  } finally {
    state.dispose();
  }
}

/** Feeds the prompt, in prefill chunks while whole ones fit, and gives the logits after its last token. */
async function consume(
  model: StepModel,
  state: EngineState,
  prompt: readonly number[],
  signal?: AbortSignal,
): Promise<Float32Array> {
  let at = 0;
  let logits: Float32Array = new Float32Array();
  while (at < prompt.length) {
    throwIfCancelled(signal);
    const chunk = model.prefill;
    const width = chunk && prompt.length - at >= chunk.length ? chunk.length : 1;
    const executable = chunk && width > 1 ? chunk.executable : model.decode;
    const all = await step(model, state, executable, prompt.slice(at, at + width), at);
    logits = all.subarray(all.length - model.vocab);
    at += width;
  }
  return logits;
}

/** Runs one call: tokens at `position`; gives the logits (tokens, vocab). */
export async function step(
  model: StepModel,
  state: EngineState,
  executable: Executable,
  tokens: readonly number[],
  position: number,
): Promise<Float32Array> {
  const inputs = {
    ...model.inputs,
    ...(await model.inputsOf?.(tokens)),
    ids: i32([1, tokens.length], tokens),
    position: i32([1], [position]),
  };
  const out = (await executable.run(inputs, state)).logits;
  if (!out) throw new EspalierError("engine/failed", "the model gave no logits");
  const values = out.data instanceof Uint16Array ? float32FromFloat16(out.data) : out.data;
  if (!(values instanceof Float32Array))
    throw new EspalierError("engine/failed", `logits are ${out.dtype}, a float was expected`);
  if (!Number.isFinite(values[0])) {
    throw new EspalierError("numeric/non-finite", `the first logit at position ${position} is ${values[0]}`);
  }
  return values;
}

/** The first of the largest. */
export function argmax(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if ((values[i] as number) > (values[best] as number)) best = i;
  return best;
}

function sample(logits: Float32Array, { temperature, topP, rng }: Sampling): number {
  const top = logits[argmax(logits)] as number;
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
