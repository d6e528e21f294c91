/**
 * @file The engine that runs a MIL function on ONNX Runtime's CPU kernels.
 *
 * The function is lowered to ONNX once (`lower.ts`) and the session kept. fp32, int32 and bool inputs are handed
 * over as they are, without a copy. Left out: other execution providers, pre-allocated outputs.
 */
import type { InferenceSession, Tensor as OrtTensor } from "onnxruntime-node";
import { EspalierError } from "../../errors.ts";
import { float16FromFloat32 } from "../../float16.ts";
import { splitStates } from "../../mil/passes/split-states.ts";
import type { MilFunction } from "../../mil/program.ts";
import { newData, type Tensor } from "../../mil/tensor.ts";
import { elementCount, sameShape, showType, type TensorType, type ValueType } from "../../mil/types.ts";
import { ConstantPool, type HostData, hostData } from "../constants.ts";
import type { Engine, EngineState, Executable } from "../engine.ts";
import { type LoweredFunction, lowerFunction } from "./lower.ts";
import { HeldStates, type StateLayout, stateLayouts } from "./states.ts";

type OnnxRuntime = typeof import("onnxruntime-node");

async function load(): Promise<OnnxRuntime> {
  try {
    return await import("onnxruntime-node");
  } catch (cause) {
    throw new EspalierError("engine/unavailable", "onnxruntime-node could not be loaded", {
      hint: "Run `npm install`; there are builds for Linux, macOS (arm64) and Windows.",
      cause,
    });
  }
}

export interface OnnxRuntimeOptions {
  /** Threads one operation may use; 1 unless given. */
  readonly threads?: number;
  /**
   * Constants that hold more than this together are handed over at every run, where all functions share them, instead of
   * copied into the model; 64 MiB unless given. Embedded ones are packed once for small products.
   */
  readonly embeddedLimitBytes?: number;
  /** `false` lowers every operation by itself, to compare with. */
  readonly fuse?: boolean;
}

/** Throws `engine/unavailable` where the package cannot be loaded. */
export async function createOnnxRuntimeEngine(options: OnnxRuntimeOptions = {}): Promise<Engine> {
  const threads = options.threads ?? 1;
  if (!Number.isInteger(threads) || threads < 1) {
    throw new EspalierError("input/invalid", `threads must be a positive integer, found ${threads}`);
  }
  const ort = await load();
  const version = ort.env.versions.node ?? ort.env.versions.common;
  const pool = new ConstantPool();
  return {
    name: "onnxruntime",
    description: `onnxruntime-node ${version}, CPU, ${threads} ${threads === 1 ? "thread" : "threads"}`,
    compile: async (fn, compileOptions = {}) => {
      const split = splitStates(fn);
      const lowered = lowerFunction(split.fn, await pool.valuesOf(split.fn), {
        float16: compileOptions.float16 ?? "widen",
        threads,
        embeddedLimitBytes: options.embeddedLimitBytes ?? 2 ** 26,
        fuse: options.fuse ?? true,
      });
      const session = await ort.InferenceSession.create(lowered.model, {
        intraOpNumThreads: threads,
        interOpNumThreads: 1,
        executionMode: "sequential",
        graphOptimizationLevel: "all",
        // A plan of all intermediates for every shape costs memory and gained no time.
        enableMemPattern: false,
        logSeverityLevel: 3,
        // Spinning between operations costs other processes a core, and ran slower whenever the machine was shared.
        extra: { session: { set_denormal_as_zero: "1", intra_op: { allow_spinning: "0" } } },
      }).catch((cause: unknown) => {
        throw new EspalierError("engine/failed", `onnxruntime could not load ${fn.name}: ${messageOf(cause)}`, {
          cause,
        });
      });
      return new OnnxRuntimeExecutable(ort, session, fn, lowered, stateLayouts(fn, split));
    },
  };
}

const messageOf = (thrown: unknown): string => (thrown instanceof Error ? thrown.message : String(thrown));

class OnnxRuntimeState implements EngineState {
  readonly held: HeldStates;
  readonly owner: OnnxRuntimeExecutable;

  constructor(owner: OnnxRuntimeExecutable, held: HeldStates) {
    this.owner = owner;
    this.held = held;
  }

  async read(): Promise<Record<string, Tensor>> {
    return Object.fromEntries(
      this.owner.layouts.map(({ name, type }) => [name, fromGraph(type, this.held.whole(name))]),
    );
  }

  dispose(): void {
    this.held.clear();
  }
}

class OnnxRuntimeExecutable implements Executable {
  private readonly ort: OnnxRuntime;
  private readonly session: InferenceSession;
  private readonly fn: MilFunction;
  private constants: Record<string, OrtTensor> = {};
  private readonly lowered: LoweredFunction;
  /** The states of the function, as the graph holds them. */
  readonly layouts: readonly StateLayout[];

  constructor(
    ort: OnnxRuntime,
    session: InferenceSession,
    fn: MilFunction,
    lowered: LoweredFunction,
    layouts: readonly StateLayout[],
  ) {
    this.ort = ort;
    this.session = session;
    this.fn = fn;
    this.lowered = lowered;
    this.layouts = layouts;
    for (const [name, { type, data }] of lowered.constants) this.constants[name] = this.ortTensor(type, data);
  }

