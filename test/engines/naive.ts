/**
 * @file A reference interpreter of MIL: one plain loop per op, in float64, written from Apple's documentation.
 *
 * It shares nothing with the engines or their lowering, and is slow. Numbers are kept as float64 whatever their
 * type; with `float16` they are rounded to fp16 after every op whose result is fp16, as are parameters that have
 * the type of such an operand.
 */
import { float32FromFloat16, roundToFloat16, toFloat16Bits } from "../../lib/float16.ts";
import { argumentsOf, type OpArguments } from "../../lib/mil/op.ts";
import type { MilFunction, Operation, Value } from "../../lib/mil/program.ts";
import { newData, type Tensor } from "../../lib/mil/tensor.ts";
import { type DType, elementCount, type Shape, type TensorType, tensorType } from "../../lib/mil/types.ts";

export interface Naive {
  readonly dtype: DType;
  readonly shape: Shape;
  readonly data: Float64Array;
}

export function fromTensor(t: Tensor): Naive {
  const data = t.dtype === "fp16" && t.data instanceof Uint16Array ? float32FromFloat16(t.data) : t.data;
  return { dtype: t.dtype, shape: t.shape, data: Float64Array.from(data) };
}

export function toTensor(t: Naive): Tensor {
  const data = newData(t.dtype, t.data.length);
  data.set(t.dtype === "fp16" ? Array.from(t.data, toFloat16Bits) : t.data);
  return { dtype: t.dtype, shape: t.shape, data };
}

type Index = readonly number[];

/** Calls `body` with every index of `shape` in row-major order. */
function forEach(shape: Shape, body: (index: number[], flat: number) => void): void {
  const count = elementCount(shape);
  const index = shape.map(() => 0);
  for (let flat = 0; flat < count; flat++) {
    body(index, flat);
    for (let a = shape.length - 1; a >= 0; a--) {
      index[a] = (index[a] as number) + 1;
      if ((index[a] as number) < (shape[a] as number)) break;
      index[a] = 0;
    }
  }
}

function flatOf(shape: Shape, index: Index): number {
  let flat = 0;
  shape.forEach((size, a) => {
    const i = index[a] as number;
    if (!Number.isInteger(i) || i < 0 || i >= size) throw new RangeError(`index [${index}] is outside [${shape}]`);
    flat = flat * size + i;
  });
  return flat;
}

const at = (t: Naive, index: Index): number => t.data[flatOf(t.shape, index)] as number;

/** The element of `t` that numpy broadcasting puts at `index` of a tensor of higher or equal rank. */
const broadcastAt = (t: Naive, index: Index): number => {
  const lead = index.length - t.shape.length;
  return at(
    t,
    t.shape.map((d, a) => (d === 1 ? 0 : (index[a + lead] as number))),
  );
};

function make(type: TensorType, value: (index: Index) => number): Naive {
  const data = new Float64Array(elementCount(type.shape));
  forEach(type.shape, (index, flat) => {
    data[flat] = value(index);
  });
  return { ...type, data };
}

interface Context {
  readonly op: OpArguments;
  readonly results: readonly TensorType[];
  readonly out: TensorType;
  in(name: string): Naive;
  list(name: string): Naive[];
  /** A float parameter in the type of operand `like`. */
  float(name: string, like: string): number;
}
type Rule = (c: Context) => Naive | Naive[];

const unary =
  (f: (x: number) => number): Rule =>
  (c) =>
    make(c.out, (i) => f(at(c.in("x"), i)));
const binary =
  (f: (x: number, y: number) => number): Rule =>
  (c) =>
    make(c.out, (i) => f(broadcastAt(c.in("x"), i), broadcastAt(c.in("y"), i)));
const shifted =
  (f: (x: number) => number): Rule =>
  (c) =>
    make(c.out, (i) => f(at(c.in("x"), i) + c.float("epsilon", "x")));

