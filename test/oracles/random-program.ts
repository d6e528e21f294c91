/**
 * Random programs that are legal MIL as far as our op table knows: many operations, shapes, element types, compressed
 * constants of every kind, states, several functions. What another parser refuses of them is a fault of the table or the writer.
 */
import { EspalierError } from "../../lib/errors.ts";
import { toFloat16Bits } from "../../lib/float16.ts";
import { type TargetName, targetNames, targets } from "../../lib/formats/coreml/targets.ts";
import { Builder } from "../../lib/mil/builder.ts";
import type { MilFunction, ParamValue, Program, Value } from "../../lib/mil/program.ts";
import { newData, type Tensor } from "../../lib/mil/tensor.ts";
import {
  type DType,
  elementCount,
  type FloatDType,
  stateType,
  type TensorType,
  tensorType,
} from "../../lib/mil/types.ts";
import { createRng, type Rng } from "../../lib/random.ts";

const MAX_ELEMENTS = 2048;
const unary = "identity abs sign floor ceil round exp exp2 erf sqrt square sin cos tanh sigmoid relu silu".split(" ");
const binary = "add sub mul real_div maximum minimum floor_div mod pow".split(" ");
const integerBinary = "add sub mul maximum minimum".split(" ");
const comparisons = "equal not_equal less less_equal greater greater_equal".split(" ");
const reductions = "sum mean max min prod sum_square log_sum_exp l2_norm l1_norm log_sum".split(" ");

/** A constant of small numbers, so that products stay finite in fp16. */
export function randomTensor(rng: Rng, dtype: DType, shape: readonly number[], below = 0): Tensor {
  const data = newData(dtype, elementCount(shape));
  const limits: Partial<Record<DType, [number, number]>> = {
    int4: [-8, 8],
    int8: [-128, 128],
    uint8: [0, 256],
    uint1: [0, 2],
    uint2: [0, 4],
    uint3: [0, 8],
    uint4: [0, 16],
    uint6: [0, 64],
    bool: [0, 2],
    int32: [-3, 4],
    int16: [-3, 4],
    uint16: [0, 5],
  };
  const [low, high] = limits[dtype] ?? [0, 0];
  for (let i = 0; i < data.length; i++) {
    if (dtype === "fp32") data[i] = Math.fround(rng.normal());
    else if (dtype === "fp16") data[i] = toFloat16Bits(rng.normal());
    else data[i] = below > 0 ? rng.integer(below) : low + rng.integer(high - low);
  }
  return { dtype, shape: [...shape], data };
}

class Generator {
  private readonly b: Builder;
  private readonly rng: Rng;
  private readonly float: FloatDType;
  private readonly target: TargetName;
  private readonly pool: Value[] = [];
  /** Values with a gap nobody may read as a feature: bool and small integers. */
  refused = 0;

  constructor(b: Builder, rng: Rng, float: FloatDType, target: TargetName) {
    this.b = b;
    this.rng = rng;
    this.float = float;
    this.target = target;
  }

  private pick<T>(items: readonly T[]): T {
    return items[this.rng.integer(items.length)] as T;
  }
  private typeOf(v: Value): TensorType {
    if (v.type.kind !== "tensor") throw new EspalierError("program/type", "a state");
    return v.type;
  }
  private shape(rank = 1 + this.rng.integer(4)): number[] {
    return Array.from({ length: rank }, () => 1 + this.rng.integer(5));
  }
  private some(test: (t: TensorType) => boolean): Value {
    const fitting = this.pool.filter((v) => test(this.typeOf(v)));
    if (fitting.length === 0) throw new EspalierError("program/type", "nothing fits");
    // Recent values more often, so that chains grow.
    return fitting[Math.max(0, fitting.length - 1 - Math.floor(this.rng.uniform() ** 2 * fitting.length))] as Value;
  }
  private floats = (): Value => this.some((t) => t.dtype === this.float);
  private constant(dtype: DType, shape: readonly number[], below = 0): Value {
    return this.b.constant(randomTensor(this.rng, dtype, shape, below), `c_${dtype}`);
  }
  private keep(values: readonly Value[]): void {
    for (const v of values) if (elementCount(this.typeOf(v).shape) <= MAX_ELEMENTS) this.pool.push(v);
  }
  private op(
    type: string,
    inputs: Record<string, Value | readonly Value[]>,
    params: Record<string, ParamValue> = {},
  ): void {
    this.keep(this.b.op(type, inputs, params));
  }
  /** Positions along `axis`, each once: what equal ones do is not agreed on. */
  private distinct(shape: readonly number[], axis: number): Value {
    const size = shape[axis] ?? 1;
    const inner = elementCount(shape.slice(axis + 1));
    const shift = this.rng.integer(size);
    const data = Int32Array.from({ length: elementCount(shape) }, (_, i) => (Math.floor(i / inner) + shift) % size);
    return this.b.constant({ dtype: "int32", shape, data }, "positions");
  }
  private any = (): Value => this.some(() => true);
  /** A shape that broadcasts with `shape` to itself. */
  private narrower(shape: readonly number[]): number[] {
    const cut = shape.slice(this.rng.integer(shape.length + 1));
    return cut.map((d) => (this.rng.uniform() < 0.3 ? 1 : d));
  }

