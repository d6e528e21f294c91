/**
 * @file A package read back, against the fp32 model with the same compressed weights: logits, KL, greedy text, every function.
 *
 * The package is driven through its metadata alone, with fp16 rounding after every operation. The first decode function walks
 * all the text; every other function the first sequence. Greedy text is followed, not generated: where the package would choose as
 * the model did at every position, it says the same text. A choice between two tokens whose fp32 logits lie within one step of fp16
 * of each other is no choice fp16 can make: it is a tie, counted and named, not a difference. So no call depends on what another gave, and a package larger than
 * memory is compared by the same walk, made twice (`lib/engines/staged.ts`).
 */

import { throwIfCancelled } from "../../../lib/cancel.ts";
import { argmax, consume, generate, type StepModel, type StepSession } from "../../../lib/decoder/generate.ts";
import type { NeuralEngineModel } from "../../../lib/decoder/neural-engine/driver.ts";
import { f32At, numberAt } from "../../../lib/elements.ts";
import type { Tokenizer } from "../../../lib/tokenizer/tokenizer.ts";
import type { ExportCard } from "./card.ts";

export interface ComparedText {
  /** One at least. */
  readonly sequences: readonly (readonly number[])[];
  /** Where greedy text starts from. */
  readonly seed: readonly number[];
  readonly checkTokens: number;
}

/** For a package that was not run: nothing was compared, and nothing is claimed. */
export const notCompared: ExportCard["parity"] = {
  positions: 0,
  greedyTokens: 0,
  greedyIdentical: false,
  greedyFirstDifference: null,
  greedyTies: [],
  maxLogitDifference: 0,
  largestLogit: 0,
  meanKl: 0,
  topAgreement: 0,
  prefillMaxDifference: null,
  functions: [],
};

export interface Parity {
  readonly parity: ExportCard["parity"];
  readonly sample: string;
}

export async function compareWithModel(
  reference: StepModel,
  shipped: StepModel | NeuralEngineModel,
  text: ComparedText,
  tokenizer: Tokenizer,
  options: { signal?: AbortSignal | undefined; onShare: (share: number) => void },
): Promise<Parity> {
  const { signal, onShare } = options;
  const { seed, sequences } = text;
  const tokens = Math.min(text.checkTokens, Math.min(reference.context, shipped.context) - seed.length);
  const equals: ReadonlyMap<number, number>[] = [];
  const greedy = await generate(reference, seed, {
    maxTokens: tokens,
    signal,
    onLogits: (logits, id) => equals.push(withinOneStep(logits, id)),
  });
  onShare(0.3);
  const chosen = await choicesAlong(shipped, seed, greedy, signal);
  onShare(0.5);
  const differing = greedy.flatMap((id, i) => (chosen[i] === id ? [] : [i]));
  const ties = differing.flatMap((token) => {
    const gap = equals[token]?.get(numberAt(chosen, token));
    return gap === undefined ? [] : [{ token, gap }];
  });
  const difference = differing.find((i) => !ties.some((t) => t.token === i)) ?? -1;

  const walkers = walkersOf(shipped);
  const totals = { positions: 0, kl: 0, agreed: 0, worst: 0, largest: 0 };
  const perFunction = new Map(walkers.map((w) => [w.name, { positions: 0, worst: 0 }]));
  let prefillWorst: number | null = null;
  for (const [s, ids] of sequences.entries()) {
    const active = walkers.filter((_, i) => s === 0 || i === 0).map((w) => ({ ...w, session: w.open(), next: 0 }));
    const model = reference.open();
    try {
      for (const [i, id] of ids.entries()) {
        throwIfCancelled(signal);
        const expected = await model.feed([id], i);
        let first: Float32Array | null = null;
        for (const w of active) {
          const rows = await advance(w, ids, i);
          if (!rows) continue;
          const found = rows.subarray(rows.length - reference.vocab);
          const worst = largestDifference(expected, found);
          const counted = perFunction.get(w.name);
          if (counted)
            Object.assign(counted, { positions: counted.positions + 1, worst: Math.max(counted.worst, worst) });
          if (first === null) {
            first = found;
            accumulate(totals, expected, found);
          } else if (w.width > 1) prefillWorst = Math.max(prefillWorst ?? 0, largestDifference(first, found));
        }
      }
    } finally {
      model.dispose();
      for (const w of active) w.session.dispose();
    }
    onShare(0.5 + (0.5 * (s + 1)) / sequences.length);
  }
  return {
    parity: {
      positions: totals.positions,
      greedyTokens: tokens,
      greedyIdentical: difference < 0,
      greedyFirstDifference: difference < 0 ? null : difference,
      greedyTies: ties,
      maxLogitDifference: Math.max(totals.worst, ...[...perFunction.values()].map((f) => f.worst)),
      largestLogit: totals.largest,
      meanKl: totals.kl / totals.positions,
      topAgreement: totals.agreed / totals.positions,
      prefillMaxDifference: prefillWorst,
      functions: [...perFunction].map(([name, f]) => ({ name, positions: f.positions, maxLogitDifference: f.worst })),
    },
    sample: tokenizer.decode(greedy),
  };
}