/** 2/√π e^(−x²) Σ 2ⁿ x^(2n+1) / (2n+1)!!, whose terms are all of one sign. */
export function erf(x: number): number {
  if (Math.abs(x) > 6) return Math.sign(x);
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > 1e-18 * Math.abs(sum); n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
function roundHalfEven(x: number): number {
  const down = Math.floor(x);
  if (x - down !== 0.5) return Math.round(x);
  return down % 2 === 0 ? down : down + 1;
}

const wrap = (dtype: DType, v: number): number => {
  const cell = newData(dtype === "fp16" ? "fp32" : dtype, 1);
  cell[0] = dtype === "bool" ? Number(v !== 0) : Math.trunc(v);
  return cell[0] as number;
};

/** Groups the elements of x by their position outside `axes`; the groups keep row-major order. */
function reduceAxes(x: Naive, axes: readonly number[], out: TensorType, f: (values: number[]) => number): Naive {
  const kept = x.shape.map((_, a) => a).filter((a) => !axes.includes(a));
  const groups = Array.from({ length: elementCount(out.shape) }, (): number[] => []);
  const keptShape = kept.map((a) => x.shape[a] as number);
  forEach(x.shape, (index, flat) => {
    const g = flatOf(
      keptShape,
      kept.map((a) => index[a] as number),
    );
    groups[g]?.push(x.data[flat] as number);
  });
  return { ...out, data: Float64Array.from(groups, f) };
}

const sum = (v: number[]): number => v.reduce((a, b) => a + b, 0);
const largest = (v: number[]): number => v.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);

const reduction =
  (f: (values: number[]) => number): Rule =>
  (c) =>
    reduceAxes(c.in("x"), c.op.axes("axes", c.in("x").shape.length), c.out, f);

/** The values along `axis` through `index`. */
function lineThrough(x: Naive, axis: number, index: Index): number[] {
  return Array.from({ length: x.shape[axis] as number }, (_, k) => at(x, index.with(axis, k)));
}

const arg =
  (better: (a: number, b: number) => boolean): Rule =>
  (c) => {
    const x = c.in("x");
    const axis = c.op.axis("axis", x.shape.length);
    return reduceAxes(x, [axis], c.out, (v) => v.reduce((best, e, i) => (better(e, v[best] as number) ? i : best), 0));
  };

/** Positions of a line's elements in sorted order, the first of equals first. */
function order(line: number[], ascending: boolean): number[] {
  const positions = line.map((_, i) => i);
  return positions.sort((p, q) => {
    const d = (line[p] as number) - (line[q] as number);
    return d === 0 ? p - q : ascending ? d : -d;
  });
}

function matmul(x: Naive, y: Naive, out: TensorType, tx: boolean, ty: boolean): Naive {
  const depth = x.shape.at(tx ? -2 : -1) as number;
  const pick = (t: Naive, batch: Index, row: number, column: number): number => {
    const lead = batch.length - (t.shape.length - 2);
    const own = t.shape.slice(0, -2).map((d, a) => (d === 1 ? 0 : (batch[a + lead] as number)));
    return at(t, [...own, row, column]);
  };
  return make(out, (i) => {
    const batch = i.slice(0, -2);
    const [m, n] = i.slice(-2) as [number, number];
    let total = 0;
    for (let k = 0; k < depth; k++) {
      total += (tx ? pick(x, batch, k, m) : pick(x, batch, m, k)) * (ty ? pick(y, batch, n, k) : pick(y, batch, k, n));
    }
    return total;
  });
}

function softmaxLine(line: number[]): number[] {
  const high = largest(line);
  const e = line.map((v) => Math.exp(v - high));
  const total = sum(e);
  return e.map((v) => v / total);
}