  inputs(prefix: string): void {
    const count = 1 + this.rng.integer(3);
    for (let i = 0; i < count; i++) {
      const dtype: DType = i > 0 && this.rng.uniform() < 0.3 ? "int32" : this.float;
      this.pool.push(this.b.input(`${prefix}${i}`, tensorType(dtype, this.shape())));
    }
    this.pool.push(this.constant(this.float, this.shape()));
  }

  step(): void {
    const rule = this.pick(this.rules);
    try {
      rule();
    } catch (thrown) {
      if (!(thrown instanceof EspalierError)) throw thrown;
      this.refused++;
    }
  }

  private axis(x: Value): number {
    const { rank } = { rank: this.typeOf(x).shape.length };
    return this.rng.integer(2 * rank) - rank;
  }

  /** A weight (rows, columns, 1…) as a compressed constant that the target takes. */
  weight(shape: readonly number[]): Value {
    const [rows = 1, ...rest] = shape;
    const ones = rest.map(() => 1);
    const old = targets[this.target].attributeConstants;
    const make = (type: string, inputs: Record<string, Value>, params: Record<string, ParamValue> = {}): Value =>
      this.b.op(type, inputs, params)[0] as Value;
    const kind = this.rng.integer(5);
    if (kind === 0) return this.constant(this.float, shape);
    if (kind === 1) {
      const code: DType = old ? this.pick(["int8", "uint8"]) : this.pick(["int4", "uint4", "int8", "uint8"]);
      const whole = this.rng.uniform() < 0.3;
      const scaleShape = [whole ? 1 : rows, ...ones];
      if (!old && this.rng.uniform() < 0.4) scaleShape[1] = this.pick([1, rest[0] ?? 1]);
      const offset = this.rng.uniform() < 0.5 ? { offset: this.constant(code, scaleShape) } : {};
      return make("constexpr_blockwise_shift_scale", {
        data: this.constant(code, shape),
        scale: this.constant(this.float, scaleShape),
        ...offset,
      });
    }
    if (kind === 2) {
      const bits = this.pick(targets[this.target].paletteBits);
      const groups = old ? 1 : this.pick([1, rows, rows % 2 === 0 ? rows / 2 : 1]);
      const indices = this.constant(`uint${bits}` as DType, shape);
      return make("constexpr_lut_to_dense", {
        indices,
        lut: this.constant(this.float, [groups, ...ones, 2 ** bits, 1]),
      });
    }
    if (kind === 3) {
      const mask = randomTensor(this.rng, "uint1", shape);
      let count = 0;
      for (const bit of mask.data) count += bit;
      if (count === 0) return this.constant(this.float, shape);
      const places = this.b.constant(mask, "mask");
      const form = old ? 0 : this.rng.integer(3);
      if (form === 0)
        return make("constexpr_sparse_to_dense", { nonzero_data: this.constant(this.float, [count]), mask: places });
      const scale = this.constant(this.float, [this.pick([1, rows]), ...ones]);
      const [kept, values] =
        form === 1
          ? this.b.op("constexpr_lut_to_sparse", {
              indices_mask: places,
              indices_nonzero_data: this.constant("uint4", [count]),
              lut: this.constant(this.float, [this.pick([1, rows]), ...ones, 16, 1]),
            })
          : this.b.op("constexpr_sparse_blockwise_shift_scale", {
              data_mask: places,
              nonzero_data: this.constant("int8", [count]),
              scale,
            });
      return make("constexpr_sparse_to_dense", { nonzero_data: values as Value, mask: kept as Value });
    }
    if (old || rows % 2 !== 0)
      return this.float === "fp32"
        ? make("constexpr_cast", { source_val: this.constant("fp16", shape) })
        : this.weightOfVectors(shape, 1);
    return this.weightOfVectors(shape, 2);
  }

