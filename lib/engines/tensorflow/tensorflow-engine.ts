/**
 * @file The engine that runs a MIL function operation by operation on TensorFlow.js, native or WASM.
 *
 * Compiling only plans: constants come decoded (`../constant-pool.ts`), kernels are looked up, and each value is freed right after its last
 * reader. A run never yields, so two engines can share the process's one TensorFlow.js. fp16 values are float32;
 * with `round` each result is rounded on its typed array, except where no new number can arise. Not included: fusing
 * operations, keeping weights on the device between runs.
 */
import { itemAt } from "../../elements.ts";
import { EspalierError } from "../../errors.ts";
import { roundToFloat16 } from "../../float16.ts";
import { argumentsOf, isConstantOperation, type OpArguments, opSpec, opTable } from "../../mil/op.ts";
import { type MilFunction, type Operation, operandValues, type Value } from "../../mil/program.ts";
import type { Tensor } from "../../mil/tensor.ts";
import { elementCount, sameShape, sameType, showType, type TensorType } from "../../mil/types.ts";
import { ConstantPool, type HostConstant, hostData } from "../constant-pool.ts";
import { type CompileOptions, type Engine, type EngineState, type Executable, inHostMemory } from "../engine.ts";
import { checkInitialStates, checkInputs, fromHostData } from "../host.ts";
import {
  type LoadedTensorFlow,
  loadTensorFlow,
  type TensorFlow,
  type TensorFlowOptions,
  type TfTensor,
} from "./backend.ts";
import { elementwise } from "./kernels/elementwise.ts";
import { gatherScatter } from "./kernels/gather-scatter.ts";
import { hostTensor, type Kernel, tfType } from "./kernels/kernel.ts";
import { linearAlgebra } from "./kernels/linear-algebra.ts";
import { quantization } from "./kernels/quantization.ts";
import { reductions } from "./kernels/reduction.ts";
import { shapes } from "./kernels/shape.ts";

const kernels: Readonly<Record<string, Kernel>> = {
  ...elementwise,
  ...linearAlgebra,
  ...reductions,
  ...shapes,
  ...gatherScatter,
  ...quantization,
};

/** Throws `engine/unavailable` when the backend cannot be loaded; see `TensorFlowOptions` for what is chosen. */
export async function createTensorFlowEngine(options: TensorFlowOptions = {}): Promise<Engine> {
  const loaded = await loadTensorFlow(options);
  const pool = new ConstantPool();
  return {
    ...inHostMemory,
    name: "tensorflow",
    identity: "tensorflow",
    description: loaded.description,
    compile: async (fn, compileOptions = {}) =>
      new TensorFlowExecutable(loaded, planFunction(fn, await pool.valuesOf(fn)), compileOptions),
  };
}

interface Step {
  readonly op: Operation;
  readonly args: OpArguments;
  readonly kernel: Kernel | null;
  readonly results: readonly TensorType[];
  /** Values that nothing after this step reads. */
  readonly released: readonly Value[];
}

interface Plan {
  readonly fn: MilFunction;
  readonly steps: readonly Step[];
  /** Constants that a kernel, a state or an output reads. */
  readonly constants: ReadonlyMap<Value, HostConstant>;
  readonly states: readonly { readonly value: Value; readonly type: TensorType }[];
}

/** Throws `program/unsupported-op` naming an op that has no kernel. */
function planFunction(fn: MilFunction, constants: ReadonlyMap<Value, HostConstant>): Plan {
  const kept: { op: Operation; args: OpArguments; kernel: Kernel | null; results: TensorType[] }[] = [];
  const made = new Set<Value>(fn.inputs);
  for (const op of fn.operations) {
    const args = argumentsOf(op);
    for (const v of operandValues(op)) {
      if (!made.has(v)) throw new EspalierError("program/structure", `${fn.name}: ${v.name} is used before it is made`);
    }
    for (const o of op.outputs) made.add(o);
    // Constants are decoded already.
    if (!isConstantOperation(op)) {
      const results = op.outputs.map((o) => tensorTypeOf(op.type, o));
      const stateful = opTable.get(op.type)?.stateful;
      const kernel = kernels[op.type] ?? null;
      if (!kernel && !stateful) {
        throw new EspalierError("program/unsupported-op", `${op.type} (at ${op.name}) does not run on tensorflow`);
      }
      if (stateful && !fn.inputs.includes(args.value("input"))) {
        throw new EspalierError("program/structure", `${op.name}: its state is not an input of ${fn.name}`);
      }
      kept.push({ op, args, kernel, results });
    }
  }
  for (const o of fn.outputs) tensorTypeOf(fn.name, o);

  const lastReader = new Map<Value, number>();
  kept.forEach(({ op }, i) => {
    for (const v of op.outputs) lastReader.set(v, i);
    for (const v of operandValues(op)) lastReader.set(v, i);
  });
  for (const o of fn.outputs) lastReader.delete(o);
  const released: Value[][] = kept.map(() => []);
  for (const [value, i] of lastReader) if (!constants.has(value)) released[i]?.push(value);

  return {
    fn,
    steps: kept.map((step, i) => ({ ...step, released: released[i] ?? [] })),
    constants,
    states: fn.inputs.flatMap((value) => (value.type.kind === "state" ? [{ value, type: value.type.wrapped }] : [])),
  };
}

