/**
 * @file The inputs of an export: the weights as they ship, and the fp32 model with the same weights
 * for comparison.
 *
 * Weights are read by range whenever a program is written or run, so that at any time one decoded model is in memory: first the
 * reference, whose logits on the compared texts are all that is kept of it, then the package. One rule: a model of more than
 * `streamAboveBytes` in fp32 is never in memory as a whole. Its reference runs one layer at a time on texts chosen beforehand,
 * its package part by part; that of a smaller one decodes freely.
 */

import { throwIfCancelled } from "../../../lib/cancel.ts";
import { type DecoderArchitecture, isRowTable } from "../../../lib/decoder/architecture.ts";
import { argmax, generate, type StepModel } from "../../../lib/decoder/generate.ts";
import { type StoredModel, wholeWeight } from "../../../lib/decoder/paged-weights.ts";
import { stepModel } from "../../../lib/decoder/step-model.ts";
import { type KnownText, knownTextModel, streamedLogits } from "../../../lib/decoder/streamed-logits.ts";
import { decoderWeights, parameterCount, type RowTable, weightList } from "../../../lib/decoder/weights.ts";
import { lastOf, numberAt } from "../../../lib/elements.ts";
import type { Engine, Executable } from "../../../lib/engines/engine.ts";
import { EspalierError } from "../../../lib/errors.ts";
import { sequencesFromText } from "../../../lib/eval/sequences.ts";
import { formFor, weightFor } from "../../../lib/export/coreml/target-weights.ts";
import { shippedTable, streamedWeights, withGains } from "../../../lib/export/streamed-weights.ts";
import { targets } from "../../../lib/formats/coreml/targets.ts";
import type { Tensor } from "../../../lib/mil/tensor.ts";
import type { CompressedWeight, DeferredWeight } from "../../../lib/weights/weight.ts";
import type { ExperimentContext } from "../../definition.ts";
import type { ModelFiles } from "../../model-session.ts";
import { counted } from "../../notes.ts";
import { readText } from "../../text-file.ts";
import type { ExportConfig, ExportSizes } from "./config.ts";
import { GOLDEN_TOKENS, goldenPrompt } from "./golden.ts";
import type { ComparedText } from "./parity.ts";

/** Greedy tokens of a streamed model: each costs a pass over all weights. */
const STREAMED_TOKENS = 8;
/** Text of a streamed model: logits of large vocabularies are kept for all of it. */
const STREAMED_TEXT = { sequences: 2, positions: 64 };

/** Positions the reference takes at once. */
const REFERENCE_PREFILL = 16;

export interface ExportSource {
  readonly model: ModelFiles;
  readonly arch: DecoderArchitecture;
  /** In fp32. */
  readonly modelBytes: number;
  /** Small enough to be decoded into memory as a whole. */
  readonly held: boolean;
  /** Weights that the target stores in a different form from the checkpoint's. */
  readonly notes: readonly string[];
  /** As they ship. */
  readonly weights: ReadonlyMap<string, CompressedWeight | DeferredWeight>;
  /** Replays the fp32 model's logits on the texts below. */
  readonly reference: StepModel;
  readonly text: ComparedText;
  /** Of the golden vectors. */
  readonly golden: { readonly prompt: readonly number[]; readonly greedyTokens: number };
}

export function weightOf<W>({ weights }: { readonly weights: ReadonlyMap<string, W> }, name: string): W {
  const w = weights.get(name);
  if (!w) throw new EspalierError("model/missing-tensor", `there is no weight ${name}`);
  return w;
}

export const fp32Bytes = (arch: DecoderArchitecture): number => 4 * parameterCount(arch);

export async function exportSource(
  config: ExportConfig,
  sizes: ExportSizes,
  model: ModelFiles,
  { weights, notes }: Pick<ExportSource, "weights" | "notes">,
  context: ExperimentContext,
): Promise<ExportSource> {
  const arch = model.checkpoint.architecture;
  const modelBytes = fp32Bytes(arch);
  const held = modelBytes <= config.streamAboveBytes;
  const known = held
    ? await heldReference(config, sizes, model, weights, context)
    : await streamedReference(config, sizes, model, weights, context);
  return { model, arch, modelBytes, held, weights, notes, ...known };
}

