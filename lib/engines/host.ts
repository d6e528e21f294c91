/**
 * @file What engines share on the host's side: checks of what a run is given, and tensors as plain typed arrays.
 *
 * Engines hold both float types as f32 and every integer as int32; bool is a byte.
 */
import { EspalierError } from "../errors.ts";
import { float16FromFloat32 } from "../float16.ts";
import type { MilFunction } from "../mil/program.ts";
import { newData, type Tensor } from "../mil/tensor.ts";
import { elementCount, sameShape, showType, type TensorType } from "../mil/types.ts";
import type { HostData } from "./constant-pool.ts";
import { DeviceTensor } from "./device-tensor.ts";

/** What an engine holds as a tensor of the MIL type; the array itself where the type has the same. */
export function fromHostData({ dtype, shape }: TensorType, data: HostData): Tensor {
  if (data instanceof Float32Array) return { dtype, shape, data: dtype === "fp16" ? float16FromFloat32(data) : data };
  if (data.constructor === newData(dtype, 0).constructor) return { dtype, shape, data };
  const own = newData(dtype, data.length);
  own.set(data);
  return { dtype, shape, data: own };
}

/** Throws `input/invalid` naming the first input that is missing, unknown, or of another type, shape or length. */
export function checkInputs(fn: MilFunction, inputs: Readonly<Record<string, Tensor>>): void {
  const types = new Map(fn.inputs.map((i) => [i.name, i.type]));
  for (const [name, found] of Object.entries(inputs)) {
    const expected = types.get(name);
    if (expected?.kind !== "tensor") {
      throw new EspalierError("input/invalid", `${fn.name} has no input "${name}"`, {
        hint: `Its inputs are ${[...types.keys()].join(", ") || "none"}.`,
      });
    }
    checkTensor(`${fn.name}: input ${name}`, expected, found);
  }
  for (const [name, type] of types) {
    if (type.kind === "tensor" && !(name in inputs)) {
      throw new EspalierError("input/invalid", `${fn.name}: input ${name} ${showType(type)} is missing`);
    }
  }
}

/** Throws `input/invalid` naming a state that the function lacks or that is of another type. */
export function checkInitialStates(
  fn: MilFunction,
  states: readonly { readonly name: string; readonly type: TensorType }[],
  initial: Readonly<Record<string, Tensor>>,
): void {
  for (const [name, found] of Object.entries(initial)) {
    const expected = states.find((s) => s.name === name);
    if (!expected)
      throw new EspalierError("input/invalid", `${fn.name} has no state "${name}"`, {
        hint: `Its states are ${states.map((s) => s.name).join(", ") || "none"}.`,
      });
    checkTensor(`${fn.name}: state ${name}`, expected.type, found);
  }
}

function checkTensor(what: string, expected: TensorType, found: Tensor): void {
  if (found.dtype !== expected.dtype || !sameShape(found.shape, expected.shape)) {
    const actual = showType({ kind: "tensor", dtype: found.dtype, shape: found.shape });
    throw new EspalierError("input/invalid", `${what} must be ${showType(expected)}, found ${actual}`);
  }
  if (found instanceof DeviceTensor) return;
  const length = elementCount(expected.shape);
  if (found.data.length !== length || found.data.constructor !== newData(expected.dtype, 0).constructor) {
    throw new EspalierError(
      "input/invalid",
      `${what} ${showType(expected)} needs ${length} elements in its own array type, found ${found.data.length} in ${found.data.constructor.name}`,
    );
  }
}