function tensorTypeOf(where: string, value: Value): TensorType {
  if (value.type.kind === "tensor") return value.type;
  throw new EspalierError("program/structure", `${where}: ${value.name} is a ${showType(value.type)}, not a tensor`);
}

/** The backend's data as a tensor of the MIL type, in an array of its own. */
const fromBackend = (type: TensorType, t: TfTensor): Tensor => fromHostData(type, t.dataSync().slice());

interface HeldState {
  readonly type: TensorType;
  tensor: TfTensor;
}

class TensorFlowState implements EngineState {
  readonly held = new Map<string, HeldState>();
  readonly loaded: LoadedTensorFlow;

  constructor(loaded: LoadedTensorFlow, plan: Plan, initial: Record<string, Tensor>) {
    this.loaded = loaded;
    loaded.activate();
    for (const { value, type } of plan.states) {
      const given = initial[value.name];
      const tensor = given
        ? hostTensor(loaded.tf, hostData(given), type.shape, type.dtype)
        : loaded.tf.zeros([...type.shape], tfType(type.dtype));
      this.held.set(value.name, { type, tensor });
    }
  }

  async read(): Promise<Record<string, Tensor>> {
    return Object.fromEntries([...this.held].map(([name, { type, tensor }]) => [name, fromBackend(type, tensor)]));
  }

  dispose(): void {
    for (const { tensor } of this.held.values()) tensor.dispose();
    this.held.clear();
  }
}

class TensorFlowExecutable implements Executable {
  private readonly loaded: LoadedTensorFlow;
  private readonly tf: TensorFlow;
  private readonly fn: MilFunction;
  private readonly plan: Plan;
  private readonly round: boolean;
  /** Constants on the backend, put there by the first run. */
  private readonly constants = new Map<Value, TfTensor>();

  constructor(loaded: LoadedTensorFlow, plan: Plan, options: CompileOptions) {
    this.loaded = loaded;
    this.tf = loaded.tf;
    this.fn = plan.fn;
    this.plan = plan;
    this.round = options.float16 === "round";
  }

  makeState(initial: Record<string, Tensor> = {}): EngineState {
    const states = this.plan.states.map(({ value, type }) => ({ name: value.name, type }));
    checkInitialStates(this.fn, states, initial);
    return new TensorFlowState(this.loaded, this.plan, initial);
  }

  async dispose(): Promise<void> {
    for (const t of this.constants.values()) t.dispose();
    this.constants.clear();
  }

  async run(inputs: Record<string, Tensor>, state?: EngineState): Promise<Record<string, Tensor>> {
    checkInputs(this.fn, inputs);
    const held = this.checkedState(state);
    this.loaded.activate();
    const live = new Map<Value, TfTensor>();
    const written = new Map<string, TfTensor>();
    try {
      for (const step of this.plan.steps) this.runStep(step, inputs, live, held, written);
      const outputs = this.fn.outputs.map((o): [string, Tensor] => [
        o.name,
        fromBackend(tensorTypeOf(this.fn.name, o), this.backendTensor(o, inputs, live)),
      ]);
      // A run that fails leaves the state as it was.
      for (const [name, tensor] of written) {
        const slot = held?.get(name);
        if (!slot) continue;
        slot.tensor.dispose();
        slot.tensor = tensor;
      }
      written.clear();
      return Object.fromEntries(outputs);
    } finally {
      for (const t of live.values()) t.dispose();
      for (const t of written.values()) t.dispose();
    }
  }