/** Weights as a Core ML target stores them, and as the layout's processor takes them; tables that lie beside a package stay what they are. */
export async function weightsFor(
  config: ExportConfig,
  { layout }: ExportSizes,
  { checkpoint }: ModelFiles,
): Promise<Pick<ExportSource, "weights" | "notes">> {
  const target = targets[config.target];
  const stored = streamedWeights(checkpoint);
  const compute = layout === "neural-engine" ? "neural-engine" : "gpu";
  const notes: string[] = [];
  for (const { name, role } of weightList(checkpoint.architecture)) {
    const w = stored.get(name);
    if (!w || (layout === "neural-engine" && isRowTable(role))) continue;
    stored.set(name, weightFor(w, target, compute));
    const { note } = formFor(w.form, target, compute);
    if (note !== null) notes.push(note);
  }
  const way = target.attributeConstants
    ? `weights of \`espalier quantize --target ${config.target}\` need none of this`
    : "weights without --group-size need none of this, nor does --layout plain";
  const hint = notes.length > 0 ? [way] : [];
  return { weights: await withGains(stored), notes: [...counted(notes), ...hint] };
}

/** What was written, read as a step model by running the compared texts alone, a layer at a time. */
export async function replayed(
  engine: Engine,
  written: StoredModel,
  { reference, text }: ExportSource,
  context: number,
): Promise<StepModel> {
  const maxTokens = Math.min(text.checkTokens, reference.context - text.seed.length);
  const greedy = [...text.seed, ...(await generate(reference, text.seed, { maxTokens }))];
  const texts = [greedy, ...text.sequences].map((ids) => ({ ids: [...ids] }));
  return knownTextModel(written.arch.vocab, context, await streamedLogits(engine, written, texts));
}

type KnownReference = Pick<ExportSource, "reference" | "text" | "golden">;

/** The reference decodes; its logits are kept and its weights freed. */
async function heldReference(
  config: ExportConfig,
  sizes: ExportSizes,
  model: ModelFiles,
  weights: ReadonlyMap<string, CompressedWeight | DeferredWeight>,
  { engine, signal }: ExperimentContext,
): Promise<KnownReference> {
  const arch = model.checkpoint.architecture;
  const tensors = new Map<string, Tensor>();
  const tables = new Map<string, RowTable>();
  for (const { name, role } of weightList(arch)) {
    throwIfCancelled(signal);
    if (isRowTable(role)) tables.set(name, shippedTable(model.checkpoint, name));
    else tensors.set(name, await wholeWeight(weightOf({ weights }, name)));
  }
  const context = lastOf(sizes.contexts);
  const prefillLength = Math.min(REFERENCE_PREFILL, context);
  const free = await stepModel(engine, decoderWeights(arch, tensors, tables), { context, prefillLength });
  try {
    const text = await comparedText(config, sizes, model, free, signal);
    const prompt = goldenPrompt(text.sequences[0] ?? text.seed, functionsOf(sizes));
    const checked = Math.min(text.checkTokens, context - text.seed.length);
    const vectors = Math.min(GOLDEN_TOKENS, numberAt(sizes.contexts, 0) - prompt.length);
    const texts = [await greedyText(free, text.seed, checked, signal), await greedyText(free, prompt, vectors, signal)];
    for (const ids of text.sequences) texts.push(await greedyText(free, ids, 0, signal));
    return { reference: knownTextModel(arch.vocab, context, texts), text, golden: { prompt, greedyTokens: vectors } };
  } finally {
    await free.dispose();
  }
}

/** A text and the model's next `count` tokens, with the logits at every position. */
async function greedyText(
  model: StepModel,
  prompt: readonly number[],
  count: number,
  signal: AbortSignal | undefined,
): Promise<KnownText> {
  const ids = [...prompt];
  const logits: Float32Array[] = [];
  const session = model.open();
  try {
    while (logits.length < prompt.length + count) {
      throwIfCancelled(signal);
      if (logits.length === ids.length) ids.push(argmax(lastOf(logits)));
      const width = session.chunk(logits.length, ids.length - logits.length);
      const rows = await session.feed(ids.slice(logits.length, logits.length + width), logits.length);
      for (let r = 0; r < width; r++) logits.push(rows.slice(r * model.vocab, (r + 1) * model.vocab));
    }
    return { ids, logits };
  } finally {
    session.dispose();
  }
}

