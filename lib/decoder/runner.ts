/**
 * @file Runs a decoder layer by layer on an engine.
 *
 * Each distinct block shape is compiled once and run for every layer that has it. The caller holds
 * the stream at every layer boundary, so an ablation in layer ℓ re-runs only the layers from ℓ on.
 * Of a model in pages a layer is read when it runs, and the head works through the vocabulary in parts.
 */

import { dim, named, numberAt } from "../elements.ts";
import { release } from "../engines/device-tensor.ts";
import type { Engine, Executable } from "../engines/engine.ts";
import { floatData, intData } from "../engines/outputs.ts";
import { EspalierError } from "../errors.ts";
import type { MilFunction } from "../mil/program.ts";
import { f32, float32Data, i32, type Tensor } from "../mil/tensor.ts";
import { type DecoderArchitecture, isKvSource, type LayerTensor } from "./architecture.ts";
import type { BlockTap } from "./block.ts";
import { ComparisonInParts, headPartProgram, LossInParts, targetsWithin, vocabularyParts } from "./head-in-parts.ts";
import {
  type BlockPart,
  blockProgram,
  comparisonProgram,
  embedProgram,
  type GateKind,
  headInputProgram,
  logitsProgram,
  lossProgram,
  partOfRole,
  type SequenceShape,
  withoutHeadsProgram,
} from "./sequence-programs.ts";
import { alongFirstAxis, atBatch, type Stream } from "./stream.ts";
import {
  type DecoderWeights,
  headName,
  headPart,
  headWeight,
  layerWeights,
  perLayerRows,
  type RowTable,
  type VocabularyPart,
  weight,
} from "./weights.ts";

/** Gates of one layer, each (batch, …) as `gateShape` says. */
export type Gates = Partial<Record<GateKind, Tensor>>;

/** Logits of a base model for rows `from` …, (rows, vocab); of a part of the vocabulary if one is named, (rows, part). */
export type BaseLogits = (from: number, rows: number, part?: VocabularyPart) => Promise<Tensor>;

/** Embeddings read from a table come in steps of so many rows, so that few programs serve all texts. */
const ROWS_STEP = 256;

/** Rows of logits the head makes at once: few enough for the cache, enough for an efficient
 * product, and always below 2^23 elements. */
function headRows(vocab: number, tokensPerCall: number): number {
  const [cached, efficient, most] = [2 ** 18 / vocab, tokensPerCall / 8, 2 ** 23 / vocab];
  return Math.max(1, Math.floor(Math.min(most, Math.max(cached, efficient))));
}

export class DecoderRunner {
  readonly weights: DecoderWeights;
  readonly engine: Engine;
  private readonly compiled: Map<string, Promise<Executable>>;
  private readonly held = new Map<Tensor, Tensor>();
  private lastPart: { readonly from: number; readonly head: Tensor } | null = null;

  /** Runners of models of the same architecture may share `compiled`, since programs hold no weights. */
  constructor(engine: Engine, weights: DecoderWeights, compiled: Map<string, Promise<Executable>> = new Map()) {
    this.engine = engine;
    this.weights = weights;
    this.compiled = compiled;
  }

  /** Tokens that a call should hold: more where each batch reads the weights again. */
  get tokensPerBatch(): number {
    return this.engine.tokensPerCall * (this.weights.pages ? 4 : 1);
  }

  get programs(): Map<string, Promise<Executable>> {
    return this.compiled;
  }

  /** Uploads the weights to the engine's device, where runs use them until `letGo`. They must not
   * change until then. */
  async hold(): Promise<void> {
    for (const t of this.weights.tensors.values()) if (!this.held.has(t)) this.held.set(t, await this.engine.upload(t));
  }

  letGo(): void {
    this.lastPart = null;
    for (const [host, t] of this.held) if (t !== host) release(t);
    this.held.clear();
  }

  /** The uploaded copy of a weight, else the weight in memory. */
  private at(w: Tensor): Tensor {
    return this.held.get(w) ?? w;
  }

