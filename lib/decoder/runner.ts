/**
 * @file Runs a decoder layer by layer on an engine.
 *
 * Each distinct block shape is compiled once and run for every layer that has it. The caller holds
 * the stream at every layer boundary, so an ablation in layer ℓ re-runs only the layers from ℓ on.
 */

import { dim, numberAt } from "../elements.ts";
import { release } from "../engines/device-tensor.ts";
import type { Engine, Executable } from "../engines/engine.ts";
import { EspalierError } from "../errors.ts";
import type { MilFunction } from "../mil/program.ts";
import { i32, type Tensor } from "../mil/tensor.ts";
import { isKvSource, type LayerTensor } from "./architecture.ts";
import type { BlockTap } from "./block.ts";
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
import { type DecoderWeights, headWeight, layerWeights, perLayerRows, weight } from "./weights.ts";

/** Gates of one layer, each (batch, …) as `gateShape` says. */
export type Gates = Partial<Record<GateKind, Tensor>>;

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

  /** Runners of models of the same architecture may share `compiled`, since programs hold no weights. */
  constructor(engine: Engine, weights: DecoderWeights, compiled: Map<string, Promise<Executable>> = new Map()) {
    this.engine = engine;
    this.weights = weights;
    this.compiled = compiled;
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

  private archKey(): string {
    const { arch } = this.weights;
    const perLayer = arch.perLayer ? `${arch.layers.length}x${arch.perLayer.width}` : "";
    return `${arch.hidden},${arch.vocab},${arch.normEpsilon},${arch.normOffset},${arch.embeddingScale},${arch.finalSoftcap},${perLayer}`;
  }

  /** ids (batch, length) → the stream entering layer 0. Throws `input/token-range`. */
  async embed(ids: Int32Array, shape: SequenceShape): Promise<Stream> {
    const { arch } = this.weights;
    checkTokens(ids, arch.vocab);
    const exe = await this.executable(`embed|${this.archKey()}|${shape.batch}x${shape.length}`, () =>
      embedProgram(arch, shape),
    );
    const roles = arch.perLayer ? ["embedding", "perLayerContext", "perLayerContextNorm"] : ["embedding"];
    const out = await exe.run({
      ids: i32([shape.batch, shape.length], ids),
      ...Object.fromEntries(roles.map((role) => [role, this.at(weight(this.weights, role))])),
      ...(await perLayerRows(this.weights, ids, shape.batch)),
    });
    return {
      x: out.x as Tensor,
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
    for (const [role, w] of Object.entries(layerWeights(this.weights, index)))
      if (part === "block" || partOfRole(role as LayerTensor) === part) inputs[role] = this.at(w);
    for (const k of kinds) inputs[`gate_${k}`] = gates[k] as Tensor;
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
    const { output, postAttentionNorm } = layerWeights(this.weights, index);
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
  async nll({ x }: Stream, targets: Int32Array): Promise<Float32Array> {
    const nll = new Float32Array(targets.length);
    const make = (rows: number): MilFunction => lossProgram(this.weights.arch, rows, false);
    await this.headChunks(x, "nll", make, targets, {}, (out, at) => nll.set(float(out.nll), at));
    return nll;
  }

  /** Loss and choice at every position: nll, top1 (batch · length). Targets of positions without one may be 0. */
  async loss({ x }: Stream, targets: Int32Array): Promise<{ nll: Float32Array; top1: Int32Array }> {
    const nll = new Float32Array(targets.length);
    const top1 = new Int32Array(targets.length);
    await this.headChunks(
      x,
      "loss",
      (rows) => lossProgram(this.weights.arch, rows),
      targets,
      {},
      (out, at) => {
        nll.set(float(out.nll), at);
        top1.set(int(out.top1), at);
      },
    );
    return { nll, top1 };
  }

  /** As `loss`, compared with the base model's logits (batch · length, vocab): nll of both, kl,
   * agreement 0 or 1. */
  async compare(
    { x }: Stream,
    targets: Int32Array,
    baseLogits: (from: number, rows: number) => Promise<Tensor>,
  ): Promise<{ nll: Float32Array; baseNll: Float32Array; kl: Float32Array; agree: Int32Array }> {
    const n = targets.length;
    const [nll, baseNll, kl] = [new Float32Array(n), new Float32Array(n), new Float32Array(n)];
    const result = { nll, baseNll, kl, agree: new Int32Array(n) };
    const make = (rows: number): MilFunction => comparisonProgram(this.weights.arch, rows);
    await this.headChunks(x, "comparison", make, targets, { baseLogits }, (out, at) => {
      result.nll.set(float(out.nll), at);
      result.baseNll.set(float(out.baseNll), at);
      result.kl.set(float(out.kl), at);
      result.agree.set(int(out.agree), at);
    });
    return result;
  }

  /** Logits of rows `from` … of the stream, (rows, vocab). */
  async logits({ x }: Stream, from = 0, rows = rowsOf(x) - from): Promise<Tensor> {
    const exe = await this.executable(`logits|${this.archKey()}|${rows}`, () => logitsProgram(this.weights.arch, rows));
    const out = await exe.run({ x: rowSlice(x, from, rows), ...this.headInputs() });
    return out.logits as Tensor;
  }

  /** The stream as the head's linear layer sees it: normed, (rows, hidden). */
  async headInput({ x }: Stream): Promise<Tensor> {
    const rows = rowsOf(x);
    const exe = await this.executable(`head input|${this.archKey()}|${rows}`, () =>
      headInputProgram(this.weights.arch, rows),
    );
    const out = await exe.run({ x: rowSlice(x, 0, rows), finalNorm: this.at(weight(this.weights, "finalNorm")) });
    return out.n as Tensor;
  }

  /** A runner with only the head, for logits of stored streams: the other weights can be freed. */
  headAlone(): DecoderRunner {
    const { arch } = this.weights;
    const names = ["finalNorm", arch.tiedHead ? "embedding" : "head"];
    const tensors = new Map(names.map((name) => [name, weight(this.weights, name)]));
    return new DecoderRunner(this.engine, { arch, tensors, tables: new Map() }, this.compiled);
  }

  private headInputs(): Record<string, Tensor> {
    return { finalNorm: this.at(weight(this.weights, "finalNorm")), head: this.at(headWeight(this.weights)) };
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

function float(t: Tensor | undefined): Float32Array {
  if (t?.data instanceof Float32Array) return t.data;
  throw new EspalierError("engine/failed", "the engine gave back no fp32 output");
}

function int(t: Tensor | undefined): Int32Array {
  if (t?.data instanceof Int32Array) return t.data;
  throw new EspalierError("engine/failed", "the engine gave back no int32 output");
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