/** The distance between neighbouring fp16 numbers of this size. */
const float16Step = (v: number): number => 2 ** (Math.max(-14, Math.floor(Math.log2(Math.abs(v) || 1e-9))) - 10);

/** Tokens fp16 cannot tell from the chosen one, with how far below it they are. */
export function withinOneStep(logits: Float32Array, chosen: number): Map<number, number> {
  const best = f32At(logits, chosen);
  const step = float16Step(best);
  const found = new Map<number, number>();
  for (const [id, v] of logits.entries()) if (id !== chosen && best - v <= step) found.set(id, best - v);
  return found;
}

/** What a model chooses after the seed and after each token of `greedy` but the last. */
async function choicesAlong(
  model: StepModel,
  seed: readonly number[],
  greedy: readonly number[],
  signal: AbortSignal | undefined,
): Promise<number[]> {
  const session = model.open();
  try {
    const chosen = [argmax(await consume(model, session, seed, signal))];
    for (const [i, id] of greedy.slice(0, -1).entries()) {
      throwIfCancelled(signal);
      const rows = await session.feed([id], seed.length + i);
      chosen.push(argmax(rows.subarray(rows.length - model.vocab)));
    }
    return chosen;
  } finally {
    session.dispose();
  }
}

/** One function of a package, going along a text on its own cache. */
interface Walker {
  readonly name: string;
  readonly width: number;
  readonly context: number;
  open(): StepSession;
}

/** The first is a decode function. */
function walkersOf(shipped: StepModel | NeuralEngineModel): Walker[] {
  if (!("description" in shipped)) {
    const open = (): StepSession => shipped.open();
    const width = open().chunk(0, shipped.context);
    const { context } = shipped;
    return [
      { name: "decode", width: 1, context, open },
      ...(width > 1 ? [{ name: "prefill", width, context, open }] : []),
    ];
  }
  return [...shipped.description.functions]
    .sort((a, b) => a.width - b.width || a.context - b.context)
    .map(({ name, width, context }) => ({ name, width, context, open: () => shipped.open({ only: [name] }) }));
}

/** The logits of a walker after token i: those of a decode at once, those of a prefill at the end of a chunk, padded at the last. */
async function advance(
  w: Walker & { session: StepSession; next: number },
  ids: readonly number[],
  i: number,
): Promise<Float32Array | null> {
  if (i >= w.context) return null;
  const end = Math.min(w.next + w.width, ids.length) - 1;
  if (i !== end || w.next + w.width > w.context) return null;
  const count = end - w.next + 1;
  // The plain layout takes whole chunks only.
  if (count < w.width && w.session.chunk(w.next, count) !== count) return null;
  const rows = await w.session.feed(ids.slice(w.next, end + 1), w.next);
  w.next = end + 1;
  return rows;
}

function largestDifference(a: Float32Array, b: Float32Array): number {
  let worst = 0;
  for (let v = 0; v < a.length; v++) worst = Math.max(worst, Math.abs(f32At(a, v) - f32At(b, v)));
  return worst;
}

function accumulate(
  totals: { positions: number; kl: number; agreed: number; worst: number; largest: number },
  a: Float32Array,
  b: Float32Array,
): void {
  const logSum = (z: Float32Array): number => {
    const top = f32At(z, argmax(z));
    let sum = 0;
    for (const v of z) sum += Math.exp(v - top);
    return top + Math.log(sum);
  };
  const [la, lb] = [logSum(a), logSum(b)];
  for (let v = 0; v < a.length; v++) {
    const [x, y] = [f32At(a, v), f32At(b, v)];
    totals.worst = Math.max(totals.worst, Math.abs(x - y));
    totals.largest = Math.max(totals.largest, Math.abs(x));
    totals.kl += Math.exp(x - la) * (x - la - (y - lb));
  }
  totals.positions++;
  if (argmax(a) === argmax(b)) totals.agreed++;
}