const convolution: Rule = (c) => {
  const { op, out } = c;
  const x = c.in("x");
  const w = c.in("weight");
  const spatial = x.shape.slice(2);
  const kernel = w.shape.slice(2);
  const strides = op.ints("strides");
  const dilations = op.ints("dilations");
  const before = spatial.map((size, a) => {
    const type = op.string("pad_type");
    if (type === "valid") return 0;
    if (type === "custom") return op.ints("pad")[2 * a] as number;
    const stride = strides[a] as number;
    const reach = (dilations[a] as number) * ((kernel[a] as number) - 1) + 1;
    const total = Math.max(0, (Math.ceil(size / stride) - 1) * stride + reach - size);
    return type === "same" ? Math.floor(total / 2) : Math.ceil(total / 2);
  });
  const perGroup = w.shape[1] as number;
  const outputsPerGroup = (w.shape[0] as number) / op.int("groups");
  return make(out, ([n, o, ...position]) => {
    let total = op.has("bias") ? at(c.in("bias"), [o as number]) : 0;
    const first = Math.floor((o as number) / outputsPerGroup) * perGroup;
    forEach([perGroup, ...kernel], ([channel, ...k]) => {
      const p = position.map(
        (q, a) => q * (strides[a] as number) + (k[a] as number) * (dilations[a] as number) - (before[a] as number),
      );
      if (p.some((q, a) => q < 0 || q >= (spatial[a] as number))) return;
      total += at(x, [n as number, first + (channel as number), ...p]) * at(w, [o as number, channel as number, ...k]);
    });
    return total;
  });
};

const mask = (op: OpArguments, name: string, axis: number): boolean =>
  name in op.params && (op.bools(name)[axis] as boolean);

/** Where a slice starts along each axis, from parameters or run-time values, negative ones from the end. */
function starts(c: Context, shape: Shape): number[] {
  const given = "begin" in c.op.inputs ? [...c.in("begin").data] : "begin" in c.op.params ? c.op.ints("begin") : [];
  return shape.map((d, a) => {
    const b = given[a] ?? 0;
    return mask(c.op, "begin_mask", a) ? 0 : b < 0 ? b + d : b;
  });
}
const strideOf = (op: OpArguments, axis: number): number =>
  "stride" in op.params ? (op.ints("stride")[axis] as number) : 1;

const combine: Record<string, (a: number, b: number) => number> = {
  add: (a, b) => a + b,
  update: (_a, b) => b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  max: Math.max,
  min: Math.min,
};

/** Applies the mode of a scatter to one element at a time, in the order of the updates. */
function scattered(c: Context, target: (index: Index) => Index): Naive {
  const f = combine[c.op.string("mode")] as (a: number, b: number) => number;
  const data = c.in("data").data.slice();
  const { shape } = c.in("data");
  forEach(c.in("updates").shape, (index, flat) => {
    const to = flatOf(shape, target(index));
    data[to] = f(data[to] as number, c.in("updates").data[flat] as number);
  });
  return { ...c.out, data };
}

const alongAxis = (c: Context, name: string, index: Index): number => {
  const t = c.in(name);
  return t.shape.length === 0 ? (t.data[0] as number) : at(t, [index[c.op.axis("axis", index.length)] as number]);
};

/** The index of the block that `index` lies in, for a tensor of `shape` cut in `blocks` per axis. */
const blockOf = (index: Index, shape: Shape, blocks: Shape): number[] =>
  index.map((i, a) => Math.floor(i / ((shape[a] as number) / (blocks[a] as number))));

/** The values, each at a one of the mask; 0 elsewhere. */
function spread(mask: Naive, values: Naive): Naive {
  let next = 0;
  return { ...values, shape: mask.shape, data: mask.data.map((m) => (m === 0 ? 0 : (values.data[next++] as number))) };
}

const copy = (x: Naive, out: TensorType): Naive => ({ ...out, data: x.data.slice() });