  async run(inputs: Record<string, Tensor>, state?: EngineState): Promise<Record<string, Tensor>> {
    const feeds: Record<string, OrtTensor> = { ...this.constants };
    for (const [name, t] of Object.entries(inputs)) {
      const type = this.fn.inputs.find((i) => i.name === name)?.type;
      if (type?.kind !== "tensor") {
        throw new EspalierError("input/invalid", `${this.fn.name} has no input "${name}"`, {
          hint: `Its inputs are ${this.fn.inputs.map((i) => i.name).join(", ") || "none"}.`,
        });
      }
      checkTensor(this.fn.name, name, type, t);
      feeds[name] = this.ortTensor(type, hostData(t));
    }
    for (const { name, type } of this.fn.inputs) {
      if (type.kind === "tensor" && !(name in inputs)) {
        throw new EspalierError("input/invalid", `${this.fn.name}: input ${name} ${showType(type)} is missing`);
      }
    }
    const held = this.checkedState(state);
    const fetches: Record<string, OrtTensor | null> = {};
    for (const { name } of this.fn.outputs) fetches[`output.${name}`] = null;
    held?.arrange(this.fn.name, this.layouts);
    for (const s of this.lowered.states) {
      if (!held) continue;
      feeds[s.input] = this.ortTensor(s.type, held.current(s.name));
      // The graph writes where the values of the call before lay.
      if (s.output) fetches[s.output] = this.ortTensor(s.type, held.next(s.name));
    }
    const results = await this.session.run(feeds, fetches).catch((cause: unknown) => {
      throw new EspalierError("engine/failed", `onnxruntime failed in ${this.fn.name}: ${messageOf(cause)}`, { cause });
    });
    for (const s of this.lowered.states) if (s.output) held?.advance(s.name);
    return Object.fromEntries(
      this.fn.outputs.map(({ name, type }) => {
        const expected = tensorOf(type);
        return [name, fromGraph(expected, this.result(results, `output.${name}`, expected).data)];
      }),
    );
  }

  makeState(initial: Record<string, Tensor> = {}): EngineState {
    checkStateNames(this.fn.name, Object.keys(initial), this.layouts);
    const given = new Map<string, HostData>();
    for (const { name, type } of this.layouts) {
      const t = initial[name];
      if (!t) continue;
      checkTensor(this.fn.name, name, type, t);
      given.set(name, hostData(t));
    }
    return new OnnxRuntimeState(this, new HeldStates(this.layouts, given));
  }

  async dispose(): Promise<void> {
    await this.session.release();
    this.constants = {};
  }

  private checkedState(state: EngineState | undefined): HeldStates | null {
    if (this.layouts.length === 0 && state === undefined) return null;
    // A prefill and a decode program share a cache when their states have the same names and types.
    if (state instanceof OnnxRuntimeState && (state.owner === this || sameStates(state.owner.layouts, this.layouts)))
      return state.held;
    throw new EspalierError(
      "input/invalid",
      `${this.fn.name} keeps state (${this.layouts.map((s) => s.name).join(", ")}), found ${state ? "one of another program" : "none"}`,
      { hint: "Give the result of makeState() of this executable, or of one with the same states." },
    );
  }

  private result(results: InferenceSession.OnnxValueMapType, name: string, type: TensorType): OrtTensor {
    const t = results[name];
    if (!t || !sameShape(t.dims, type.shape)) {
      throw new EspalierError(
        "engine/failed",
        `onnxruntime gave ${name} in ${this.fn.name} the shape [${t?.dims.join(", ")}], not ${showType(type)}`,
        { hint: "A slice that starts out of bounds at run time does this." },
      );
    }
    return t;
  }

  private ortTensor(type: TensorType, data: HostData): OrtTensor {
    if (data instanceof Float32Array) return new this.ort.Tensor("float32", data, type.shape);
    if (data instanceof Int32Array) return new this.ort.Tensor("int32", data, type.shape);
    return new this.ort.Tensor("bool", data, type.shape);
  }
}

const sameStates = (a: readonly StateLayout[], b: readonly StateLayout[]): boolean =>
  a.length === b.length && b.every((s) => a.some((t) => t.name === s.name && showType(t.type) === showType(s.type)));

function checkStateNames(fn: string, given: readonly string[], states: readonly StateLayout[]): void {
  const unknown = given.find((name) => !states.some((s) => s.name === name));
  if (unknown !== undefined) throw new EspalierError("input/invalid", `${fn} has no state "${unknown}"`);
}

function tensorOf(type: ValueType): TensorType {
  return type.kind === "tensor" ? type : type.wrapped;
}

function checkTensor(fn: string, name: string, expected: TensorType, found: Tensor): void {
  const length = elementCount(expected.shape);
  if (found.dtype !== expected.dtype || !sameShape(found.shape, expected.shape)) {
    const actual = showType({ kind: "tensor", dtype: found.dtype, shape: found.shape });
    throw new EspalierError("input/invalid", `${fn}: input ${name} must be ${showType(expected)}, found ${actual}`);
  }
  if (found.data.length !== length || found.data.constructor !== newData(expected.dtype, 0).constructor) {
    throw new EspalierError(
      "input/invalid",
      `${fn}: input ${name} ${showType(expected)} needs ${length} elements in its own array type, found ${found.data.length} in ${found.data.constructor.name}`,
    );
  }
}

/** Data of the graph as a tensor of the MIL type. */
function fromGraph(type: TensorType, data: OrtTensor["data"] | HostData): Tensor {
  const { dtype, shape } = type;
  if (data instanceof Float32Array) {
    return { dtype, shape, data: dtype === "fp16" ? float16FromFloat32(data) : data };
  }
  if (data instanceof Int32Array) {
    if (dtype === "int32") return { dtype, shape, data };
    const narrow = newData(dtype, data.length);
    narrow.set(data);
    return { dtype, shape, data: narrow };
  }
  if (data instanceof Uint8Array) return { dtype, shape, data };
  throw new EspalierError("internal/invariant", `internal: onnxruntime gave ${showType(type)} in another form`);
}
