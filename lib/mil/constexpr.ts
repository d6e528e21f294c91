/**
 * @file Decodes the compressed constants of MIL (`constexpr_*`, iOS 18) on typed arrays.
 *
 *   constexpr_blockwise_shift_scale   out = scale · (data − offset), one scale per block
 *   constexpr_lut_to_dense            out = lut[group][index], vectors laid along `vector_axis`
 *   constexpr_sparse_to_dense         out = next nonzero where the mask is 1, else 0
 *   constexpr_cast                    out = value, as fp32
 *
 * The result has the type the package gives it: an fp16 weight is rounded to fp16, whatever computes with it.
 */
import { EspalierError } from "../errors.ts";
import { float16Table, toFloat16Bits } from "../float16.ts";
import type { OpArguments } from "./op.ts";
import { newData, type Tensor } from "./tensor.ts";
import { elementCount, type Shape, type TensorType } from "./types.ts";

/** An element of a tensor as a number. */
function reader(t: Tensor): (i: number) => number {
  const { data } = t;
  if (t.dtype !== "fp16") return (i) => data[i] as number;
  const table = float16Table();
  return (i) => table[data[i] as number] as number;
}

function strides(shape: Shape): number[] {
  const out = new Array<number>(shape.length).fill(1);
  for (let i = shape.length - 2; i >= 0; i--) out[i] = (out[i + 1] as number) * (shape[i + 1] as number);
  return out;
}

/** For each element of `shape` in order, the flat index of its block in a tensor of `blocks` per axis. */
function blockIndices(shape: Shape, blocks: Shape): Int32Array {
  const out = new Int32Array(elementCount(shape));
  const step = strides(blocks);
  const size = shape.map((d, i) => d / (blocks[i] as number));
  const position = new Array<number>(shape.length).fill(0);
  for (let i = 0; i < out.length; i++) {
    let at = 0;
    for (let a = 0; a < shape.length; a++) {
      at += Math.floor((position[a] as number) / (size[a] as number)) * (step[a] as number);
    }
    out[i] = at;
    for (let a = shape.length - 1; a >= 0; a--) {
      position[a] = (position[a] as number) + 1;
      if ((position[a] as number) < (shape[a] as number)) break;
      position[a] = 0;
    }
  }
  return out;
}

/**
 * The value of a `constexpr_*` operation whose operands are `operands`, of type `result`.
 * Throws `program/unsupported-op` for another op, `format/malformed` for codes that do not fit their tables.
 */
export function decodeConstexpr(
  op: OpArguments,
  operands: Readonly<Record<string, Tensor>>,
  result: TensorType,
): Tensor {
  const operand = (name: string): Tensor => {
    const t = operands[name];
    return t ?? op.fail(name, "a constant", "nothing");
  };
  const data = newData(result.dtype, elementCount(result.shape));
  const set: (i: number, v: number) => void =
    result.dtype === "fp16"
      ? (i, v) => {
          data[i] = toFloat16Bits(v);
        }
      : (i, v) => {
          data[i] = v;
        };

  if (op.type === "constexpr_blockwise_shift_scale") {
    const codes = reader(operand("data"));
    const scale = reader(operand("scale"));
    const offset = operands.offset ? reader(operands.offset) : () => 0;
    const block = blockIndices(result.shape, operand("scale").shape);
    for (let i = 0; i < data.length; i++) {
      const at = block[i] as number;
      set(i, scale(at) * (codes(i) - offset(at)));
    }
  } else if (op.type === "constexpr_lut_to_dense") {
    const indices = operand("indices");
    const lut = operand("lut");
    const entry = reader(lut);
    const rank = indices.shape.length;
    const entries = lut.shape[rank] as number;
    const vector = lut.shape[rank + 1] as number;
    const axis = vector === 1 ? 0 : op.axis("vector_axis", rank);
    // An index at (outer, inner) around `axis` fills `vector` elements along it.
    const inner = elementCount(indices.shape.slice(vector === 1 ? 1 : axis + 1));
    const group = blockIndices(indices.shape, lut.shape.slice(0, rank));
    for (let i = 0; i < indices.data.length; i++) {
      const base = ((group[i] as number) * entries + (indices.data[i] as number)) * vector;
      const to = vector === 1 ? i : Math.floor(i / inner) * inner * vector + (i % inner);
      for (let v = 0; v < vector; v++) set(to + v * inner, entry(base + v));
    }
  } else if (op.type === "constexpr_sparse_to_dense") {
    const mask = operand("mask").data;
    const nonzeros = operand("nonzero_data");
    const value = reader(nonzeros);
    let next = 0;
    for (let i = 0; i < data.length; i++) if (mask[i]) set(i, value(next++));
    if (next !== nonzeros.data.length) {
      throw new EspalierError(
        "format/malformed",
        `constexpr_sparse_to_dense: the mask has ${next} ones, nonzero_data ${nonzeros.data.length} values`,
      );
    }
  } else if (op.type === "constexpr_cast") {
    const value = reader(operand("source_val"));
    for (let i = 0; i < data.length; i++) set(i, value(i));
  } else {
    throw new EspalierError("program/unsupported-op", `${op.type} is not a compressed constant this version decodes`);
  }
  return { dtype: result.dtype, shape: result.shape, data };
}
