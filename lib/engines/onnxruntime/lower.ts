/**
 * @file Lowers a MIL function to an ONNX model with static shapes.
 *
 * In the graph floats are f32, whatever their MIL type, and integers int32. An fp16 result is rounded through
 * f32 → f16 → f32 where the caller asks for it, except where no new number can arise (reshape, gather, maximum…).
 * Constants come decoded (`../constant-pool.ts`). A state becomes one more input and one more output: of a state
 * that one slice update writes, only what is written, because outputs are copied out of the graph. Results without
 * elements become empty constants. The constants of a large function are handed over at every run instead of being embedded,
 * so that functions share them and nothing is copied.
 */
import { itemAt } from "../../elements.ts";
import { EspalierError } from "../../errors.ts";
import { roundToFloat16 } from "../../float16.ts";
import { argumentsOf, isConstantOperation, type OpArguments, opSpec } from "../../mil/op.ts";
import type { MilFunction, Operation, Value } from "../../mil/program.ts";
import { elementCount, showType, type TensorType } from "../../mil/types.ts";
import type { HostConstant } from "../constant-pool.ts";
import { causalAttention } from "./fusion/causal-attention.ts";
import { negativeLogLikelihood } from "./fusion/negative-log-likelihood.ts";
import { type Fusion, findFusions } from "./fusion/pattern.ts";
import { rmsNorm } from "./fusion/rms-norm.ts";
import { rotaryEmbedding } from "./fusion/rotary-embedding.ts";
import { OnnxGraph, onnxType } from "./graph.ts";
import type { Lowering, LoweringContext } from "./lowering/context.ts";
import { elementwise } from "./lowering/elementwise.ts";
import { gatherScatter } from "./lowering/gather-scatter.ts";
import { linearAlgebra } from "./lowering/linear-algebra.ts";
import { quantization } from "./lowering/quantization.ts";
import { reductions } from "./lowering/reduction.ts";
import { shapes } from "./lowering/shape.ts";

const lowerings: Record<string, Lowering> = {
  ...elementwise,
  ...linearAlgebra,
  ...reductions,
  ...shapes,
  ...gatherScatter,
  ...quantization,
};

const fusions: readonly Fusion[] = [causalAttention, negativeLogLikelihood, rmsNorm, rotaryEmbedding];

/** Constants smaller than this are always in the model's bytes. */
const smallConstantBytes = 4096;

export interface LoweredState {
  readonly name: string;
  readonly type: TensorType;
  readonly input: string;
  /** Null for a state that is only read. */
  readonly output: StateOutput | null;
}

/** What the graph gives of a state: all of it, or of one slice update what is written and where. */
export type StateOutput = { readonly kind: "whole"; readonly output: string } | StateUpdate;

export interface StateUpdate {
  readonly kind: "update";
  readonly output: string;
  readonly type: TensorType;
  /** The first position on each axis, or the output that says it; where `fromStart`, it is 0. */
  readonly begin: readonly number[] | string;
  readonly fromStart: readonly boolean[];
}

export interface LoweredFunction {
  readonly model: Uint8Array;
  readonly states: readonly LoweredState[];
  /** Constants to give to every run, by input name. */
  readonly constants: ReadonlyMap<string, HostConstant>;
  /** Names of the graph's nodes by type. */
  readonly nodes: ReadonlyMap<string, readonly string[]>;
}

export interface LoweringOptions {
  readonly float16: "round" | "widen";
  /** Threads one operation may use. */
  readonly threads: number;
  /** Constants of a function that hold more than this together are inputs of the graph, given at every run. */
  readonly embeddedLimitBytes: number;
  /** Patterns of `fusion/` are used unless fp16 is rounded; `false` lowers every operation by itself. */
  readonly fuse?: boolean;
  /** The provider has `FusedMatMul`; true unless given. */
  readonly fusesProducts?: boolean;
  /** Gives of a state that one slice update writes only the update; default: all of it, for states that stay on a device. */
  readonly stateUpdates?: boolean;
}