  private executable(key: string, make: () => MilFunction): Promise<Executable> {
    let found = this.compiled.get(key);
    if (!found) {
      found = this.engine.compile(make());
      this.compiled.set(key, found);
    }
    return found;
  }

  private archKey(arch: DecoderArchitecture = this.weights.arch): string {
    const perLayer = arch.perLayer ? `${arch.layers.length}x${arch.perLayer.width}` : "";
    return `${arch.hidden},${arch.vocab},${arch.normEpsilon},${arch.normOffset},${arch.embeddingScale},${arch.logitScale},${arch.finalSoftcap},${perLayer}`;
  }

  /** ids (batch, length) → the stream entering layer 0. Throws `input/token-range`. */
  async embed(ids: Int32Array, shape: SequenceShape): Promise<Stream> {
    checkTokens(ids, this.weights.arch.vocab);
    const { tables, tensors } = this.weights;
    const table = tables.get("embedding");
    const { embedding, numbers } =
      table && !tensors.has("embedding")
        ? await rowsOfTokens(table, ids)
        : { embedding: this.at(weight(this.weights, "embedding")), numbers: ids };
    const arch = { ...this.weights.arch, vocab: dim(embedding.shape, 0) };
    const exe = await this.executable(`embed|${this.archKey(arch)}|${shape.batch}x${shape.length}`, () =>
      embedProgram(arch, shape),
    );
    const roles = arch.perLayer ? ["perLayerContext", "perLayerContextNorm"] : [];
    const out = await exe.run({
      ids: i32([shape.batch, shape.length], numbers),
      embedding,
      ...Object.fromEntries(roles.map((role) => [role, this.at(weight(this.weights, role))])),
      ...(await perLayerRows(this.weights, ids, shape.batch)),
    });
    return {
      x: named(out, "x"),
      perLayer: out.perLayer ? alongFirstAxis(out.perLayer) : [],
      shared: new Map(),
    };
  }

  /** One block. */
  async block(index: number, stream: Stream, gates: Gates = {}): Promise<Stream> {
    return (await this.part("block", index, stream, { gates })).stream;
  }

  /** A block or one half of it; returns the stream and the requested inner values. */
  async part<T extends BlockTap = never>(
    part: BlockPart,
    index: number,
    stream: Stream,
    options: { gates?: Gates; taps?: readonly T[] } = {},
  ): Promise<{ stream: Stream } & Record<T, Tensor>> {
    const { arch } = this.weights;
    const layer = arch.layers[index];
    if (!layer)
      throw new EspalierError("input/invalid", `there is no layer ${index}; the model has ${arch.layers.length}`);
    const { gates = {}, taps = [] } = options;
    const { x } = stream;
    const [batch, length] = x.shape as [number, number, number];
    const kinds = (Object.keys(gates) as GateKind[]).sort();
    const gives = isKvSource(arch, index) ? "gives" : "";
    const key = `${part}|${this.archKey()}|${JSON.stringify(layer)}${gives}|${batch}x${length}|${kinds}|${taps}`;
    const exe = await this.executable(key, () => blockProgram(arch, index, { batch, length }, kinds, part, taps));
    const inputs: Record<string, Tensor> = { x };
    for (const [role, w] of Object.entries(await layerWeights(this.weights, index)))
      if (part === "block" || partOfRole(role as LayerTensor) === part) inputs[role] = this.at(w);
    for (const k of kinds) inputs[`gate_${k}`] = named(gates, k);
    const vectors = stream.perLayer[index];
    if (vectors && part !== "attention") inputs.perLayer = atBatch(vectors, batch);
    if (layer.kvSource !== null && part !== "mlp") {
      const kv = stream.shared.get(layer.kvSource);
      if (!kv)
        throw new EspalierError(
          "input/invalid",
          `layer ${index} reads layer ${layer.kvSource}, which has not been run`,
        );
      inputs.sharedKeys = atBatch(kv.k, batch);
      inputs.sharedValues = atBatch(kv.v, batch);
    }
    const { y, keys, values, ...inside } = await exe.run(inputs);
    const shared = keys && values ? new Map(stream.shared).set(index, { k: keys, v: values }) : stream.shared;
    return { ...(inside as Record<T, Tensor>), stream: { ...stream, x: y as Tensor, shared } };
  }

