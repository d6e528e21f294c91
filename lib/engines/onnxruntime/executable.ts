/**
 * @file A function compiled for ONNX Runtime: inputs checked and handed over, states kept, outputs taken back.
 *
 * fp32, int32 and bool inputs are handed over as they are, without a copy. With a device, states stay on it, and so do the
 * outputs that are asked to. Outputs are new arrays, which ONNX Runtime's binding copies into, even where one is given.
 */
import { EspalierError } from "../../errors.ts";
import type { MilFunction } from "../../mil/program.ts";
import type { Tensor } from "../../mil/tensor.ts";
import { sameShape, showType, type TensorType, type ValueType } from "../../mil/types.ts";
import { type HostData, hostData } from "../constant-pool.ts";
import { DeviceTensor } from "../device-tensor.ts";
import type { EngineState, Executable } from "../engine.ts";
import { checkInitialStates, checkInputs, fromHostData } from "../host.ts";
import type { LoweredFunction, LoweredState, StateUpdate } from "./lower.ts";
import type { InferenceSession, OnnxRuntime, OrtTensor } from "./onnxruntime-node.ts";
import { HeldStates, type StateLayout } from "./states.ts";

export const messageOf = (thrown: unknown): string => (thrown instanceof Error ? thrown.message : String(thrown));

/** Copies between memory and a device. */
export interface Transfers {
  toDevice(t: OrtTensor): Promise<OrtTensor>;
  toHost(t: OrtTensor): Promise<OrtTensor>;
}

export const isOnDevice = (t: OrtTensor): boolean => t.location !== "cpu";

/** Data as ONNX Runtime takes it. */
export function ortTensor(ort: OnnxRuntime, shape: readonly number[], data: HostData): OrtTensor {
  if (data instanceof Float32Array) return new ort.Tensor("float32", data, shape);
  if (data instanceof Int32Array) return new ort.Tensor("int32", data, shape);
  return new ort.Tensor("bool", data, shape);
}

/** A tensor that lies where ONNX Runtime's device provider keeps its own. */
export class OrtDeviceTensor extends DeviceTensor {
  readonly transfers: Transfers;
  private held: OrtTensor | null;

  constructor(type: { dtype: Tensor["dtype"]; shape: Tensor["shape"] }, held: OrtTensor, transfers: Transfers) {
    super(type.dtype, type.shape);
    this.held = held;
    this.transfers = transfers;
  }

  get tensor(): OrtTensor {
    if (this.held) return this.held;
    throw new EspalierError("input/invalid", `the tensor ${this.dtype}[${this.shape.join(", ")}] was disposed`);
  }

  async read(): Promise<Tensor> {
    return fromHostData(
      { kind: "tensor", dtype: this.dtype, shape: this.shape },
      dataOf(await this.transfers.toHost(this.tensor)),
    );
  }

  dispose(): void {
    this.held?.dispose();
    this.held = null;
  }
}

class OnnxRuntimeState implements EngineState {
  readonly owner: OnnxRuntimeExecutable;
  private readonly held: HeldStates;
  private arranged: readonly StateLayout[] | null = null;
  /** Parts whose values lie on the device; what the host holds of them is older. */
  private readonly onDevice = new Map<string, OrtTensor>();

  constructor(owner: OnnxRuntimeExecutable, held: HeldStates) {
    this.owner = owner;
    this.held = held;
  }

  async read(): Promise<Record<string, Tensor>> {
    await this.toHost();
    return Object.fromEntries(
      this.owner.layouts.map(({ name, type }) => [name, fromHostData(type, this.held.whole(name))]),
    );
  }

  /** Lays the states out as a function with these `layouts` has them. */
  async arrange(fn: string, layouts: readonly StateLayout[]): Promise<void> {
    if (this.arranged !== layouts) await this.toHost();
    this.arranged = layouts;
    this.held.arrange(fn, layouts);
  }

  current(ort: OnnxRuntime, part: LoweredState): OrtTensor {
    return this.onDevice.get(part.name) ?? ortTensor(ort, part.type.shape, this.held.current(part.name));
  }

  /** Puts what a slice update wrote in its place. */
  write(part: LoweredState, output: StateUpdate, written: HostData, begin: ArrayLike<number>): void {
    const first = output.fromStart.map((all, axis) => (all ? 0 : Number(begin[axis] ?? 0)));
    this.held.write(part.name, part.type.shape, written, output.type.shape, first);
  }

  /** All values of a part, as a call gave them. */
  take(part: string, t: OrtTensor): void {
    if (isOnDevice(t)) {
      this.onDevice.get(part)?.dispose();
      this.onDevice.set(part, t);
    } else this.held.replace(part, dataOf(t));
  }

  private async toHost(): Promise<void> {
    for (const [part, t] of this.onDevice) {
      this.held.current(part).set(dataOf(await this.owner.onHost(t)));
      t.dispose();
    }
    this.onDevice.clear();
  }

  dispose(): void {
    for (const t of this.onDevice.values()) t.dispose();
    this.onDevice.clear();
    this.held.clear();
  }
}

export interface ExecutableParts {
  readonly ort: OnnxRuntime;
  readonly session: InferenceSession;
  readonly fn: MilFunction;
  readonly lowered: LoweredFunction;
  /** The states of the function, as the graph holds them. */
  readonly layouts: readonly StateLayout[];
  /** Constants that are handed over at every run. */
  readonly constants: Readonly<Record<string, OrtTensor>>;
  /** Null for an engine that computes in the host's memory. */
  readonly transfers: Transfers | null;
  /** Called when the first run is over. */
  readonly afterFirstRun?: () => Promise<void>;
  readonly onDispose?: () => Promise<void>;
}

