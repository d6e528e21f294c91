/**
 * @file A MIL program: functions of typed operations in static single assignment.
 *
 * Reference: Apple's MIL (`MIL.proto`). An operation has tensor inputs (values) and parameters: arguments that
 * MIL requires to be known at compile time. Packages write each parameter as a `const` operation; here they
 * stay plain values, so a program reads like its documentation. Not included: nested blocks (cond, while_loop).
 */
import type { Tensor } from "./tensor.ts";
import type { ValueType } from "./types.ts";

export type ParamValue = number | boolean | string | readonly number[] | readonly boolean[];

export interface Value {
  /** Unique in its function; `[A-Za-z_][A-Za-z0-9_@]*`. */
  name: string;
  readonly type: ValueType;
  /** The operation that makes it; null for a function input. */
  readonly producer: Operation | null;
}

export interface Operation {
  readonly type: string;
  readonly name: string;
  /** Tensor arguments; variadic ones are arrays. Absent optional arguments are absent keys. */
  readonly inputs: Readonly<Record<string, Value | readonly Value[]>>;
  /** Compile-time arguments, defaults filled in. */
  readonly params: Readonly<Record<string, ParamValue>>;
  readonly outputs: readonly Value[];
  /** The data of a `const` operation. */
  readonly constant?: Tensor;
}

export interface MilFunction {
  readonly name: string;
  readonly inputs: readonly Value[];
  /** In topological order. */
  readonly operations: readonly Operation[];
  readonly outputs: readonly Value[];
}

export interface Program {
  /** Core ML opset, `CoreML8` for iOS 18. */
  readonly opset: string;
  readonly functions: readonly MilFunction[];
  readonly defaultFunction: string;
}

/** The single values among an operation's inputs, variadic ones flattened, in declaration order. */
export function operandValues(op: Operation): Value[] {
  return Object.values(op.inputs).flatMap((v) => (Array.isArray(v) ? [...v] : [v as Value]));
}