  /** Blocks `from` … L − 1. */
  async blocks(stream: Stream, from = 0): Promise<Stream> {
    let y = stream;
    for (let i = from; i < this.weights.arch.layers.length; i++) y = await this.block(i, y);
    return y;
  }

  /**
   * The stream between attention and MLP of layer `index`, once for every list of heads to remove,
   * side by side along the batch axis. `attended` is the tap of that name on the same stream; the
   * lists are of equal length.
   */
  async withoutHeads(
    index: number,
    { x, ...rest }: Stream,
    attended: Tensor,
    lists: readonly (readonly number[])[],
  ): Promise<Stream> {
    const { arch } = this.weights;
    const [batch, length] = x.shape as [number, number, number];
    const [copies, each] = [lists.length, lists[0]?.length ?? 0];
    const layer = arch.layers[index];
    const key = `without heads|${this.archKey()}|${JSON.stringify(layer)}|${batch}x${length}|${copies}x${each}`;
    const exe = await this.executable(key, () => withoutHeadsProgram(arch, index, { batch, length }, copies, each));
    const { output, postAttentionNorm } = await layerWeights(this.weights, index);
    const { y } = await exe.run({
      x,
      attended,
      without: i32([copies * each], Int32Array.from(lists.flat())),
      output: this.at(output as Tensor),
      ...(postAttentionNorm ? { postAttentionNorm: this.at(postAttentionNorm) } : {}),
    });
    return { ...rest, x: y as Tensor };
  }

  /** Loss at every position, (batch · length). Targets of positions without one may be 0. */
  async nll(stream: Stream, targets: Int32Array): Promise<Float32Array> {
    if (this.headIsPaged) return (await this.lossInParts(stream, targets)).nll;
    const nll = new Float32Array(targets.length);
    const make = (rows: number): MilFunction => lossProgram(this.weights.arch, rows, false);
    await this.headChunks(stream.x, "nll", make, targets, {}, (out, at) => nll.set(floatData(out.nll), at));
    return nll;
  }

  /** Loss and choice at every position: nll, top1 (batch · length). Targets of positions without one may be 0. */
  async loss(stream: Stream, targets: Int32Array): Promise<{ nll: Float32Array; top1: Int32Array }> {
    if (this.headIsPaged) return this.lossInParts(stream, targets);
    const nll = new Float32Array(targets.length);
    const top1 = new Int32Array(targets.length);
    await this.headChunks(
      stream.x,
      "loss",
      (rows) => lossProgram(this.weights.arch, rows),
      targets,
      {},
      (out, at) => {
        nll.set(floatData(out.nll), at);
        top1.set(intData(out.top1), at);
      },
    );
    return { nll, top1 };
  }

  /** As `loss`, compared with the base model's logits (batch · length, vocab): nll of both, kl,
   * agreement 0 or 1. */
  async compare(
    stream: Stream,
    targets: Int32Array,
    baseLogits: BaseLogits,
  ): Promise<{ nll: Float32Array; baseNll: Float32Array; kl: Float32Array; agree: Int32Array }> {
    if (this.headIsPaged) {
      const parts = new ComparisonInParts(targets);
      await this.headInParts(stream, targets, (out, at, part) => parts.add(out, at, part), baseLogits);
      return parts.result();
    }
    const n = targets.length;
    const [nll, baseNll, kl] = [new Float32Array(n), new Float32Array(n), new Float32Array(n)];
    const result = { nll, baseNll, kl, agree: new Int32Array(n) };
    const make = (rows: number): MilFunction => comparisonProgram(this.weights.arch, rows);
    await this.headChunks(stream.x, "comparison", make, targets, { baseLogits }, (out, at) => {
      result.nll.set(floatData(out.nll), at);
      result.baseNll.set(floatData(out.baseNll), at);
      result.kl.set(floatData(out.kl), at);
      result.agree.set(intData(out.agree), at);
    });
    return result;
  }