  private weightOfVectors(shape: readonly number[], vector: number): Value {
    if (targets[this.target].attributeConstants) return this.constant(this.float, shape);
    const [rows = 1, ...rest] = shape;
    const lut = this.constant(this.float, [1, ...rest.map(() => 1), 16, vector]);
    const indices = this.constant("uint4", [rows / vector, ...rest]);
    return this.b.op("constexpr_lut_to_dense", { indices, lut }, vector > 1 ? { vector_axis: 0 } : {})[0] as Value;
  }

  private readonly rules: (() => void)[] = [
    () => this.op(this.pick(unary), { x: this.floats() }),
    () => this.op(this.pick(["abs", "sign", "square"]), { x: this.some((t) => t.dtype === "int32") }),
    () => this.op(this.pick(["rsqrt", "inverse", "log"]), { x: this.floats() }, { epsilon: this.pick([1e-4, 0.5]) }),
    () => this.op("clip", { x: this.floats() }, { alpha: -1, beta: this.pick([0.5, 2]) }),
    () =>
      this.op(
        "gelu",
        { x: this.floats() },
        { mode: this.pick(["EXACT", "TANH_APPROXIMATION", "SIGMOID_APPROXIMATION"]) },
      ),
    ...[0, 1, 2].map(() => () => {
      const x = this.floats();
      const y =
        this.rng.uniform() < 0.5 ? this.floats() : this.constant(this.float, this.narrower(this.typeOf(x).shape));
      const [left, right] = this.rng.uniform() < 0.5 ? [x, y] : [y, x];
      this.op(this.pick(binary), { x: left, y: right });
    }),
    () => {
      const x = this.some((t) => t.dtype === "int32");
      const y = this.constant("int32", this.narrower(this.typeOf(x).shape));
      this.op(this.pick(integerBinary), { x, y });
    },
    () => {
      const x = this.floats();
      this.op(this.pick(comparisons), { x, y: this.constant(this.float, this.narrower(this.typeOf(x).shape)) });
    },
    () => {
      const x = this.some((t) => t.dtype === "bool");
      this.op(this.pick(["logical_and", "logical_or", "logical_xor"]), { x, y: this.some((t) => t.dtype === "bool") });
    },
    () => this.op("logical_not", { x: this.some((t) => t.dtype === "bool") }),
    () => {
      const cond = this.some((t) => t.dtype === "bool");
      const { shape } = this.typeOf(cond);
      this.op("select", { cond, a: this.constant(this.float, shape), b: this.constant(this.float, shape) });
    },
    () => {
      const x = this.some(() => true);
      const to = this.pick<DType>([this.float, "int32", "bool", "fp16", "fp32", "int8", "uint8", "int16", "uint16"]);
      if (to !== this.typeOf(x).dtype) this.op("cast", { x }, { dtype: to });
    },
    () => {
      const x = this.floats();
      this.op("softmax", { x }, { axis: this.axis(x) });
    },
    () => {
      const x = this.floats();
      const { shape } = this.typeOf(x);
      const axis = shape.length - 1;
      const gamma = this.rng.uniform() < 0.5 ? { gamma: this.constant(this.float, [shape[axis] ?? 1]) } : {};
      this.op("layer_norm", { x, ...gamma }, { axes: [this.pick([axis, -1])], epsilon: 1e-5 });
    },
    () => this.op("l2_norm", { x: this.floats() }, { epsilon: 1e-6 }),
    ...[0, 1].map(() => () => {
      const x = this.floats();
      const axes = [...new Set([this.axis(x), this.axis(x)])];
      this.op(`reduce_${this.pick(reductions)}`, { x }, { axes, keep_dims: this.rng.uniform() < 0.5 });
    }),
    () => {
      const x = this.floats();
      const params = {
        axis: this.axis(x),
        keep_dims: this.rng.uniform() < 0.5,
        output_dtype: this.pick(["int32", "uint16"]),
      };
      this.op(this.pick(["reduce_argmax", "reduce_argmin"]), { x }, params);
    },
    () => {
      const x = this.floats();
      const axis = this.axis(x);
      const k = 1 + this.rng.integer(this.typeOf(x).shape.at(axis) ?? 1);
      this.op(
        "topk",
        { x },
        { k, axis, ascending: this.rng.uniform() < 0.5, return_indices: this.rng.uniform() < 0.7 },
      );
    },
    () => {
      const x = this.floats();
      this.op("argsort", { x }, { axis: this.axis(x), ascending: this.rng.uniform() < 0.5 });
    },
    () => {
      const x = this.floats();
      const [exclusive, reverse] = [this.rng.uniform() < 0.5, this.rng.uniform() < 0.5];
      this.op("cumsum", { x }, { axis: this.axis(x), exclusive, reverse });
    },
    () => {
      const x = this.some((t) => t.dtype === this.float && t.shape.length >= 2);
      const { shape } = this.typeOf(x);
      const inner = shape.at(-1) ?? 1;
      const columns = 1 + this.rng.integer(5);
      const transpose = this.rng.uniform() < 0.5;
      const own = transpose ? [columns, inner] : [inner, columns];
      const lead = this.rng.uniform() < 0.5 ? shape.slice(0, -2) : [];
      this.op("matmul", { x, y: this.constant(this.float, [...lead, ...own]) }, { transpose_y: transpose });
    },
    ...[0, 1].map(() => () => {
      const x = this.some((t) => t.dtype === this.float && t.shape.length <= 3);
      const inner = this.typeOf(x).shape.at(-1) ?? 1;
      const rows = 2 * (1 + this.rng.integer(8));
      const bias = this.rng.uniform() < 0.5 ? { bias: this.constant(this.float, [rows]) } : {};
      this.op("linear", { x, weight: this.weight([rows, inner]), ...bias });
    }),
    ...[0, 1].map(() => () => {
      const x = this.some((t) => t.dtype === this.float && t.shape.length === 4);
      const channels = this.typeOf(x).shape[1] ?? 1;
      const rows = 2 * (1 + this.rng.integer(8));
      const kernel = this.pick([1, 1, 2, 3]);
      const padded = kernel > 1 || this.rng.uniform() < 0.3;
      const bias = this.rng.uniform() < 0.5 ? { bias: this.constant(this.float, [rows]) } : {};
      this.op(
        "conv",
        { x, weight: this.weight([rows, channels, 1, kernel]), ...bias },
        {
          strides: [1, this.pick([1, 2])],
          dilations: [1, 1],
          pad_type: padded ? this.pick(["same", "custom"]) : "valid",
          pad: padded ? [0, 0, 1, 1] : [0, 0, 0, 0],
          groups: 1,
        },
      );
    }),
    () => {
      const x = this.some(() => true);
      const count = elementCount(this.typeOf(x).shape);
      const divisors = Array.from({ length: count }, (_, i) => i + 1).filter((d) => count % d === 0);
      const first = this.pick(divisors);
      this.op(
        "reshape",
        { x },
        { shape: this.pick([[first, -1], [first, count / first], [1, first, count / first], [count]]) },
      );
    },
    () => {
      const x = this.some(() => true);
      const perm = this.typeOf(x).shape.map((_, i) => i);
      for (let i = perm.length - 1; i > 0; i--) {
        const j = this.rng.integer(i + 1);
        [perm[i], perm[j]] = [perm[j] as number, perm[i] as number];
      }
      this.op("transpose", { x }, { perm });
    },
    () => {
      const x = this.some((t) => t.shape.length <= 3);
      this.op("expand_dims", { x }, { axes: [this.pick([0, -1, this.rng.integer(this.typeOf(x).shape.length + 1)])] });
    },
    () => {
      const x = this.some((t) => t.shape.length >= 2 && t.shape.includes(1));
      const axis = this.typeOf(x).shape.indexOf(1);
      this.op("squeeze", { x }, { axes: [this.pick([axis, axis - this.typeOf(x).shape.length])] });
    },
    () => {
      const x = this.any();
      const axis = this.axis(x);
      const other = [...this.typeOf(x).shape];
      other[axis < 0 ? axis + other.length : axis] = 1 + this.rng.integer(3);
      this.op("concat", { values: [x, this.constant(this.typeOf(x).dtype, other), x] }, { axis });
    },
    () => {
      const x = this.some((t) => t.shape.length <= 4);
      const { dtype, shape } = this.typeOf(x);
      this.op("stack", { values: [x, this.constant(dtype, shape)] }, { axis: this.axis(x) });
    },
    () => {
      const x = this.any();
      const axis = this.axis(x);
      const size = this.typeOf(x).shape.at(axis) ?? 1;
      if (this.rng.uniform() < 0.5) this.op("split", { x }, { num_splits: size, axis });
      else if (size > 1) this.op("split", { x }, { split_sizes: [1, size - 1], axis });
    },
    () => {
      const x = this.some(() => true);
      this.op("tile", { x }, { reps: this.typeOf(x).shape.map(() => 1 + this.rng.integer(2)) });
    },
    ...[0, 1].map(() => () => {
      const x = this.any();
      const { shape } = this.typeOf(x);
      const begin = shape.map((d) => this.rng.integer(d));
      const end = shape.map((d, i) => (begin[i] as number) + 1 + this.rng.integer(d - (begin[i] as number)));
      const masks: Record<string, ParamValue> = {};
      if (this.rng.uniform() < 0.3) masks.begin_mask = shape.map(() => this.rng.uniform() < 0.3);
      if (this.rng.uniform() < 0.3) masks.end_mask = shape.map(() => this.rng.uniform() < 0.3);
      if (this.rng.uniform() < 0.3 && shape.length > 1) masks.squeeze_mask = shape.map((_, i) => i === 0);
      if (this.rng.uniform() < 0.3) masks.stride = shape.map(() => 1 + this.rng.integer(2));
      this.op("slice_by_index", { x }, { begin, end, ...masks });
    }),
    () => {
      const x = this.any();
      const { shape } = this.typeOf(x);
      const begin = shape.map((d) => this.rng.integer(d));
      const size = shape.map((d, i) => this.pick([-1, 1 + this.rng.integer(d - (begin[i] as number))]));
      this.op("slice_by_size", { x }, { begin, size });
    },
    () => {
      if (targets[this.target].missingOps.includes("slice_update")) return;
      const x = this.floats();
      const { shape } = this.typeOf(x);
      const begin = shape.map((d) => this.rng.integer(d));
      const end = shape.map((d, i) => (begin[i] as number) + 1 + this.rng.integer(d - (begin[i] as number)));
      const update = this.constant(
        this.float,
        shape.map((_, i) => (end[i] as number) - (begin[i] as number)),
      );
      this.op("slice_update", { x, update }, { begin, end });
    },
    () => {
      const x = this.floats();
      const rank = this.typeOf(x).shape.length;
      const last = Math.min(rank, 2);
      const pad = Array.from({ length: 2 * last }, () => this.rng.integer(3));
      this.op("pad", { x }, { pad, mode: "constant", constant_val: 0.5 });
    },
    ...[0, 1].map(() => () => {
      const x = this.any();
      const axis = this.axis(x);
      const indices = this.constant(
        this.pick<DType>(["int32", "uint16", "int16"]),
        this.shape(1 + this.rng.integer(2)),
        this.typeOf(x).shape.at(axis),
      );
      this.op("gather", { x, indices }, { axis });
    }),
    () => {
      const x = this.any();
      const axis = this.axis(x);
      const { shape } = this.typeOf(x);
      this.op("gather_along_axis", { x, indices: this.constant("int32", shape, shape.at(axis)) }, { axis });
    },
    () => {
      const x = this.any();
      this.op("gather_nd", { x, indices: this.constant("int32", [3, 1], this.typeOf(x).shape[0]) });
    },
    () => {
      const data = this.floats();
      const { shape } = this.typeOf(data);
      const axis = this.rng.integer(shape.length);
      const count = 1 + this.rng.integer(3);
      const updates = this.constant(
        this.float,
        shape.map((d, i) => (i === axis ? count : d)),
      );
      const mode = this.pick(["add", "update", "sub", "mul", "max", "min"]);
      this.op("scatter", { data, indices: this.constant("int32", [count], shape[axis]), updates }, { axis, mode });
    },
    () => {
      const data = this.floats();
      const { shape } = this.typeOf(data);
      const axis = this.rng.integer(shape.length);
      const indices = this.distinct(shape, axis);
      this.op(
        "scatter_along_axis",
        { data, indices, updates: this.constant(this.float, shape) },
        { axis, mode: "add" },
      );
    },
    () => {
      const data = this.floats();
      const { shape } = this.typeOf(data);
      const updates = this.constant(this.float, [2, ...shape.slice(1)]);
      this.op("scatter_nd", { data, indices: this.constant("int32", [2, 1], shape[0]), updates }, { mode: "add" });
    },
    () => this.op("fill", {}, { shape: this.shape(), value: 1.5 }),
    () => this.op("fill_like", { ref_tensor: this.some(() => true) }, { value: 2 }),
    () => this.op("range_1d", {}, { start: 1, end: 2 + this.rng.integer(9), step: this.pick([1, 2]) }),
    () => this.op("shape", { x: this.some(() => true) }),
    () => this.op("one_hot", { indices: this.constant("int32", this.shape(1), 4) }, { one_hot_vector_size: 4 }),
    () =>
      this.op(
        "band_part",
        { x: this.some((t) => t.dtype === this.float && t.shape.length >= 2) },
        { lower: this.pick([-1, 0, 1]), upper: this.pick([-1, 0, 1]) },
      ),
    () => {
      if (targets[this.target].missingOps.includes("scaled_dot_product_attention")) return;
      const query = this.some((t) => t.dtype === this.float && t.shape.length >= 3);
      const { shape } = this.typeOf(query);
      const keys = [...shape.slice(0, -2), 1 + this.rng.integer(4), shape.at(-1) ?? 1];
      const mask =
        this.rng.uniform() < 0.5 ? { attn_mask: this.constant(this.float, [shape.at(-2) ?? 1, keys.at(-2) ?? 1]) } : {};
      this.op("scaled_dot_product_attention", {
        query,
        key: this.constant(this.float, keys),
        value: this.constant(this.float, keys),
        ...mask,
      });
    },
    () => {
      const input = this.floats();
      const code = this.pick(["int8", "uint8"] as const);
      const scale = this.b.constant(
        { dtype: this.float, shape: [], data: this.float === "fp16" ? Uint16Array.of(0x3000) : Float32Array.of(0.125) },
        "scale",
      );
      const zero = this.rng.uniform() < 0.5 ? { zero_point: this.constant(code, [], 5) } : {};
      const codes = this.b.op("quantize", { input, scale, ...zero }, { output_dtype: code });
      this.op("dequantize", { input: codes[0] as Value, scale, ...zero });
    },
    () => {
      const x = this.floats();
      const { shape } = this.typeOf(x);
      const w = this.weight([2 * (1 + this.rng.integer(3)), ...shape.slice(1)]);
      this.op("gather", { x: w, indices: this.constant("int32", [2], 2) }, { axis: 0 });
    },
  ];

