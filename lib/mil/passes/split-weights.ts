/**
 * @file Splits weights that are too large for one file by their rows, so that parts can lie in different packages.
 *
 *   linear(x, W)  = concat_i linear(x, W_i)                           conv the same along channels
 *   gather(W, t)  = Σ_i [t in part i] · gather(W_i, clamp(t − start_i))
 *
 * Both are exact: of the terms of the sum one is the row and the others are zero. A bias is split with the rows. Not included:
 * sparse weights, whose values do not lie at rows, and weights that other operations read.
 */
import { itemAt } from "../../elements.ts";
import { EspalierError } from "../../errors.ts";
import { type Builder, typeOf } from "../builder.ts";
import { isConstantOperation } from "../op.ts";
import type { MilFunction, Operation, Value } from "../program.ts";
import { type Rewriter, rewrite } from "../rewrite.ts";
import { DeferredTensor, i32, type Tensor, type TensorData } from "../tensor.ts";
import { dtypeBits, elementCount } from "../types.ts";

/** Bytes a constant takes in a file. */
export const storedBytesOf = (t: Tensor): number => Math.ceil((elementCount(t.shape) * dtypeBits[t.dtype]) / 8);

/** The constants a value is made of; null when it is computed. */
export function constantsOf(v: Value): Tensor[] | null {
  const op = v.producer;
  if (op?.constant) return [op.constant];
  if (!op || !isConstantOperation(op)) return null;
  return Object.values(op.inputs)
    .flat()
    .flatMap((part) => constantsOf(part) ?? []);
}

const sizeOf = (v: Value): number => (constantsOf(v) ?? []).reduce((n, t) => n + storedBytesOf(t), 0);

const slices = new WeakMap<object, Map<string, Tensor>>();

/** Rows [from, to) of a tensor; asked again for the same, it gives the same tensor. */
function sliceTensor(t: Tensor, from: number, to: number): Tensor {
  const key = t instanceof DeferredTensor ? t.pieces : t;
  const known = slices.get(key) ?? new Map<string, Tensor>();
  slices.set(key, known);
  const label = `${from}:${to}:${t.shape.join()}`;
  let made = known.get(label);
  if (!made) {
    const row = elementCount(t.shape.slice(1));
    const shape = [to - from, ...t.shape.slice(1)];
    made =
      t instanceof DeferredTensor
        ? new DeferredTensor(t.dtype, shape, () => slicePieces(t, from * row, to * row))
        : { dtype: t.dtype, shape, data: t.data.slice(from * row, to * row) };
    known.set(label, made);
  }
  return made;
}

async function* slicePieces(t: DeferredTensor, from: number, to: number): AsyncGenerator<TensorData> {
  let at = 0;
  for await (const piece of t.pieces()) {
    const [begin, end] = [Math.max(from - at, 0), Math.min(to - at, piece.length)];
    if (begin < end) yield piece.subarray(begin, end);
    at += piece.length;
  }
}

/** Rows that must stay together: those of one table, or of one scale. */
function rowStep(weight: Value): number {
  const op = weight.producer;
  const rows = typeOf(weight).shape[0] ?? 1;
  if (!op || op.constant) return 1;
  const steps = Object.values(op.inputs)
    .flat()
    .map((part) => {
      const parts = typeOf(part).shape[0] ?? 1;
      return parts > 1 ? rows / parts : 1;
    });
  return Math.max(1, ...steps);
}

function sliceWeight(b: Builder, weight: Value, from: number, to: number, name: string): Value {
  const op = weight.producer as Operation;
  if (op.constant) return b.constant(sliceTensor(op.constant, from, to), name);
  const rows = typeOf(weight).shape[0] ?? 1;
  const inputs = Object.fromEntries(
    Object.entries(op.inputs).map(([key, v]) => {
      const constant = (v as Value).producer?.constant;
      if (!constant)
        throw new EspalierError("export/unsupported", `${op.name} reads a constant that is compressed itself`);
      const parts = constant.shape[0] ?? 1;
      const share = rows / parts;
      const cut = parts === 1 ? constant : sliceTensor(constant, from / share, to / share);
      return [key, b.constant(cut, `${name}_${key}`)];
    }),
  );
  return itemAt(b.op(op.type, inputs, { ...op.params }, name), 0);
}

