/**
 * @file Where each operation is expected to run, and the row of a decoder it belongs to.
 *
 * Based on published placements, not on a device: fp16 operations with weights that the Neural
 * Engine decodes run there; run-time lookups, comparisons, sorting and argmax run on the CPU;
 * operations that the engine refuses go to the GPU where allowed, else to the CPU. Operations are
 * then scheduled so that they cross borders between units as rarely as the data allows. Not
 * included: the size threshold below which whole programs are placed on the CPU.
 */
import { under } from "../elements.ts";
import type { PackageUnits } from "../formats/coreml/compute-units.ts";
import {
  dtypeOf,
  type FunctionView,
  integers,
  isConstant,
  isInteger,
  isMove,
  isProduct,
  onlyIndexes,
  operand,
  shapeOf,
  weightOperand,
} from "../mil/function-view.ts";
import { type Operation, operandValues, type Value } from "../mil/program.ts";
import { storedWeight } from "./stored-weight.ts";

export type Unit = "ANE" | "GPU" | "CPU";

/** Reported on the CPU wherever placement was published. */
export const cpuOperations: ReadonlySet<string> = new Set(
  "topk argsort cumsum one_hot range_1d shape band_part scatter scatter_along_axis scatter_nd reduce_argmax reduce_argmin gather_along_axis floor_div mod".split(
    " ",
  ),
);
const lookups = new Set(["gather", "gather_nd"]);
const MOST_AXES = 5;
const MOST_EXTENT = 65_536;

/** Null for operations that cost nothing: index sums and views of states. */
export function placeOperation(op: Operation, view: FunctionView, units: PackageUnits): Unit | null {
  if (isInteger(op) && onlyIndexes(op, view)) return null;
  if (units === "cpuAndGPU") return "GPU";
  const refused: Unit = units === "all" ? "GPU" : "CPU";
  const values = [...operandValues(op), ...op.outputs];
  const indices = operand(op, "indices");
  if (lookups.has(op.type) && indices && !isConstant(indices)) return "CPU";
  if (cpuOperations.has(op.type)) return "CPU";
  const moves = op.type.startsWith("slice") || op.type === "quantize" || op.type === "dequantize";
  if (!moves && !lookups.has(op.type) && values.some((v) => integers.has(dtypeOf(v)))) return "CPU";
  if (values.some((v) => dtypeOf(v) === "fp32")) return refused;
  if (op.outputs.some((o) => shapeOf(o).length > MOST_AXES || shapeOf(o).some((d) => d > MOST_EXTENT))) return refused;
  const weight = weightOperand(op);
  if (weight && storedWeight(weight).scheme === "blocks") return refused;
  return "ANE";
}

/** Borders crossed when every unit does as much as it can before handing over. */
export function countHandOvers(view: FunctionView, units: ReadonlyMap<Operation, Unit>): number {
  const waiting = new Map<Operation, number>();
  const users = new Map<Operation, Operation[]>();
  const ready: Record<Unit, Operation[]> = { ANE: [], GPU: [], CPU: [] };
  const free: Operation[] = [];
  const queue = (op: Operation): void => void (units.get(op) ? ready[under(units, op)] : free).push(op);
  // Reads and writes of one state keep their order.
  const lastTouch = new Map<Value, Operation>();
  for (const op of view.computed) {
    const before = new Set<Operation>();
    for (const v of operandValues(op)) {
      if (v.type.kind === "state") {
        const last = lastTouch.get(v);
        if (last) before.add(last);
        lastTouch.set(v, op);
      } else if (v.producer && !isConstant(v)) before.add(v.producer);
    }
    for (const b of before) {
      const list = users.get(b);
      if (list) list.push(op);
      else users.set(b, [op]);
    }
    waiting.set(op, before.size);
    if (before.size === 0) queue(op);
  }
  let at: Unit | null = null;
  let crossed = 0;
  const run = (op: Operation): void => {
    for (const u of users.get(op) ?? []) {
      const left = (waiting.get(u) ?? 0) - 1;
      waiting.set(u, left);
      if (left === 0) queue(u);
    }
  };
  for (;;) {
    const next: Operation | undefined = free.pop() ?? (at ? ready[at].pop() : undefined);
    if (next) {
      run(next);
      continue;
    }
    // The CPU first: it prepares what the others wait for.
    const unit = (["CPU", "GPU", "ANE"] as const).find((u) => ready[u].length > 0);
    if (!unit) return crossed;
    if (at !== null) crossed++;
    at = unit;
  }
}