/** What calls there will be, before there is a plan. */
const functionsOf = ({ contexts, prefill }: ExportSizes): { context: number; width: number }[] =>
  contexts.flatMap((context) => [1, ...prefill.filter((w) => w < context)].map((width) => ({ context, width })));

/** Held-out text in pieces that fit the smallest context; none where none was given. */
async function heldOut(
  config: ExportConfig,
  { contexts }: ExportSizes,
  model: ModelFiles,
  most: { sequences: number; positions: number },
): Promise<number[][]> {
  if (config.text === undefined) return [];
  const context = Math.min(numberAt(contexts, 0), most.positions);
  const options = { separator: config.separator, limit: most.sequences, context, bos: config.bos };
  return sequencesFromText(await readText(config.text), model.tokenizer, options).map((s) => [...s.ids]);
}

/** What a text begins with; token 0 for a tokenizer that names nothing. */
function firstTokens({ bos = "auto" }: ExportConfig, { tokenizer }: ModelFiles): number[] {
  const { begin } = tokenizer.addedTokens(bos);
  return begin.length > 0 ? [...begin] : [tokenizer.startId ?? 0];
}

/** Held-out text, or the model's own; and the prompt of the greedy text. */
async function comparedText(
  config: ExportConfig,
  sizes: ExportSizes,
  model: ModelFiles,
  reference: StepModel,
  signal: AbortSignal | undefined,
): Promise<ComparedText> {
  const sequences = await heldOut(config, sizes, model, { sequences: 4, positions: 96 });
  const seed = sequences[0]?.slice(0, 24) ?? firstTokens(config, model);
  if (sequences.length === 0) {
    const maxTokens = Math.min(numberAt(sizes.contexts, 0), 96) - seed.length;
    sequences.push([...seed, ...(await generate(reference, seed, { maxTokens, signal }))]);
  }
  return { sequences, seed, checkTokens: config.checkTokens ?? 64 };
}

async function streamedReference(
  config: ExportConfig,
  sizes: ExportSizes,
  model: ModelFiles,
  weights: ReadonlyMap<string, CompressedWeight | DeferredWeight>,
  { engine, signal, log }: ExperimentContext,
): Promise<KnownReference> {
  const arch = model.checkpoint.architecture;
  const sequences = await heldOut(config, sizes, model, STREAMED_TEXT);
  const prompt = sequences[0] ? goldenPrompt(sequences[0], functionsOf(sizes)) : firstTokens(config, model);
  const count = Math.min(config.checkTokens ?? STREAMED_TOKENS, numberAt(sizes.contexts, 0) - prompt.length);
  const streamed = { arch, weights, table: (name: string) => shippedTable(model.checkpoint, name) };
  const compiled = new Map<string, Promise<Executable>>();
  const greedy: number[] = [];
  try {
    // Of one length throughout, so that blocks are compiled once; what lies behind a position does not reach it.
    const padded = (): number[] => [...prompt, ...greedy, ...Array(count - greedy.length).fill(prompt[0])];
    while (greedy.length < count) {
      const at = prompt.length + greedy.length - 1;
      const run = [{ ids: padded(), from: at, to: at + 1 }];
      const [known] = await streamedLogits(engine, streamed, run, { signal, compiled });
      greedy.push(argmax(known?.logits[at] as Float32Array));
      log?.(`greedy token ${greedy.length} of ${count}, a pass over all weights each`);
    }
    const own = [...prompt, ...greedy];
    if (sequences.length === 0) sequences.push(own);
    const texts = [own, ...sequences].map((ids) => ({ ids }));
    const known = await streamedLogits(engine, streamed, texts, { signal, compiled });
    return {
      reference: knownTextModel(arch.vocab, lastOf(sizes.contexts), known),
      text: { sequences, seed: prompt, checkTokens: count },
      golden: { prompt, greedyTokens: count },
    };
  } finally {
    for (const exe of compiled.values()) await (await exe).dispose();
  }
}