export class OnnxRuntimeExecutable implements Executable {
  private readonly parts: ExecutableParts;
  private constants: Readonly<Record<string, OrtTensor>>;
  private hasRun = false;

  constructor(parts: ExecutableParts) {
    this.parts = parts;
    this.constants = parts.constants;
  }

  get layouts(): readonly StateLayout[] {
    return this.parts.layouts;
  }

  async run(inputs: Record<string, Tensor>, state?: EngineState): Promise<Record<string, Tensor>> {
    const { ort, fn, session, lowered, layouts, transfers } = this.parts;
    checkInputs(fn, inputs);
    const feeds: Record<string, OrtTensor> = { ...this.constants };
    for (const [name, t] of Object.entries(inputs)) feeds[name] = this.fed(name, t);
    const held = this.checkedState(state);
    await held?.arrange(fn.name, layouts);
    for (const s of lowered.states) if (held) feeds[s.input] = held.current(ort, s);
    const results = await session.run(feeds).catch((cause: unknown) => {
      throw new EspalierError("engine/failed", `onnxruntime failed in ${fn.name}: ${messageOf(cause)}`, { cause });
    });
    if (!this.hasRun) {
      this.hasRun = true;
      await this.parts.afterFirstRun?.();
    }
    for (const s of lowered.states) {
      const { output } = s;
      if (!output || !held) continue;
      if (output.kind === "whole") held.take(s.name, this.result(results, output.output, s.type));
      else {
        const { begin } = output;
        const first = typeof begin === "string" ? dataOf(this.result(results, begin, rankType(s))) : begin;
        held.write(s, output, dataOf(this.result(results, output.output, output.type)), first);
      }
    }
    return Object.fromEntries(
      fn.outputs.map(({ name, type }) => {
        const expected = tensorOf(type);
        const t = this.result(results, `output.${name}`, expected);
        const isHere = !transfers || !isOnDevice(t);
        return [name, isHere ? fromHostData(expected, dataOf(t)) : new OrtDeviceTensor(expected, t, transfers)];
      }),
    );
  }

  makeState(initial: Record<string, Tensor> = {}): EngineState {
    const { fn, layouts } = this.parts;
    checkInitialStates(fn, layouts, initial);
    const given = new Map(Object.entries(initial).map(([name, t]) => [name, hostData(t)]));
    return new OnnxRuntimeState(this, new HeldStates(layouts, given));
  }

  onHost(t: OrtTensor): Promise<OrtTensor> | OrtTensor {
    return isOnDevice(t) && this.parts.transfers ? this.parts.transfers.toHost(t) : t;
  }

  async dispose(): Promise<void> {
    for (const t of Object.values(this.constants)) if (isOnDevice(t)) t.dispose();
    this.constants = {};
    await this.parts.session.release();
    await this.parts.onDispose?.();
  }

  private fed(name: string, t: Tensor): OrtTensor {
    if (t instanceof OrtDeviceTensor && t.transfers === this.parts.transfers) return t.tensor;
    if (t instanceof DeviceTensor)
      throw new EspalierError(
        "input/invalid",
        `${this.parts.fn.name}: input ${name} lies on the device of another engine`,
      );
    return ortTensor(this.parts.ort, t.shape, hostData(t));
  }

  private checkedState(state: EngineState | undefined): OnnxRuntimeState | null {
    const { layouts, fn } = this.parts;
    if (layouts.length === 0 && state === undefined) return null;
    // A prefill and a decode program share a cache when their states have the same names and types.
    if (state instanceof OnnxRuntimeState && (state.owner === this || sameStates(state.owner.layouts, layouts)))
      return state;
    throw new EspalierError(
      "input/invalid",
      `${fn.name} keeps state (${layouts.map((s) => s.name).join(", ")}), found ${state ? "one of another program" : "none"}`,
      { hint: "Give the result of makeState() of this executable, or of one with the same states." },
    );
  }

  private result(results: InferenceSession.OnnxValueMapType, name: string, type: TensorType): OrtTensor {
    const t = results[name];
    if (!t || !sameShape(t.dims, type.shape)) {
      throw new EspalierError(
        "engine/failed",
        `onnxruntime gave ${name} in ${this.parts.fn.name} the shape [${t?.dims.join(", ")}], not ${showType(type)}`,
        { hint: "A slice that starts out of bounds at run time does this." },
      );
    }
    return t;
  }
}

const sameStates = (a: readonly StateLayout[], b: readonly StateLayout[]): boolean =>
  a.length === b.length && b.every((s) => a.some((t) => t.name === s.name && showType(t.type) === showType(s.type)));

/** One position on each axis. */
const rankType = ({ type }: LoweredState): TensorType => ({
  kind: "tensor",
  dtype: "int32",
  shape: [type.shape.length],
});

function tensorOf(type: ValueType): TensorType {
  return type.kind === "tensor" ? type : type.wrapped;
}

/** Of a tensor in memory. */
function dataOf({ data, type }: OrtTensor): HostData {
  if (data instanceof Float32Array || data instanceof Int32Array || data instanceof Uint8Array) return data;
  throw new EspalierError("internal/invariant", `internal: onnxruntime gave ${type}, which no graph here has`);
}