export const rows = [
  "embedding",
  "mask",
  "norms",
  "query, key, value",
  "rotary",
  "cache",
  "scores",
  "softmax",
  "values",
  "output",
  "gate, up",
  "activation",
  "down",
  "head",
  "other",
] as const;
export type Row = (typeof rows)[number];

const roleRows: readonly (readonly [RegExp, Row])[] = [
  [/query|key|value/i, "query, key, value"],
  [/output/i, "output"],
  [/gate|up/i, "gate, up"],
  [/down/i, "down"],
  [/head|embedding/i, "head"],
];

/** The row of a decoder that an operation belongs to, from its weight's name, its kind, and its
 * neighbours. */
export function rowOf(op: Operation, view: FunctionView): Row {
  const weight = weightOperand(op);
  if (weight) return roleRows.find(([pattern]) => pattern.test(weight.name))?.[1] ?? "other";
  if (isProduct(op)) return leadsTo(op, view, "softmax", 8) ? "scores" : "values";
  if (op.type === "softmax") return "softmax";
  if (op.type === "layer_norm") return "norms";
  if (["read_state", "write_state", "slice_update"].includes(op.type)) return "cache";
  if (["silu", "gelu", "sigmoid"].includes(op.type)) return "activation";
  if (op.type === "gather")
    return shapeOf(operand(op, "x"))[1] === shapeOf(op.outputs[0]).at(-1) ? "embedding" : "other";
  if (op.outputs.some((o) => integers.has(dtypeOf(o))) || op.type === "cast") return "mask";
  if (leadsTo(op, view, "layer_norm", 2) && op.type !== "add") return "norms";
  const from = operandValues(op).flatMap((v) => v.producer ?? []);
  if (from.some((p) => p.type === "layer_norm" || (p.type === "split" && cameFrom(p, "layer_norm")))) {
    if (op.type === "mul" || op.type === "split") return "norms";
  }
  if (isMove(op)) {
    const [source] = from;
    return source ? rowOf(source, view) : "other";
  }
  if (op.type === "mul" && from.some((p) => ["silu", "gelu", "sigmoid"].includes(p.type))) return "activation";
  if (op.type === "add" && leadsTo(op, view, "softmax", 1)) return "scores";
  if (op.type === "split" && from.some((p) => rowOf(p, view) === "cache")) return "cache";
  if (op.type === "concat" && leadsTo(op, view, "slice_update", 1)) return "cache";
  if (["concat", "split"].includes(op.type)) return "rotary";
  if (op.type === "mul" && (leadsTo(op, view, "concat", 1) || from.length < operandValues(op).length)) return "rotary";
  if (op.type === "mul" && from.some((p) => p.type === "concat")) return "rotary";
  if (op.type === "add" && from.length === 2 && from.every((p) => p.type === "mul")) return "rotary";
  return "other";
}

const cameFrom = (op: Operation, type: string): boolean => operand(op, "x")?.producer?.type === type;

function leadsTo(op: Operation, view: FunctionView, type: string, depth: number): boolean {
  return op.outputs.some((o) =>
    view.consumers(o).some((u) => u.type === type || (depth > 1 && !isProduct(u) && leadsTo(u, view, type, depth - 1))),
  );
}

/** The layer in a name like `L12_attention_conv`; null outside layers. */
export function layerOf(op: Operation): number | null {
  const named = /^L(\d+)_/.exec(op.name) ?? /^L(\d+)_/.exec(weightOperand(op)?.name ?? "");
  return named ? Number(named[1]) : null;
}