/** `decoded` holds the constants of `fn`. Throws `program/unsupported-op` naming an op that has no lowering. */
export function lowerFunction(
  fn: MilFunction,
  decoded: ReadonlyMap<Value, HostConstant>,
  options: LoweringOptions,
): LoweredFunction {
  const g = new OnnxGraph({ fusesProducts: options.fusesProducts ?? true });
  const names = new Map<Value, string>();
  const constants = new Map<string, HostConstant>();
  const stateNames = new Map<Value, StateInGraph>();

  for (const input of fn.inputs) {
    if (input.type.kind === "tensor") {
      g.input(input.name, onnxType(input.type.dtype), input.type.shape);
      names.set(input, input.name);
    } else {
      const { dtype, shape } = input.type.wrapped;
      g.input(input.name, onnxType(dtype), shape);
      stateNames.set(input, { current: input.name, update: null, written: false });
    }
  }

  const constantBytes = [...decoded.values()].reduce((n, { data }) => n + data.byteLength, 0);
  const constantName = (value: Value, constant: HostConstant): string => {
    const { type, data } = constant;
    if (constantBytes > options.embeddedLimitBytes && data.byteLength >= smallConstantBytes) {
      const name = `constant.${value.name}`;
      g.input(name, onnxType(type.dtype), type.shape);
      constants.set(name, constant);
      return name;
    }
    return g.initializer(onnxType(type.dtype), type.shape, data);
  };
  /** Constants enter the graph when something other than a constexpr reads them. */
  const nameOf = (value: Value): string => {
    const known = names.get(value);
    if (known !== undefined) return known;
    const constant = decoded.get(value);
    if (!constant) throw new EspalierError("program/structure", `${fn.name}: ${value.name} is used before it is made`);
    const name = constantName(value, constant);
    names.set(value, name);
    return name;
  };
  const stateOf = (op: Operation): StateInGraph => {
    const state = stateNames.get(argumentsOf(op).value("input"));
    if (!state) throw new EspalierError("program/structure", `${op.name}: its state is not an input of ${fn.name}`);
    return state;
  };

  const fuses = options.fuse !== false && options.float16 === "widen";
  const { matches, covered } = findFusions(fn, fuses ? fusions : []);
  for (const op of fn.operations) {
    const result = op.outputs[0];
    const match = matches.get(op);
    if (match && result) {
      names.set(result, match.emit(g, nameOf));
    } else if (covered.has(op)) {
      // The last operation of the match stands for it.
    } else if (isConstantOperation(op)) {
      // Its value is among the decoded ones if anything reads it.
    } else if (op.type === "read_state" && result) {
      names.set(result, stateOf(op).current);
    } else if (op.type === "write_state") {
      const state = stateOf(op);
      const args = argumentsOf(op);
      const update = options.stateUpdates ? sliceUpdateOf(args.value("data")) : null;
      const isFirst = update && !state.written && names.get(update.value("x")) === args.value("input").name;
      state.update = isFirst ? update : null;
      state.current = nameOf(args.value("data"));
      state.written = true;
    } else {
      lowerOperation(g, op, nameOf, options).forEach((name, i) => {
        names.set(itemAt(op.outputs, i), name);
      });
    }
  }

  for (const output of fn.outputs) {
    if (output.type.kind !== "tensor") {
      throw new EspalierError("program/structure", `${fn.name}: output ${output.name} is a ${showType(output.type)}`);
    }
    // An input given back as it is keeps its own name in ONNX, which a MIL output cannot share with an input.
    g.output(`output.${output.name}`, nameOf(output), onnxType(output.type.dtype), output.type.shape);
  }
  const states: LoweredState[] = [];
  for (const [value, state] of stateNames) {
    if (value.type.kind !== "state") continue;
    const type = value.type.wrapped;
    const output = state.written ? stateOutput(g, value.name, type, state, nameOf) : null;
    states.push({ name: value.name, type, input: value.name, output });
  }
  return { model: g.model(fn.name), states, constants, nodes: g.nodeNames() };
}

interface StateInGraph {
  current: string;
  /** The only write, where it is a slice update of what the state held before. */
  update: OpArguments | null;
  written: boolean;
}

/** The slice update that makes a value, if it writes consecutive elements. */
function sliceUpdateOf({ producer }: Value): OpArguments | null {
  if (producer?.type !== "slice_update") return null;
  const args = argumentsOf(producer);
  const isDense = !("stride" in args.params) || args.ints("stride").every((s) => s === 1);
  return isDense && ("begin" in args.params || args.has("begin")) ? args : null;
}

function stateOutput(
  g: OnnxGraph,
  state: string,
  type: TensorType,
  { current, update }: StateInGraph,
  nameOf: (v: Value) => string,
): StateOutput {
  const output = `state.${state}`;
  if (!update) {
    g.output(output, current, onnxType(type.dtype), type.shape);
    return { kind: "whole", output };
  }
  const written = update.tensor("update");
  g.output(output, nameOf(update.value("update")), onnxType(written.dtype), written.shape);
  const fromStart = "begin_mask" in update.params ? update.bools("begin_mask") : written.shape.map(() => false);
  if ("begin" in update.params)
    return { kind: "update", output, type: written, begin: update.ints("begin"), fromStart };
  const begin = `begin.${state}`;
  g.output(begin, nameOf(update.value("begin")), "int32", update.shape("begin"));
  return { kind: "update", output, type: written, begin, fromStart };
}

function lowerOperation(
  g: OnnxGraph,
  op: Operation,
  nameOf: (v: Value) => string,
  { float16, threads }: LoweringOptions,
): readonly string[] {
  const results = op.outputs.map((o): TensorType => {
    if (o.type.kind === "tensor") return o.type;
    throw new EspalierError("program/type", `${op.type}: result ${o.name} is a ${showType(o.type)}`);
  });
  if (results.every((r) => elementCount(r.shape) === 0)) return results.map((r) => g.filled(r.dtype, r.shape, 0));
  const rule = lowerings[op.type];
  if (!rule) {
    throw new EspalierError("program/unsupported-op", `${op.type} (at ${op.name}) does not run on onnxruntime`);
  }
  const args = argumentsOf(op);
  const context: LoweringContext = {
    g,
    op: args,
    threads,
    results,
    name: (operand) => nameOf(args.value(operand)),
    names: (operand) => args.values(operand).map(nameOf),
    float: (parameter, dtype) => {
      const v = args.float(parameter);
      return float16 === "round" && dtype === "fp16" ? roundToFloat16(v) : v;
    },
  };
  const made = [rule(context)].flat();
  if (float16 === "widen" || opSpec(op.type).exact) return made;
  return made.map((name, i) => (results[i]?.dtype === "fp16" ? g.cast(g.cast(name, "float16"), "float") : name));
}