  state(name: string): void {
    if (this.float !== "fp16" || !targets[this.target].states) return;
    const shape = this.shape(3);
    const state = this.b.input(name, stateType(tensorType("fp16", shape)));
    const before = this.b.readState(state);
    const added = this.b.op("add", { x: before, y: this.constant("fp16", this.narrower(shape)) })[0] as Value;
    this.b.writeState(state, added);
    this.pool.push(this.b.readState(state));
  }

  outputs(): Record<string, Value> {
    const computed = this.pool.filter((v) => {
      const type = v.producer?.type ?? "input";
      return type !== "input" && type !== "const" && !type.startsWith("constexpr_") && type !== "read_state";
    });
    const chosen = new Set(computed.slice(-3));
    const out: Record<string, Value> = {};
    for (const v of chosen) {
      const { dtype } = this.typeOf(v);
      const legal = dtype === "fp16" || dtype === "fp32" || dtype === "int32";
      out[`out_${Object.keys(out).length}`] = legal
        ? (this.b.op("identity", { x: v })[0] as Value)
        : this.b.cast(v, "int32");
    }
    if (chosen.size === 0) out.out_0 = this.b.op("exp", { x: this.floats() })[0] as Value;
    return out;
  }
}

function randomFunction(name: string, rng: Rng, float: FloatDType, target: TargetName): MilFunction {
  const b = new Builder(name);
  const generator = new Generator(b, rng, float, target);
  generator.inputs("x");
  if (rng.uniform() < 0.4) generator.state("cache");
  const steps = 4 + rng.integer(12);
  for (let i = 0; i < steps; i++) generator.step();
  return b.build(generator.outputs());
}

/** The same seed gives the same program. */
export function randomProgram(seed: number): Program {
  const rng = createRng(seed, "random program");
  const target = targetNames[rng.integer(targetNames.length)] as TargetName;
  const float: FloatDType = rng.uniform() < 0.5 ? "fp16" : "fp32";
  const several = targets[target].functions && rng.uniform() < 0.3;
  const names = several ? ["main", "other"] : ["main"];
  return {
    opset: targets[target].opset,
    functions: names.map((name) => randomFunction(name, rng, float, target)),
    defaultFunction: "main",
  };
}
