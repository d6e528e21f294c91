/**
 * @file The engine that runs a MIL function on ONNX Runtime's CPU kernels.
 *
 * The function is lowered to ONNX once (`lower.ts`) and the session kept. fp32, int32 and bool inputs are handed
 * over as they are, without a copy. Left out: other execution providers, pre-allocated outputs.
 */
import type { InferenceSession, Tensor as OrtTensor } from "onnxruntime-node";
import { EspalierError } from "../../errors.ts";
import { float16FromFloat32 } from "../../float16.ts";
import type { MilFunction } from "../../mil/program.ts";
import { newData, type Tensor, type TensorData } from "../../mil/tensor.ts";
import { elementCount, sameShape, showType, type TensorType, type ValueType } from "../../mil/types.ts";
import type { Engine, EngineState, Executable } from "../engine.ts";
import { onnxType } from "./graph.ts";
import { graphData, type LoweredFunction, lowerFunction } from "./lower.ts";

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
   * Constants that hold more than this together are handed over at every run instead of embedded in the model,
   * whose bytes cannot exceed 2 GiB; 1 GiB unless given. Embedded ones are packed once for small products.
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
  return {
    name: "onnxruntime",
    description: `onnxruntime-node ${version}, CPU, ${threads} ${threads === 1 ? "thread" : "threads"}`,
    compile: async (fn, compileOptions = {}) => {
      const lowered = lowerFunction(fn, {
        float16: compileOptions.float16 ?? "widen",
        threads,
        embeddedLimitBytes: options.embeddedLimitBytes ?? 2 ** 30,
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
      return new OnnxRuntimeExecutable(ort, session, fn, lowered);
    },
  };
}

const messageOf = (thrown: unknown): string => (thrown instanceof Error ? thrown.message : String(thrown));

class OnnxRuntimeState implements EngineState {
  /** By state name, as the graph holds it: f32 for both float types. */
  readonly tensors = new Map<string, OrtTensor>();
  readonly owner: OnnxRuntimeExecutable;

  constructor(owner: OnnxRuntimeExecutable) {
    this.owner = owner;
  }

  async read(): Promise<Record<string, Tensor>> {
    return Object.fromEntries(
      this.owner.lowered.states.map(({ name, type }) => {
        const t = this.tensors.get(name);
        if (!t) throw new EspalierError("input/invalid", `state ${name} was disposed`);
        return [name, fromGraph(type, t.data)];
      }),
    );
  }

  dispose(): void {
    this.tensors.clear();
  }
}

class OnnxRuntimeExecutable implements Executable {
  private readonly ort: OnnxRuntime;
  private readonly session: InferenceSession;
  private readonly fn: MilFunction;
  private readonly constants: Record<string, OrtTensor> = {};
  readonly lowered: LoweredFunction;

  constructor(ort: OnnxRuntime, session: InferenceSession, fn: MilFunction, lowered: LoweredFunction) {
    this.ort = ort;
    this.session = session;
    this.fn = fn;
    this.lowered = lowered;
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
      feeds[name] = this.ortTensor(type, graphData(t));
    }
    for (const { name, type } of this.fn.inputs) {
      if (type.kind === "tensor" && !(name in inputs)) {
        throw new EspalierError("input/invalid", `${this.fn.name}: input ${name} ${showType(type)} is missing`);
      }
    }
    const held = this.checkedState(state);
    for (const s of this.lowered.states) {
      const t = held?.tensors.get(s.name);
      if (!t) throw new EspalierError("input/invalid", `${this.fn.name}: state ${s.name} was disposed`);
      feeds[s.input] = t;
    }
    const results = await this.session.run(feeds).catch((cause: unknown) => {
      throw new EspalierError("engine/failed", `onnxruntime failed in ${this.fn.name}: ${messageOf(cause)}`, { cause });
    });
    for (const s of this.lowered.states) {
      if (s.output) held?.tensors.set(s.name, this.result(results, s.output, s.type));
    }
    return Object.fromEntries(
      this.fn.outputs.map(({ name, type }) => {
        const expected = tensorOf(type);
        return [name, fromGraph(expected, this.result(results, `output.${name}`, expected).data)];
      }),
    );
  }

  makeState(initial: Record<string, Tensor> = {}): EngineState {
    const state = new OnnxRuntimeState(this);
    checkStateNames(this.fn.name, Object.keys(initial), this.lowered.states);
    for (const { name, type } of this.lowered.states) {
      const given = initial[name];
      if (given) {
        checkTensor(this.fn.name, name, type, given);
        state.tensors.set(name, this.ortTensor(type, graphData(given)));
        continue;
      }
      const held = onnxType(type.dtype) === "float" ? "fp32" : type.dtype === "bool" ? "bool" : "int32";
      state.tensors.set(name, this.ortTensor(type, newData(held, elementCount(type.shape))));
    }
    return state;
  }

  async dispose(): Promise<void> {
    await this.session.release();
  }

  private checkedState(state: EngineState | undefined): OnnxRuntimeState | null {
    if (this.lowered.states.length === 0 && state === undefined) return null;
    if (state instanceof OnnxRuntimeState && state.owner === this) return state;
    // A prefill and a decode program share a cache when their states have the same names and types.
    if (state instanceof OnnxRuntimeState && sameStates(state.owner.lowered, this.lowered)) return state;
    throw new EspalierError(
      "input/invalid",
      `${this.fn.name} keeps state (${this.lowered.states.map((s) => s.name).join(", ")}), found ${state ? "one of another program" : "none"}`,
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

  private ortTensor(type: TensorType, data: TensorData): OrtTensor {
    if (data instanceof Float32Array) return new this.ort.Tensor("float32", data, type.shape);
    if (data instanceof Int32Array) return new this.ort.Tensor("int32", data, type.shape);
    if (data instanceof Uint8Array) return new this.ort.Tensor("bool", data, type.shape);
    throw new EspalierError("internal/invariant", `internal: ${showType(type)} has no form in the graph`);
  }
}

const sameStates = (a: LoweredFunction, b: LoweredFunction): boolean =>
  a.states.length === b.states.length &&
  b.states.every((s) => a.states.some((t) => t.name === s.name && showType(t.type) === showType(s.type)));

function checkStateNames(fn: string, given: readonly string[], states: LoweredFunction["states"]): void {
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
function fromGraph(type: TensorType, data: OrtTensor["data"]): Tensor {
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