  /** Logits of rows `from` … of the stream, (rows, vocab); of a part of the vocabulary, (rows, part). */
  async logits({ x }: Stream, from = 0, rows = rowsOf(x) - from, part?: VocabularyPart): Promise<Tensor> {
    const chunk = rowSlice(x, from, rows);
    if (part) return this.logitsOf(chunk, await this.headPart(part));
    if (!this.headIsPaged) return this.logitsOf(chunk, this.at(headWeight(this.weights)));
    const { vocab } = this.weights.arch;
    const logits = new Float32Array(rows * vocab);
    for (const each of vocabularyParts(vocab)) {
      const values = float32Data(await this.logitsOf(chunk, await this.headPart(each)));
      const width = each.to - each.from;
      for (let r = 0; r < rows; r++) logits.set(values.subarray(r * width, (r + 1) * width), r * vocab + each.from);
    }
    return f32([rows, vocab], logits);
  }

  /** x (rows, hidden), head (vocab or a part, hidden) → (rows, vocab or a part). */
  private async logitsOf(x: Tensor, head: Tensor): Promise<Tensor> {
    const [arch, rows] = [{ ...this.weights.arch, vocab: dim(head.shape, 0) }, dim(x.shape, 0)];
    const exe = await this.executable(`logits|${this.archKey(arch)}|${rows}`, () => logitsProgram(arch, rows));
    const out = await exe.run({ x, finalNorm: this.at(weight(this.weights, "finalNorm")), head });
    return named(out, "logits");
  }

  /** The stream as the head's linear layer sees it: normed, (rows, hidden). */
  async headInput({ x }: Stream): Promise<Tensor> {
    const rows = rowsOf(x);
    const exe = await this.executable(`head input|${this.archKey()}|${rows}`, () =>
      headInputProgram(this.weights.arch, rows),
    );
    const out = await exe.run({ x: rowSlice(x, 0, rows), finalNorm: this.at(weight(this.weights, "finalNorm")) });
    return named(out, "n");
  }

  /** A runner with only the head, for logits of stored streams: the other weights can be freed. */
  headAlone(): DecoderRunner {
    const { arch } = this.weights;
    const { pages } = this.weights;
    const tensors = new Map([["finalNorm", weight(this.weights, "finalNorm")]]);
    if (!this.headIsPaged) tensors.set(headName(arch), headWeight(this.weights));
    const head = { arch, tensors, tables: new Map(), ...(pages ? { pages } : {}) };
    return new DecoderRunner(this.engine, head, this.compiled);
  }

  private headInputs(): Record<string, Tensor> {
    return { finalNorm: this.at(weight(this.weights, "finalNorm")), head: this.at(headWeight(this.weights)) };
  }

  private get headIsPaged(): boolean {
    const { arch, pages, tensors } = this.weights;
    return pages !== undefined && !tensors.has(headName(arch));
  }

  /** The last part is kept: rows ask for the same one in turn. */
  private async headPart(part: VocabularyPart): Promise<Tensor> {
    const { lastPart } = this;
    if (lastPart?.from === part.from && dim(lastPart.head.shape, 0) === part.to - part.from) return lastPart.head;
    const head = await headPart(this.weights, part);
    this.lastPart = { from: part.from, head };
    return head;
  }

  private async lossInParts(stream: Stream, targets: Int32Array): Promise<{ nll: Float32Array; top1: Int32Array }> {
    const parts = new LossInParts(targets);
    await this.headInParts(stream, targets, (out, at, part) => parts.add(out, at, part));
    return parts.result();
  }

