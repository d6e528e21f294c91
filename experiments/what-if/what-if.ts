/**
 * @file What if these heads were gone: the change in loss of any selection, within moments.
 *
 *   Δ_s = NLL_s(gates of the selection 0) − NLL_s(all gates 1), per sequence s, in nats per token
 *
 * The untouched model's stream at every layer boundary is kept, so a selection re-runs only the layers from its first on;
 * programs are compiled beforehand. Differences are paired by sequence. Text before and after comes from the sliced model.
 */
import { headsByName } from "../../lib/compress/prune/selection.ts";
import { pruneHeads } from "../../lib/compress/prune/slice.ts";
import type { DecoderArchitecture } from "../../lib/decoder/architecture.ts";
import { generate } from "../../lib/decoder/generate.ts";
import { type GateKind, gateShape } from "../../lib/decoder/programs.ts";
import type { Gates } from "../../lib/decoder/runner.ts";
import { stepModel } from "../../lib/decoder/step-model.ts";
import type { Stream } from "../../lib/decoder/stream.ts";
import type { Engine } from "../../lib/engines/engine.ts";
import { EspalierError } from "../../lib/errors.ts";
import { throwIfCancelled } from "../../lib/eval/perplexity.ts";
import { padIntoBatches, predictedTokens, scoredRange, type TokenSequence } from "../../lib/eval/sequences.ts";
import { meanAndError } from "../../lib/eval/summary.ts";
import { parseUnit } from "../../lib/ids.ts";
import { f32 } from "../../lib/mil/tensor.ts";
import type { Clock } from "../../lib/random.ts";
import type { ModelSession } from "../models.ts";
import { textSequences } from "../text.ts";

export interface WhatIfMeasurement {
  /** Nats per token. */
  readonly difference: number;
  readonly standardError: number;
  /** Measured so far, and in all. */
  readonly sequences: number;
  readonly of: number;
  readonly milliseconds: number;
}

export interface WhatIf {
  readonly protocol: string;
  readonly sequences: number;
  readonly tokens: number;
  /** Nats per token of the untouched model. */
  readonly baseNll: number;
  measure(
    selection: readonly string[],
    options?: { signal?: AbortSignal; onPartial?: (partial: WhatIfMeasurement) => void },
  ): Promise<WhatIfMeasurement>;
  generate(
    prompt: string,
    selection: readonly string[],
    options: { maxTokens: number; signal?: AbortSignal },
  ): Promise<{
    base: { text: string; tokens: string[] };
    pruned: { text: string; tokens: string[] };
    firstDifference: number | null;
  }>;
}

