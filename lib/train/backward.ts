/**
 * @file A decoder forwards and backwards, half a block at a time.
 *
 * The forward pass keeps only the streams at the 2 L boundaries. The backward pass computes every
 * half again and passes its gradients on at once (`half-gradients.ts`), so memory holds the streams
 * and one half's inner values instead of those of all layers. The head runs in pieces of rows. This
 * costs one forward pass more than a single program.
 */

import { isTrained, type LayerArchitecture, type LayerTensor } from "../decoder/architecture.ts";
import type { BlockTap } from "../decoder/block.ts";
import { DecoderRunner } from "../decoder/runner.ts";
import {
  embedProgram,
  type GateKind,
  gateShape,
  partOfRole,
  type SequenceShape,
} from "../decoder/sequence-programs.ts";
import { atBatch, type Stream } from "../decoder/stream.ts";
import { type DecoderWeights, headName, headPart, layerWeights, perLayerRows, weight } from "../decoder/weights.ts";
import { dim, f32At, itemAt, lastOf, named } from "../elements.ts";
import type { Engine, Executable } from "../engines/engine.ts";
import { EspalierError } from "../errors.ts";
import { gradients, inline } from "../mil/autodiff.ts";
import { Builder } from "../mil/builder.ts";
import { removeDeadCode } from "../mil/passes/dead-code.ts";
import type { MilFunction, Value } from "../mil/program.ts";
import { f32, float32Data, i32, type Tensor } from "../mil/tensor.ts";
import { fp32 } from "../mil/types.ts";
import { type BlockHalf, gatesOfHalf, halfGradientProgram } from "./half-gradients.ts";
import { headGradientProgram, type TeacherForm } from "./head-gradients.ts";
import type { Objective } from "./training-program.ts";

/** The teacher's predictions for the current rows. */
export type Teacher =
  | { readonly kind: "logits"; logits(from: number, rows: number): Promise<Tensor> }
  | {
      readonly kind: "top";
      readonly ids: Int32Array; // (rows, k)
      readonly logP: Float32Array; // (rows, k)
      readonly rest: Float32Array; // (rows)
      readonly top: number;
    };

export interface ForwardTape {
  readonly ids: Int32Array;
  readonly shape: SequenceShape;
  /** The stream entering each half, attention and MLP in turn: 2 L. */
  readonly entering: readonly Stream[];
  readonly last: Stream;
}

export interface HeadResult {
  readonly loss: number;
  readonly crossEntropy: number;
  readonly divergence: number | null;
}

/** Low-rank adapters of matrices, by flat name. */
export interface Adapters {
  readonly rank: number;
  /** W = W₀ + scale · B A. */
  readonly scale: number;
  readonly pairs: ReadonlyMap<string, { readonly a: Tensor; readonly b: Tensor }>;
}

export interface BackwardOptions {
  /** Flat names of the tensors whose gradients to compute. */
  readonly trained: ReadonlySet<string>;
  readonly adapters?: Adapters | undefined;
  /** Gates whose gradients at 1 to compute, and the callback that receives them: (batch, …) as in
   * `gateShape`. */
  readonly gates?:
    | { readonly kinds: readonly GateKind[]; hear(layer: number, kind: GateKind, gradient: Tensor): void }
    | undefined;
  /** Called with the gradient of each half's output stream. */
  readonly onStream?: ((layer: number, half: BlockHalf, gradient: Tensor) => Promise<void>) | undefined;
}

/** Called with the gradient of a tensor by flat name; for adapters, `<name>.a` and `<name>.b`. May
 * keep the array. */
export type OnGradient = (name: string, gradient: Float32Array) => void;

/** Called with the input of a half's last matrix, (batch, length, columns), and the stream entering
 * the half. */
export type OnInput = (layer: number, half: BlockHalf, input: Tensor, entering: Tensor) => Promise<void>;

/** The input of the output projection, and of the down projection. */
export const lastInput = { attention: "attended", mlp: "inner" } as const satisfies Record<BlockHalf, BlockTap>;