  /** Every row of the stream with every part of the vocabulary, one part after the other. */
  private async headInParts(
    { x }: Stream,
    targets: Int32Array,
    take: (out: Record<string, Tensor>, at: number, part: VocabularyPart) => void,
    baseLogits?: BaseLogits,
  ): Promise<void> {
    const { arch } = this.weights;
    const total = rowsOf(x);
    for (const part of vocabularyParts(arch.vocab)) {
      const head = await this.headPart(part);
      const width = part.to - part.from;
      const limit = headRows(width, this.engine.tokensPerCall);
      for (let at = 0; at < total; at += limit) {
        const rows = Math.min(limit, total - at);
        const key = `head part|${this.archKey()}|${width}|${rows}|${baseLogits !== undefined}`;
        const exe = await this.executable(key, () => headPartProgram(arch, part, rows, baseLogits !== undefined));
        const out = await exe.run({
          x: rowSlice(x, at, rows),
          finalNorm: this.at(weight(this.weights, "finalNorm")),
          head,
          targets: targetsWithin(targets.subarray(at, at + rows), part),
          ...(baseLogits ? { baseLogits: await baseLogits(at, rows, part) } : {}),
        });
        take(out, at, part);
      }
    }
  }

  private async headChunks(
    x: Tensor,
    kind: string,
    make: (rows: number) => MilFunction,
    targets: Int32Array,
    extra: Record<string, (from: number, rows: number) => Promise<Tensor>>,
    take: (out: Record<string, Tensor>, at: number) => void,
  ): Promise<void> {
    const total = rowsOf(x);
    const limit = headRows(this.weights.arch.vocab, this.engine.tokensPerCall);
    for (let at = 0; at < total; at += limit) {
      const rows = Math.min(limit, total - at);
      const exe = await this.executable(`${kind}|${this.archKey()}|${rows}`, () => make(rows));
      const more: Record<string, Tensor> = {};
      for (const [name, read] of Object.entries(extra)) more[name] = await read(at, rows);
      const inputs = { x: rowSlice(x, at, rows), targets: i32([rows], targets.subarray(at, at + rows)) };
      take(await exe.run({ ...inputs, ...this.headInputs(), ...more }), at);
    }
  }

  async dispose(): Promise<void> {
    this.letGo();
    for (const exe of this.compiled.values()) await (await exe).dispose();
    this.compiled.clear();
  }
}

const rowsOf = (x: Tensor): number => x.data.length / dim(x.shape, -1);

/** Rows `from` … `from + rows` of x (…, hidden) as (rows, hidden), without copying. */
function rowSlice(x: Tensor, from: number, rows: number): Tensor {
  const width = dim(x.shape, -1);
  return { dtype: x.dtype, shape: [rows, width], data: x.data.subarray(from * width, (from + rows) * width) };
}

/** The rows of the tokens that occur, padded to a whole number of steps, and `ids` as numbers of these rows. */
async function rowsOfTokens(table: RowTable, ids: Int32Array): Promise<{ embedding: Tensor; numbers: Int32Array }> {
  const tokens = [...new Set(ids)];
  const numberOf = new Map(tokens.map((token, i) => [token, i]));
  const width = dim(table.shape, 1);
  const padded = Math.ceil(tokens.length / ROWS_STEP) * ROWS_STEP;
  const embedding = new Float32Array(padded * width);
  embedding.set(await table.rows(tokens));
  return { embedding: f32([padded, width], embedding), numbers: ids.map((token) => numberOf.get(token) ?? 0) };
}

/** Throws `input/token-range` naming the first id outside the vocabulary. */
export function checkTokens(ids: ArrayLike<number>, vocab: number): void {
  for (let i = 0; i < ids.length; i++) {
    const id = numberAt(ids, i);
    if (!(id >= 0 && id < vocab)) {
      throw new EspalierError("input/token-range", `token ${i} is ${id}, outside the vocabulary of ${vocab}`, {
        hint: "The tokenizer does not belong to this model, or the vocabulary was pruned.",
      });
    }
  }
}