export async function openWhatIf(
  context: { engine: Engine; models: ModelSession; clock: Clock },
  config: { model: string; text: string; separator?: string | undefined; limit?: number },
): Promise<WhatIf> {
  const model = await context.models.open(config.model);
  const { runner, tokenizer } = model;
  const { arch } = model.weights;
  const { sequences, protocol } = await textSequences(
    { text: config.text, separator: config.separator, limit: config.limit ?? 24, context: 128 },
    model,
  );
  const batches = padIntoBatches(sequences, 1024);
  const boundaries: Stream[][] = [];
  const base = new Float64Array(sequences.length);

  const losses = async (stream: Stream, batch: (typeof batches)[number]): Promise<number[]> => {
    const { nll } = await runner.loss(stream, batch.targets);
    return batch.rows.map((index, row) => {
      const s = sequences[index] as TokenSequence;
      const { from, to } = scoredRange(s, row, batch.shape.length);
      let total = 0;
      for (let i = from; i < to; i++) total += nll[i] as number;
      return total / predictedTokens(s);
    });
  };
  for (const batch of batches) {
    const streams = [await runner.embed(batch.ids, batch.shape)];
    for (let l = 0; l < arch.layers.length; l++) streams.push(await runner.block(l, streams[l] as Stream));
    boundaries.push(streams);
    const found = await losses(streams.at(-1) as Stream, batch);
    for (const [i, index] of batch.rows.entries()) base[index] = found[i] as number;
    // The gated program of every layer shape is compiled now, not when somebody waits for it.
    for (let l = 0; l < arch.layers.length; l++)
      await runner.block(
        l,
        streams[l] as Stream,
        gatesOf(arch, l, ["heads"], () => true, batch.shape.batch),
      );
  }
  const tokens = sequences.reduce((n, s) => n + predictedTokens(s), 0);
  const baseNll = sequences.reduce((n, s, i) => n + (base[i] as number) * predictedTokens(s), 0) / tokens;

  return {
    protocol,
    sequences: sequences.length,
    tokens,
    baseNll,
    async measure(selection, options = {}) {
      const started = context.clock.nowMs();
      const gone = goneHeads(arch, selection);
      const layers = gone.flatMap((heads, l) => (heads.size > 0 ? [l] : []));
      const differences: number[] = [];
      const sum = (): WhatIfMeasurement => ({
        difference: differences.length > 0 ? meanAndError(differences).mean : 0,
        standardError: differences.length > 1 ? meanAndError(differences).standardError : 0,
        sequences: differences.length,
        of: sequences.length,
        milliseconds: context.clock.nowMs() - started,
      });
      for (const [b, batch] of batches.entries()) {
        throwIfCancelled(options.signal);
        const first = layers[0];
        if (first === undefined) differences.push(...batch.rows.map(() => 0));
        else {
          let x = boundaries[b]?.[first] as Stream;
          for (let l = first; l < arch.layers.length; l++) {
            const heads = gone[l];
            const gates =
              heads && heads.size > 0 ? gatesOf(arch, l, ["heads"], (h) => !heads.has(h), batch.shape.batch) : {};
            x = await runner.block(l, x, gates);
          }
          const found = await losses(x, batch);
          differences.push(...batch.rows.map((index, i) => (found[i] as number) - (base[index] as number)));
        }
        options.onPartial?.(sum());
        // Lets a cancellation that has arrived be seen.
        await new Promise((resolve) => setImmediate(resolve));
      }
      return sum();
    },
    async generate(prompt, selection, { maxTokens, signal }) {
      const ids = tokenizer.encode(prompt, { bos: true });
      if (ids.length === 0) throw new EspalierError("input/empty", "the prompt has no tokens");
      const positions = Math.min(arch.maxPositions, ids.length + maxTokens);
      const say = async (weights: typeof model.weights) => {
        const step = await stepModel(context.engine, weights, { context: positions });
        const made = await generate(step, ids, { maxTokens: positions - ids.length, signal });
        return { text: tokenizer.decode(made), tokens: made.map((id) => tokenizer.decode([id])) };
      };
      const gone = goneHeads(arch, selection);
      const before = await say(model.weights);
      const after = gone.every((h) => h.size === 0)
        ? before
        : await say(
            pruneHeads(
              model.weights,
              gone.map((h) => [...h].sort((x, y) => x - y)),
            ),
          );
      const at = before.tokens.findIndex((t, i) => after.tokens[i] !== t);
      return { base: before, pruned: after, firstDifference: at < 0 ? null : at };
    },
  };
}

/** Query heads that a selection of heads and KV groups takes away, by layer. Throws `prune/…` as pruning itself would. */
function goneHeads(arch: DecoderArchitecture, selection: readonly string[]): Set<number>[] {
  for (const name of selection) {
    const { kind } = parseUnit(name);
    if (kind !== "head" && kind !== "group")
      throw new EspalierError("prune/unknown-unit", `${name} is neither a head nor a KV group`);
  }
  if (selection.length === 0) return arch.layers.map(() => new Set());
  return headsByName(arch, [...selection]).map((heads) => new Set(heads));
}

function gatesOf(
  arch: DecoderArchitecture,
  layer: number,
  kinds: readonly GateKind[],
  isOpen: (index: number) => boolean,
  batch: number,
): Gates {
  const l = arch.layers[layer];
  if (!l) return {};
  const gates: Gates = {};
  for (const kind of kinds) {
    const shape = gateShape(kind, l, batch);
    const width = shape.length === 2 ? (shape[1] as number) : 1;
    gates[kind] = f32(
      shape,
      Float32Array.from({ length: batch * width }, (_, i) => (isOpen(i % width) ? 1 : 0)),
    );
  }
  return gates;
}