/** Rows of logits at once: an intermediate of 32 MiB. */
const headRows = (vocab: number): number => Math.max(16, Math.floor(2 ** 23 / vocab));

export class Backward {
  readonly runner: DecoderRunner;
  private readonly engine: Engine;
  private readonly weights: DecoderWeights;
  private readonly options: BackwardOptions;
  private readonly compiled = new Map<string, Promise<Executable>>();

  constructor(engine: Engine, weights: DecoderWeights, options: BackwardOptions) {
    this.engine = engine;
    this.weights = weights;
    this.options = options;
    this.runner = new DecoderRunner(engine, weights);
  }

  private executable(key: string, make: () => MilFunction): Promise<Executable> {
    const found = this.compiled.get(key) ?? this.engine.compile(make());
    this.compiled.set(key, found);
    return found;
  }

  async forward(ids: Int32Array, shape: SequenceShape, onInput?: OnInput): Promise<ForwardTape> {
    const entering: Stream[] = [];
    let stream = await this.runner.embed(ids, shape);
    for (let l = 0; l < this.weights.arch.layers.length; l++) {
      for (const half of ["attention", "mlp"] as const) {
        entering.push(stream);
        const tap = lastInput[half];
        const out = await this.runner.part(half, l, stream, onInput ? { taps: [tap] } : {});
        ({ stream } = out);
        await onInput?.(l, half, out[tap], lastOf(entering).x);
      }
    }
    return { ids, shape, entering, last: stream };
  }

  /** The loss and its gradient with respect to the last stream (batch · length, hidden). */
  async head(
    tape: ForwardTape,
    targets: Int32Array,
    tokenWeights: Float32Array,
    objective: Objective,
    teacher: Teacher | null,
    onGradient: OnGradient,
  ): Promise<HeadResult & { readonly dx: Float32Array }> {
    const { arch } = this.weights;
    const { trained } = this.options;
    const matrixName = headName(arch);
    const head = await headPart(this.weights, { from: 0, to: arch.vocab });
    const wants = { norm: trained.has("finalNorm"), head: trained.has(matrixName) };
    const form: TeacherForm = teacher === null ? "none" : teacher.kind === "logits" ? "logits" : { top: teacher.top };
    const x = float32Data(tape.last.x);
    const dx = new Float32Array(x.length);
    const total = targets.length;
    const most = headRows(arch.vocab);
    const sums = { loss: 0, crossEntropy: 0, divergence: 0 };
    for (let from = 0; from < total; from += most) {
      const rows = Math.min(most, total - from);
      const key = `head ${rows} ${JSON.stringify(form)}`;
      const exe = await this.executable(key, () => headGradientProgram(arch, rows, objective, form, wants));
      const to = from + rows;
      const out = await exe.run({
        x: f32([rows, arch.hidden], x.subarray(from * arch.hidden, to * arch.hidden)),
        finalNorm: weight(this.weights, "finalNorm"),
        head,
        targets: i32([rows], targets.subarray(from, to)),
        tokenWeights: f32([rows], tokenWeights.subarray(from, to)),
        ...(await teacherInputs(teacher, from, rows)),
      });
      for (const name of ["loss", "crossEntropy", "divergence"] as const) {
        const t = out[name];
        if (t) sums[name] += float32Data(t)[0] ?? Number.NaN;
      }
      dx.set(float32Data(named(out, "dx")), from * arch.hidden);
      if (out.d_finalNorm) onGradient("finalNorm", float32Data(out.d_finalNorm));
      if (out.d_head) onGradient(matrixName, float32Data(out.d_head));
    }
    return { ...sums, divergence: teacher ? sums.divergence : null, dx };
  }