const rules: Record<string, Rule> = {
  add: binary((x, y) => x + y),
  sub: binary((x, y) => x - y),
  mul: binary((x, y) => x * y),
  real_div: binary((x, y) => x / y),
  pow: binary((x, y) => x ** y),
  maximum: binary(Math.max),
  minimum: binary(Math.min),
  floor_div: binary((x, y) => Math.floor(x / y)),
  mod: binary((x, y) => x - Math.floor(x / y) * y),
  identity: unary((x) => x),
  abs: unary(Math.abs),
  sign: unary(Math.sign),
  floor: unary(Math.floor),
  ceil: unary(Math.ceil),
  round: unary(roundHalfEven),
  exp: unary(Math.exp),
  exp2: unary((x) => 2 ** x),
  erf: unary(erf),
  sqrt: unary(Math.sqrt),
  square: unary((x) => x * x),
  sin: unary(Math.sin),
  cos: unary(Math.cos),
  tanh: unary(Math.tanh),
  sigmoid: unary(sigmoid),
  relu: unary((x) => Math.max(0, x)),
  silu: unary((x) => x * sigmoid(x)),
  rsqrt: shifted((x) => 1 / Math.sqrt(x)),
  inverse: shifted((x) => 1 / x),
  log: shifted(Math.log),
  clip: (c) => make(c.out, (i) => Math.min(c.float("beta", "x"), Math.max(c.float("alpha", "x"), at(c.in("x"), i)))),
  gelu: (c) => {
    const mode = c.op.string("mode");
    return make(c.out, (i) => {
      const x = at(c.in("x"), i);
      if (mode === "TANH_APPROXIMATION") {
        return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
      }
      return mode === "EXACT" ? 0.5 * x * (1 + erf(x / Math.SQRT2)) : x * sigmoid(1.702 * x);
    });
  },
  cast: (c) => {
    const float = c.out.dtype === "fp16" || c.out.dtype === "fp32";
    return make(c.out, (i) => (float ? at(c.in("x"), i) : wrap(c.out.dtype, at(c.in("x"), i))));
  },
  equal: binary((x, y) => Number(x === y)),
  not_equal: binary((x, y) => Number(x !== y)),
  less: binary((x, y) => Number(x < y)),
  less_equal: binary((x, y) => Number(x <= y)),
  greater: binary((x, y) => Number(x > y)),
  greater_equal: binary((x, y) => Number(x >= y)),
  logical_and: binary((x, y) => Number(x !== 0 && y !== 0)),
  logical_or: binary((x, y) => Number(x !== 0 || y !== 0)),
  logical_xor: binary((x, y) => Number((x !== 0) !== (y !== 0))),
  logical_not: unary((x) => Number(x === 0)),
  select: (c) => make(c.out, (i) => broadcastAt(c.in(broadcastAt(c.in("cond"), i) !== 0 ? "a" : "b"), i)),

  matmul: (c) => matmul(c.in("x"), c.in("y"), c.out, c.op.bool("transpose_x"), c.op.bool("transpose_y")),
  linear: (c) =>
    make(c.out, (i) => {
      const o = i.at(-1) as number;
      let total = c.op.has("bias") ? at(c.in("bias"), [o]) : 0;
      for (let k = 0; k < (c.in("x").shape.at(-1) as number); k++) {
        total += at(c.in("x"), [...i.slice(0, -1), k]) * at(c.in("weight"), [o, k]);
      }
      return total;
    }),
  conv: convolution,
  scaled_dot_product_attention: (c) => {
    const q = c.in("query");
    const k = c.in("key");
    const scores = make(tensorType("fp32", [...q.shape.slice(0, -1), k.shape.at(-2) as number]), (i) => {
      const row = i.slice(0, -1);
      let dot = 0;
      for (let e = 0; e < (q.shape.at(-1) as number); e++) {
        dot += at(q, [...row, e]) * at(k, [...i.slice(0, -2), i.at(-1) as number, e]);
      }
      const raw = dot / Math.sqrt(q.shape.at(-1) as number);
      if (!c.op.has("attn_mask")) return raw;
      const m = broadcastAt(c.in("attn_mask"), i);
      return c.in("attn_mask").dtype === "bool" ? (m !== 0 ? raw : -30000) : raw + m;
    });
    return make(c.out, (i) => {
      const p = softmaxLine(lineThrough(scores, i.length - 1, [...i.slice(0, -1), 0]));
      return sum(p.map((w, s) => w * at(c.in("value"), [...i.slice(0, -2), s, i.at(-1) as number])));
    });
  },
  softmax: (c) => {
    const axis = c.op.axis("axis", c.out.shape.length);
    return make(c.out, (i) => softmaxLine(lineThrough(c.in("x"), axis, i))[i[axis] as number] as number);
  },
  layer_norm: (c) => {
    const x = c.in("x");
    const axes = c.op.axes("axes", x.shape.length);
    const kept = tensorType(
      "fp32",
      x.shape.map((d, a) => (axes.includes(a) ? 1 : d)),
    );
    const mean = reduceAxes(x, axes, kept, (v) => sum(v) / v.length);
    const variance = reduceAxes(x, axes, kept, (v) => {
      const m = sum(v) / v.length;
      return sum(v.map((e) => (e - m) ** 2)) / v.length;
    });
    return make(c.out, (i) => {
      const own = axes.map((a) => i[a] as number);
      const y = (at(x, i) - broadcastAt(mean, i)) / Math.sqrt(broadcastAt(variance, i) + c.float("epsilon", "x"));
      return y * (c.op.has("gamma") ? at(c.in("gamma"), own) : 1) + (c.op.has("beta") ? at(c.in("beta"), own) : 0);
    });
  },
  l2_norm: (c) => {
    const x = c.in("x");
    const rank = x.shape.length;
    const kept = tensorType(
      "fp32",
      x.shape.map((d, a) => (a < rank - 3 ? d : 1)),
    );
    const total = reduceAxes(x, [rank - 3, rank - 2, rank - 1], kept, (v) => sum(v.map((e) => e * e)));
    return make(c.out, (i) => at(x, i) / Math.sqrt(broadcastAt(total, i) + c.float("epsilon", "x")));
  },
  reduce_sum: reduction(sum),
  reduce_mean: reduction((v) => sum(v) / v.length),
  reduce_max: reduction(largest),
  reduce_min: reduction((v) => -largest(v.map((e) => -e))),
  reduce_prod: reduction((v) => v.reduce((a, b) => a * b, 1)),
  reduce_sum_square: reduction((v) => sum(v.map((e) => e * e))),
  reduce_l2_norm: reduction((v) => Math.sqrt(sum(v.map((e) => e * e)))),
  reduce_l1_norm: reduction((v) => sum(v.map(Math.abs))),
  reduce_log_sum_exp: reduction((v) => {
    const high = largest(v);
    return high === Number.NEGATIVE_INFINITY ? high : high + Math.log(sum(v.map((e) => Math.exp(e - high))));
  }),
  reduce_argmax: arg((a, b) => a > b),
  reduce_argmin: arg((a, b) => a < b),
  topk: (c) => {
    const x = c.in("x");
    const axis = c.op.axis("axis", x.shape.length);
    return c.results.map((type, which) =>
      make(type, (i) => {
        const line = lineThrough(x, axis, i.with(axis, 0));
        const position = order(line, c.op.bool("ascending"))[i[axis] as number] as number;
        return which === 0 ? (line[position] as number) : position;
      }),
    );
  },
  argsort: (c) => {
    const axis = c.op.axis("axis", c.out.shape.length);
    return make(
      c.out,
      (i) => order(lineThrough(c.in("x"), axis, i), c.op.bool("ascending"))[i[axis] as number] as number,
    );
  },
  cumsum: (c) => {
    const axis = c.op.axis("axis", c.out.shape.length);
    return make(c.out, (i) => {
      const line = lineThrough(c.in("x"), axis, i);
      const here = i[axis] as number;
      const past = c.op.bool("reverse") ? line.slice(here) : line.slice(0, here + 1);
      return sum(past) - (c.op.bool("exclusive") ? (line[here] as number) : 0);
    });
  },

  reshape: (c) => copy(c.in("x"), c.out),
  expand_dims: (c) => copy(c.in("x"), c.out),
  squeeze: (c) => copy(c.in("x"), c.out),
  transpose: (c) => {
    const rank = c.out.shape.length;
    const perm = c.op.ints("perm").map((p) => (p + rank) % rank);
    return make(c.out, (i) =>
      at(
        c.in("x"),
        perm.map((_, a) => i[perm.indexOf(a)] as number),
      ),
    );
  },
  concat: (c) => {
    const axis = c.op.axis("axis", c.out.shape.length);
    return make(c.out, (i) => {
      let k = i[axis] as number;
      for (const t of c.list("values")) {
        if (k < (t.shape[axis] as number)) return at(t, i.with(axis, k));
        k -= t.shape[axis] as number;
      }
      throw new RangeError("concat: the result is longer than its parts");
    });
  },
  stack: (c) => {
    const axis = c.op.axis("axis", c.out.shape.length);
    return make(c.out, (i) => at(c.list("values")[i[axis] as number] as Naive, i.toSpliced(axis, 1)));
  },
  split: (c) => {
    const axis = c.op.axis("axis", c.in("x").shape.length);
    let from = 0;
    return c.results.map((type) => {
      const start = from;
      from += type.shape[axis] as number;
      return make(type, (i) => at(c.in("x"), i.with(axis, (i[axis] as number) + start)));
    });
  },
  tile: (c) =>
    make(c.out, (i) =>
      at(
        c.in("x"),
        i.map((k, a) => k % (c.in("x").shape[a] as number)),
      ),
    ),
  slice_by_index: (c) => {
    const { shape } = c.in("x");
    const begin = starts(c, shape).map((b, a) => Math.min(b, shape[a] as number));
    return make(c.out, (i) => {
      const left = [...i];
      const from = shape.map((_, a) =>
        mask(c.op, "squeeze_mask", a)
          ? (begin[a] as number)
          : (begin[a] as number) + (left.shift() as number) * strideOf(c.op, a),
      );
      return at(c.in("x"), from);
    });
  },
  slice_by_size: (c) => {
    const begin = starts(c, c.in("x").shape);
    return make(c.out, (i) =>
      at(
        c.in("x"),
        i.map((k, a) => k + (begin[a] as number)),
      ),
    );
  },
  slice_update: (c) => {
    const x = c.in("x");
    const begin = starts(c, x.shape);
    const data = x.data.slice();
    forEach(c.in("update").shape, (i, flat) => {
      const to = i.map((k, a) => (begin[a] as number) + k * strideOf(c.op, a));
      data[flatOf(x.shape, to)] = c.in("update").data[flat] as number;
    });
    return { ...c.out, data };
  },
  pad: (c) => {
    const x = c.in("x");
    const pad = c.op.ints("pad");
    const lead = x.shape.length - pad.length / 2;
    const mode = c.op.string("mode");
    return make(c.out, (i) => {
      const from = i.map((k, a) => k - (a < lead ? 0 : (pad[2 * (a - lead)] as number)));
      const inside = from.every((k, a) => k >= 0 && k < (x.shape[a] as number));
      if (!inside && mode === "constant") return c.float("constant_val", "x");
      const mapped = from.map((k, a) => {
        const last = (x.shape[a] as number) - 1;
        if (mode === "replicate") return Math.min(last, Math.max(0, k));
        return k < 0 ? -k : k > last ? 2 * last - k : k;
      });
      return at(x, mapped);
    });
  },
  fill: (c) => make(c.out, () => c.op.float("value")),
  fill_like: (c) => make(c.out, () => c.op.float("value")),
  range_1d: (c) => make(c.out, ([i]) => c.op.int("start") + (i as number) * c.op.int("step")),
  shape: (c) => make(c.out, ([i]) => c.in("x").shape[i as number] as number),
  one_hot: (c) => {
    const axis = c.op.axis("axis", c.out.shape.length);
    return make(c.out, (i) =>
      at(c.in("indices"), i.toSpliced(axis, 1)) === i[axis] ? c.op.float("on_value") : c.op.float("off_value"),
    );
  },
  band_part: (c) =>
    make(c.out, (i) => {
      const [row, column] = i.slice(-2) as [number, number];
      const low = c.op.int("lower");
      const high = c.op.int("upper");
      return (low < 0 || row - column <= low) && (high < 0 || column - row <= high) ? at(c.in("x"), i) : 0;
    }),

  gather: (c) => {
    const x = c.in("x");
    const indices = c.in("indices");
    const axis = c.op.axis("axis", x.shape.length);
    const batch = c.op.int("batch_dims");
    const width = indices.shape.length - batch;
    return make(c.out, (i) => {
      const picked = at(indices, [...i.slice(0, batch), ...i.slice(axis, axis + width)]);
      return at(x, [...i.slice(0, axis), picked, ...i.slice(axis + width)]);
    });
  },
  gather_along_axis: (c) => {
    const axis = c.op.axis("axis", c.out.shape.length);
    return make(c.out, (i) => at(c.in("x"), i.with(axis, at(c.in("indices"), i))));
  },
  gather_nd: (c) => {
    const indices = c.in("indices");
    const lead = indices.shape.length - 1;
    const batch = c.op.int("batch_dims");
    const depth = indices.shape.at(-1) as number;
    return make(c.out, (i) => {
      const picked = Array.from({ length: depth }, (_, k) => at(indices, [...i.slice(0, lead), k]));
      return at(c.in("x"), [...i.slice(0, batch), ...picked, ...i.slice(lead)]);
    });
  },
  scatter: (c) => {
    const axis = c.op.axis("axis", c.out.shape.length);
    const width = c.in("indices").shape.length;
    return scattered(c, (i) => [
      ...i.slice(0, axis),
      at(c.in("indices"), i.slice(axis, axis + width)),
      ...i.slice(axis + width),
    ]);
  },
  scatter_along_axis: (c) => {
    const axis = c.op.axis("axis", c.out.shape.length);
    return scattered(c, (i) => i.with(axis, at(c.in("indices"), i)));
  },
  scatter_nd: (c) => {
    const indices = c.in("indices");
    const lead = indices.shape.length - 1;
    const depth = indices.shape.at(-1) as number;
    return scattered(c, (i) => [
      ...Array.from({ length: depth }, (_, k) => at(indices, [...i.slice(0, lead), k])),
      ...i.slice(lead),
    ]);
  },

  constexpr_blockwise_shift_scale: (c) =>
    make(c.out, (i) => {
      const block = blockOf(i, c.out.shape, c.in("scale").shape);
      return at(c.in("scale"), block) * (at(c.in("data"), i) - (c.op.has("offset") ? at(c.in("offset"), block) : 0));
    }),
  constexpr_lut_to_dense: (c) => {
    const { shape } = c.in("indices");
    const lut = c.in("lut");
    const vector = lut.shape.at(-1) as number;
    const axis = vector === 1 ? 0 : c.op.axis("vector_axis", shape.length);
    return make(c.out, (i) => {
      const from = i.with(axis, Math.floor((i[axis] as number) / vector));
      const group = blockOf(from, shape, lut.shape.slice(0, shape.length));
      return at(lut, [...group, at(c.in("indices"), from), (i[axis] as number) % vector]);
    });
  },
  constexpr_sparse_to_dense: (c) => {
    const nonzeros = [...c.in("nonzero_data").data];
    return make(c.out, (i) => (at(c.in("mask"), i) !== 0 ? (nonzeros.shift() as number) : 0));
  },
  constexpr_lut_to_sparse: (c) => {
    const [mask, lut] = [c.in("indices_mask"), c.in("lut")];
    const vector = lut.shape.at(-1) as number;
    const axis = vector === 1 ? 0 : c.op.axis("vector_axis", mask.shape.length);
    const from = (i: readonly number[]): number[] => i.with(axis, Math.floor((i[axis] as number) / vector));
    const codes = spread(mask, c.in("indices_nonzero_data"));
    const ones = make(c.out, (i) => at(mask, from(i)));
    const values: number[] = [];
    make(c.out, (i) => {
      const group = blockOf(from(i), mask.shape, lut.shape.slice(0, -2));
      if (at(mask, from(i)) !== 0) values.push(at(lut, [...group, at(codes, from(i)), (i[axis] as number) % vector]));
      return 0;
    });
    return [ones, { ...(c.results[1] as TensorType), data: Float64Array.from(values) }];
  },
  constexpr_sparse_blockwise_shift_scale: (c) => {
    const [mask, scale] = [c.in("data_mask"), c.in("scale")];
    const codes = spread(mask, c.in("nonzero_data"));
    const values: number[] = [];
    const ones = make(c.out, (i) => {
      const block = blockOf(i, mask.shape, scale.shape);
      const offset = c.op.has("offset") ? at(c.in("offset"), block) : 0;
      if (at(mask, i) !== 0) values.push(at(scale, block) * (at(codes, i) - offset));
      return at(mask, i);
    });
    return [ones, { ...(c.results[1] as TensorType), data: Float64Array.from(values) }];
  },
  constexpr_cast: (c) => copy(c.in("source_val"), c.out),
  quantize: (c) => {
    const [low, high] = c.out.dtype === "int8" ? [-128, 127] : [0, 255];
    return make(c.out, (i) => {
      const q = roundHalfEven(at(c.in("input"), i) / alongAxis(c, "scale", i));
      return Math.min(high, Math.max(low, q + (c.op.has("zero_point") ? alongAxis(c, "zero_point", i) : 0)));
    });
  },
  dequantize: (c) =>
    make(c.out, (i) => {
      const zero = c.op.has("zero_point") ? alongAxis(c, "zero_point", i) : 0;
      return (at(c.in("input"), i) - zero) * alongAxis(c, "scale", i);
    }),
};