  private runStep(
    step: Step,
    inputs: Record<string, Tensor>,
    live: Map<Value, TfTensor>,
    held: Map<string, HeldState> | null,
    written: Map<string, TfTensor>,
  ): void {
    const { op, args, kernel } = step;
    const [result] = op.outputs;
    if (op.type === "read_state" && result) {
      const { name } = args.value("input");
      const current = written.get(name) ?? held?.get(name)?.tensor;
      if (!current) throw new EspalierError("input/invalid", `${this.fn.name}: state ${name} was disposed`);
      live.set(result, current.clone());
    } else if (op.type === "write_state") {
      const { name } = args.value("input");
      const data = this.backendTensor(args.value("data"), inputs, live).clone();
      written.get(name)?.dispose();
      written.set(name, data);
    } else if (kernel) {
      this.compute(step, kernel, (v) => this.backendTensor(v, inputs, live)).forEach((t, i) => {
        live.set(itemAt(op.outputs, i), t);
      });
    }
    for (const value of step.released) {
      live.get(value)?.dispose();
      live.delete(value);
    }
  }

  private backendTensor(value: Value, inputs: Record<string, Tensor>, live: Map<Value, TfTensor>): TfTensor {
    const known = live.get(value) ?? this.constants.get(value);
    if (known) return known;
    const constant = this.plan.constants.get(value);
    if (constant) {
      const { type, data } = constant;
      const made = hostTensor(this.tf, data, type.shape, type.dtype);
      this.constants.set(value, made);
      return made;
    }
    const given = inputs[value.name];
    if (!given)
      throw new EspalierError("program/structure", `${this.fn.name}: ${value.name} is used before it is made`);
    const made = hostTensor(this.tf, hostData(given), given.shape, given.dtype);
    live.set(value, made);
    return made;
  }

  /** The results of one operation, each a tensor of its own. */
  private compute(step: Step, kernel: Kernel, backendTensor: (v: Value) => TfTensor): TfTensor[] {
    const { op, args, results } = step;
    const { tf } = this;
    if (results.every((r) => elementCount(r.shape) === 0)) {
      return results.map((r) => tf.zeros([...r.shape], tfType(r.dtype)));
    }
    // Operands are put on the backend before the scope opens, which would free them.
    const operands = new Set(operandValues(op).map(backendTensor));
    try {
      const made = tf.tidy(() =>
        [
          kernel({
            tf,
            op: args,
            results,
            operand: (name) => backendTensor(args.value(name)),
            operands: (name) => args.values(name).map(backendTensor),
            float: (parameter, dtype) => {
              const v = args.float(parameter);
              return this.round && dtype === "fp16" ? roundToFloat16(v) : v;
            },
          }),
        ]
          .flat()
          .map((t) => (operands.has(t) ? t.clone() : t)),
      );
      return made.map((t, i) => this.checked(op, t, itemAt(results, i)));
    } catch (cause) {
      if (cause instanceof EspalierError) throw cause;
      const message = cause instanceof Error ? cause.message : String(cause);
      throw new EspalierError("engine/failed", `TensorFlow.js failed in ${this.fn.name} at ${op.name}: ${message}`, {
        cause,
      });
    }
  }

  /** The result, rounded to fp16 where asked for. Throws `engine/failed` when it is not of the type inferred. */
  private checked(op: Operation, t: TfTensor, type: TensorType): TfTensor {
    if (!sameShape(t.shape, type.shape) || t.dtype !== tfType(type.dtype)) {
      throw new EspalierError(
        "engine/failed",
        `TensorFlow.js gave ${op.name} in ${this.fn.name} as ${t.dtype}[${t.shape.join(", ")}], not ${showType(type)}`,
      );
    }
    if (!this.round || type.dtype !== "fp16" || opSpec(op.type).exact) return t;
    const rounded = Float32Array.from(t.dataSync(), roundToFloat16);
    t.dispose();
    return hostTensor(this.tf, rounded, type.shape, type.dtype);
  }

  private checkedState(state: EngineState | undefined): Map<string, HeldState> | null {
    const { states } = this.plan;
    if (states.length === 0 && state === undefined) return null;
    // A prefill and a decode program share a cache when their states have the same names and types.
    const fits =
      state instanceof TensorFlowState &&
      state.loaded.backend === this.loaded.backend &&
      states.every(({ value, type }) => {
        const slot = state.held.get(value.name);
        return slot !== undefined && sameType(slot.type, type);
      }) &&
      state.held.size === states.length;
    if (fits) return state.held;
    const disposed = state instanceof TensorFlowState && state.held.size === 0;
    throw new EspalierError(
      "input/invalid",
      `${this.fn.name} keeps state (${states.map(({ value }) => value.name).join(", ")}), found ${state ? (disposed ? "a disposed one" : "one of another program") : "none"}`,
      { hint: "Give the result of makeState() of this executable, or of one with the same states." },
    );
  }
}