  /** Propagates the gradient of the last stream to all trained tensors. */
  async back(tape: ForwardTape, last: Float32Array, onGradient: OnGradient): Promise<void> {
    const { arch } = this.weights;
    const { trained, adapters, gates, onStream } = this.options;
    const { batch, length } = tape.shape;
    let dy = f32([batch, length, arch.hidden], last);
    const perLayer = new Map<number, Float32Array>();
    const shared = new Map<number, { k: Float32Array; v: Float32Array }>();
    for (let l = arch.layers.length - 1; l >= 0; l--) {
      const own = await layerWeights(this.weights, l);
      for (const half of ["mlp", "attention"] as const) {
        const roles = (Object.keys(own) as LayerTensor[]).filter((role) => partOfRole(role) === half);
        const tensors = roles.filter((role) => trained.has(`L${l}_${role}`));
        const adapted = roles.filter((role) => adapters?.pairs.has(`L${l}_${role}`));
        await onStream?.(l, half, dy);
        const stream = itemAt(tape.entering, 2 * l + (half === "mlp" ? 1 : 0));
        const inputs: Record<string, Tensor> = { x: stream.x, dy };
        for (const role of roles) inputs[role] = named(own, role);
        for (const role of adapted) {
          const pair = adapters?.pairs.get(`L${l}_${role}`);
          if (pair) Object.assign(inputs, { [`a_${role}`]: pair.a, [`b_${role}`]: pair.b });
        }
        const kinds = gatesOfHalf[half].filter((kind) => gates?.kinds.includes(kind));
        for (const kind of kinds) inputs[`gate_${kind}`] = openGate(kind, itemAt(arch.layers, l), batch);
        const vectors = stream.perLayer[l];
        if (half === "mlp" && vectors) inputs.perLayer = atBatch(vectors, batch);
        const source = arch.layers[l]?.kvSource ?? null;
        if (half === "attention") this.sharedInputs(inputs, stream, l, source, batch, shared);
        const { rank, scale } = adapters ?? { rank: 0, scale: 0 };
        const key = `${half} ${JSON.stringify(arch.layers[l])} ${"dKeys" in inputs} ${batch}x${length} ${tensors} ${kinds} ${adapted}`;
        const exe = await this.executable(key, () =>
          halfGradientProgram(arch, l, tape.shape, half, { tensors, gates: kinds, adapters: adapted, rank, scale }),
        );
        const out = await exe.run(inputs);
        dy = named(out, "dx");
        for (const role of tensors) onGradient(`L${l}_${role}`, float32Data(named(out, `d_${role}`)));
        for (const kind of kinds) gates?.hear(l, kind, named(out, `d_gate_${kind}`));
        for (const role of adapted) {
          onGradient(`L${l}_${role}.a`, float32Data(named(out, `da_${role}`)));
          onGradient(`L${l}_${role}.b`, float32Data(named(out, `db_${role}`)));
        }
        if (out.dPerLayer) perLayer.set(l, float32Data(out.dPerLayer));
        if (out.dSharedKeys && out.dSharedValues && source !== null)
          addShared(shared, source, float32Data(out.dSharedKeys), float32Data(out.dSharedValues));
      }
    }
    await this.embedding(tape, dy, perLayer, onGradient);
  }

  /** Keys and values that the half reads, and the gradients from later readers of those it
   * produces. */
  private sharedInputs(
    inputs: Record<string, Tensor>,
    stream: Stream,
    l: number,
    source: number | null,
    batch: number,
    shared: ReadonlyMap<number, { k: Float32Array; v: Float32Array }>,
  ): void {
    const { arch } = this.weights;
    if (source !== null) {
      const kv = stream.shared.get(source);
      if (!kv) throw new EspalierError("internal/invariant", `internal: layer ${l} has no keys of layer ${source}`);
      inputs.sharedKeys = atBatch(kv.k, batch);
      inputs.sharedValues = atBatch(kv.v, batch);
      return;
    }
    const heard = shared.get(l);
    const layer = arch.layers[l];
    if (!heard || !layer) return;
    const length = dim(stream.x.shape, 1);
    const shape = [batch, layer.kvGroups, length, layer.headDim];
    inputs.dKeys = f32(shape, heard.k);
    inputs.dValues = f32(shape, heard.v);
  }