/** The ops the interpreter knows, besides `const`, `read_state` and `write_state`, which it handles itself. */
export const naiveOps: ReadonlySet<string> = new Set([...Object.keys(rules), "const", "read_state", "write_state"]);

export interface NaiveOptions {
  /** Rounds every fp16 result. Otherwise everything is float64 throughout. */
  readonly float16?: boolean;
  /** Contents by state name, replaced in place by what the function writes. */
  readonly states?: Record<string, Naive>;
}

/** Outputs by name. */
export function evaluate(
  fn: MilFunction,
  inputs: Readonly<Record<string, Naive>>,
  options: NaiveOptions = {},
): Record<string, Naive> {
  const states = options.states ?? {};
  const values = new Map<Value, Naive>();
  const get = (v: Value): Naive => {
    const known = values.get(v);
    if (!known) throw new Error(`naive: ${v.name} is used before it is made`);
    return known;
  };
  for (const i of fn.inputs) {
    if (i.type.kind === "state") continue;
    const given = inputs[i.name];
    if (!given) throw new Error(`naive: input ${i.name} is missing`);
    values.set(i, given);
  }
  const run = (op: Operation): Naive[] => {
    if (op.constant) return [fromTensor(op.constant)];
    const args = argumentsOf(op);
    if (op.type === "read_state") return [states[args.value("input").name] as Naive];
    if (op.type === "write_state") {
      states[args.value("input").name] = get(args.value("data"));
      return [];
    }
    const rule = rules[op.type];
    if (!rule) throw new Error(`naive: no rule for ${op.type}`);
    const results = op.outputs.map((o) => (o.type.kind === "tensor" ? o.type : o.type.wrapped));
    const made = [
      rule({
        op: args,
        results,
        out: results[0] as TensorType,
        in: (name) => get(args.value(name)),
        list: (name) => args.values(name).map(get),
        float: (name, like) => {
          const v = args.float(name);
          return options.float16 && args.tensor(like).dtype === "fp16" ? roundToFloat16(v) : v;
        },
      }),
    ].flat();
    // A decoded weight is what its package holds, so its rounding is part of its value.
    const rounds = options.float16 || op.type.startsWith("constexpr_");
    return made.map((t) => (rounds && t.dtype === "fp16" ? { ...t, data: t.data.map(roundToFloat16) } : t));
  };
  for (const op of fn.operations) {
    run(op).forEach((t, i) => {
      values.set(op.outputs[i] as Value, t);
    });
  }
  return Object.fromEntries(fn.outputs.map((o) => [o.name, get(o)]));
}
