/**
 * @file A program as text, one operation a line, legible in a terminal.
 *
 *   block(%x: fp32[2, 8], %w: fp32[4, 8]) {
 *     %y: fp32[2, 4] = matmul(x=%x, y=%w, transpose_y=true)
 *   } -> %y
 */
import type { MilFunction, Operation, Program, Value } from "./program.ts";
import { DeferredTensor } from "./tensor.ts";
import { elementCount, showType } from "./types.ts";

const ref = (v: Value): string => `%${v.name}`;
const typed = (v: Value): string => `${ref(v)}: ${showType(v.type)}`;

function argumentText(op: Operation): string {
  const inputs = Object.entries(op.inputs).map(
    ([k, v]) => `${k}=${Array.isArray(v) ? `(${v.map(ref).join(", ")})` : ref(v as Value)}`,
  );
  const params = Object.entries(op.params).map(
    ([k, v]) => `${k}=${Array.isArray(v) ? `[${v.join(", ")}]` : JSON.stringify(v)}`,
  );
  return [...inputs, ...params].join(", ");
}

function constantText(op: Operation): string {
  if (!op.constant) return "";
  const count = elementCount(op.constant.shape);
  if (count > 8 || op.constant instanceof DeferredTensor) return `${count} values`;
  return [...op.constant.data].join(", ");
}

export function printFunction(fn: MilFunction, options: { constants?: boolean } = {}): string {
  const lines = fn.operations
    .filter((op) => options.constants !== false || op.type !== "const")
    .map((op) => {
      const left = op.outputs.length > 0 ? `${op.outputs.map(typed).join(", ")} = ` : "";
      return `  ${left}${op.type}(${op.type === "const" ? constantText(op) : argumentText(op)})`;
    });
  return [`${fn.name}(${fn.inputs.map(typed).join(", ")}) {`, ...lines, `} -> ${fn.outputs.map(ref).join(", ")}`].join(
    "\n",
  );
}

export const printProgram = (program: Program): string =>
  [
    `program ${program.opset}, default ${program.defaultFunction}`,
    ...program.functions.map((f) => printFunction(f)),
  ].join("\n\n");