  /** Into the embedding, and into the sources of per-layer vectors if there are any. */
  private async embedding(
    tape: ForwardTape,
    dy: Tensor,
    perLayer: ReadonlyMap<number, Float32Array>,
    onGradient: OnGradient,
  ): Promise<void> {
    const { arch } = this.weights;
    const wanted = ["embedding", "perLayerContext", "perLayerContextNorm"].filter(
      (role) => this.options.trained.has(role) && isTrained(role as "embedding"),
    );
    if (wanted.length === 0) return;
    const { batch, length } = tape.shape;
    const key = `embed ${batch}x${length} ${wanted}`;
    const exe = await this.executable(key, () => embedGradientProgram(this.weights, tape.shape, wanted));
    const inputs: Record<string, Tensor> = { ids: i32([batch, length], tape.ids), dx: dy };
    for (const role of arch.perLayer ? ["embedding", "perLayerContext", "perLayerContextNorm"] : ["embedding"])
      inputs[role] = weight(this.weights, role);
    if (arch.perLayer) {
      const each = batch * length * arch.perLayer.width;
      const all = new Float32Array(arch.layers.length * each);
      for (const [l, values] of perLayer) all.set(values, l * each);
      inputs.dPerLayer = f32([arch.layers.length, batch, length, arch.perLayer.width], all);
      Object.assign(inputs, await perLayerRows(this.weights, tape.ids, batch));
    }
    const out = await exe.run(inputs);
    for (const role of wanted) onGradient(role, float32Data(named(out, `d_${role}`)));
  }

  async dispose(): Promise<void> {
    for (const exe of this.compiled.values()) await (await exe).dispose();
    await this.runner.dispose();
  }
}

function openGate(kind: GateKind, layer: LayerArchitecture, batch: number): Tensor {
  const shape = gateShape(kind, layer, batch);
  return f32(shape, new Float32Array(shape.reduce((n, d) => n * d, 1)).fill(1));
}

async function teacherInputs(teacher: Teacher | null, from: number, rows: number): Promise<Record<string, Tensor>> {
  if (teacher === null) return {};
  if (teacher.kind === "logits") return { teacherLogits: await teacher.logits(from, rows) };
  const { top } = teacher;
  const [a, z] = [from * top, (from + rows) * top];
  return {
    teacherIds: i32([rows, top], teacher.ids.subarray(a, z)),
    teacherLogP: f32([rows, top], teacher.logP.subarray(a, z)),
    teacherRest: f32([rows], teacher.rest.subarray(from, from + rows)),
  };
}

function addShared(
  shared: Map<number, { k: Float32Array; v: Float32Array }>,
  source: number,
  k: Float32Array,
  v: Float32Array,
): void {
  const before = shared.get(source);
  if (!before) {
    shared.set(source, { k: k.slice(), v: v.slice() });
    return;
  }
  for (let i = 0; i < k.length; i++) {
    before.k[i] = f32At(before.k, i) + f32At(k, i);
    before.v[i] = f32At(before.v, i) + f32At(v, i);
  }
}

/** Inputs of the embed program, `dx` and `dPerLayer` → `d_<role>`. */
function embedGradientProgram(weights: DecoderWeights, shape: SequenceShape, wanted: readonly string[]): MilFunction {
  const forward = embedProgram(weights.arch, shape);
  const b = new Builder("embed_gradient");
  const bound: Record<string, Value> = {};
  for (const input of forward.inputs) bound[input.name] = b.input(input.name, input.type);
  const out = inline(b, forward, bound);
  const pulled = (value: Value, name: string): Value => {
    const shapeOf = value.type.kind === "tensor" ? value.type.shape : [];
    return b.sum(b.mul(value, b.input(name, fp32(...shapeOf))));
  };
  let loss = pulled(named(out, "x"), "dx");
  if (out.perLayer) loss = b.add(loss, pulled(out.perLayer, "dPerLayer"));
  const found = gradients(
    b,
    loss,
    wanted.map((role) => named(bound, role)),
  );
  return removeDeadCode(b.build(Object.fromEntries(wanted.map((role, i) => [`d_${role}`, itemAt(found, i)]))));
}