/** Throws `export/unsupported` for a weight above the limit that cannot be split. */
export function splitWeights(fn: MilFunction, limitBytes: number): MilFunction {
  const operandOf = (op: Operation): string => (op.type === "gather" ? "x" : "weight");
  const large = (op: Operation): Value | null => {
    const v = op.inputs[operandOf(op)];
    return v && !Array.isArray(v) && sizeOf(v as Value) > limitBytes ? (v as Value) : null;
  };
  if (!fn.operations.some(large)) return fn;
  return rewrite(fn, (op, into) => {
    const weight = isConstantOperation(op) ? null : large(op);
    return weight ? splitOperation(into, op, weight, limitBytes) : null;
  });
}

function splitOperation(into: Rewriter, op: Operation, weight: Value, limitBytes: number): Value {
  const { b, get } = into;
  const [rows = 1] = typeOf(weight).shape;
  const sparse = weight.producer?.type === "constexpr_sparse_to_dense";
  const step = rowStep(weight);
  const perPart = Math.floor((rows * limitBytes) / sizeOf(weight) / step) * step;
  if (sparse || perPart < 1 || (op.type === "conv" && op.params.groups !== 1))
    throw new EspalierError(
      "export/unsupported",
      `${op.type} ${op.name}: its weight ${weight.name} takes ${sizeOf(weight)} bytes, a package may hold ${limitBytes}, and it cannot be split`,
      { hint: "Raise the limit, use fewer bits, or share tables among fewer rows." },
    );
  const starts = Array.from({ length: Math.ceil(rows / perPart) }, (_, i) => i * perPart);
  if (op.type === "gather") {
    if (op.params.axis !== 0 || op.params.batch_dims !== 0)
      throw new EspalierError("export/unsupported", `${op.name} looks a large weight up along another axis than rows`);
    return splitGather(b, op, weight, starts, rows, perPart, get);
  }
  const { bias, ...others } = op.inputs;
  const rest = into.inputs(others);
  const parts = starts.map((from, i) => {
    const to = Math.min(rows, from + perPart);
    const name = `${op.name}_part${i}`;
    const constant = (bias as Value | undefined)?.producer?.constant;
    const own = constant ? { bias: b.constant(sliceTensor(constant, from, to), `${name}_bias`) } : {};
    const inputs = { ...rest, weight: sliceWeight(b, weight, from, to, `${weight.name}_part${i}`), ...own };
    return itemAt(b.op(op.type, inputs, { ...op.params }, name), 0);
  });
  return itemAt(b.op("concat", { values: parts }, { axis: op.type === "conv" ? 1 : -1 }, op.name), 0);
}

function splitGather(
  b: Builder,
  op: Operation,
  weight: Value,
  starts: readonly number[],
  rows: number,
  perPart: number,
  get: (v: Value) => Value,
): Value {
  const ids = b.cast(get(op.inputs.indices as Value), "int32");
  const { dtype, shape } = typeOf(weight);
  const scalar = (n: number): Value => b.constant(i32([], [n]), "row");
  const wide = [...typeOf(ids).shape, ...shape.slice(1).map(() => 1)];
  let sum: Value | null = null;
  starts.forEach((from, i) => {
    const to = Math.min(rows, from + perPart);
    const part = sliceWeight(b, weight, from, to, `${weight.name}_part${i}`);
    const local = b.sub(ids, scalar(from));
    const inside = b.mul(
      b.cast(b.greaterEqual(local, scalar(0)), dtype),
      b.cast(b.lessEqual(local, scalar(to - from - 1)), dtype),
    );
    const clamped = b.minimum(b.maximum(local, scalar(0)), scalar(to - from - 1));
    const found = b.mul(
      itemAt(b.op("gather", { x: part, indices: clamped }, { ...op.params }), 0),
      b.reshape(inside, wide),
    );
    sum = sum ? b.add(sum, found) : found;
  });
  if (!sum) throw new EspalierError("internal/invariant", `internal: ${op.name} was split in no parts`);
  return itemAt(b.op("identity", { x: sum }, {}, op.name), 0);
}
