/** @file What a lowering rule sees of one operation, and what it gives back. */
import type { OpArguments } from "../../../mil/op.ts";
import type { DType, Shape, TensorType } from "../../../mil/types.ts";
import type { OnnxGraph } from "../graph.ts";

export interface LoweringContext {
  readonly g: OnnxGraph;
  readonly op: OpArguments;
  /** Threads one operation may use. */
  readonly threads: number;
  /** The types of the results. */
  readonly results: readonly TensorType[];
  /** The ONNX name of an operand. */
  name(operand: string): string;
  /** The ONNX names of a variadic operand. */
  names(operand: string): string[];
  /** A float parameter as a value of `dtype` holds it: rounded to fp16 where results are. */
  float(parameter: string, dtype: DType): number;
}

/** Emits the nodes of one operation; gives back the ONNX name of each result. */
export type Lowering = (context: LoweringContext) => string | readonly string[];

export const resultShape = (c: LoweringContext): Shape => c.results[0]?.shape ?? [];
