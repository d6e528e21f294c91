/**
 * @file The KV caches of one function: how a layer's new keys and values are stored, and what its
 * queries see.
 *
 *   slice   cache[rows, begin … end] = new                                  one consecutive run of slots, indices from the host
 *   blend   cache[rows] = keep ⊙ cache[rows] + write · new                  write (n, S) one-hot, keep (n, 1) 0 or 1, exact
 *
 * As states, caches are read and written layer by layer, always read again after a write. As
 * arguments (iOS 17) they are inputs, blended layer by layer, and are returned together as
 * `<name>_out`. The graph computes no index: the host supplies them.
 */
import { dim } from "../../elements.ts";
import type { Builder } from "../../mil/builder.ts";
import type { Value } from "../../mil/program.ts";
import { i32, zeros } from "../../mil/tensor.ts";
import { type FloatDType, int32, stateType, tensorType } from "../../mil/types.ts";
import type { FunctionCache } from "../package-interface.ts";
import type { CachePlan } from "./plan.ts";

/** The new keys and values of a layer, both (1, groups, S, headDim). */
export interface NewEntries {
  readonly k: Value;
  readonly v: Value;
  readonly groups: number;
  readonly headDim: number;
  /** The first of the layer's rows. */
  readonly row: number;
}

/** All keys and values a layer's queries may see, both (1, groups, N, headDim). */
export interface SeenEntries {
  readonly k: Value;
  readonly v: Value;
}

export class FunctionCacheValues {
  private readonly b: Builder;
  private readonly plan: CachePlan;
  private readonly entry: FunctionCache;
  private readonly width: number;
  private readonly dtype: FloatDType;
  private readonly form: "state" | "arguments";
  private readonly cache: Value;
  /** Indices (1) for `slice`, matrices for `blend`. */
  private readonly begin: Value;
  private readonly end: Value;
  /** The updated rows, for caches that are arguments. */
  private readonly leaving: Value[] = [];

  constructor(
    b: Builder,
    options: {
      plan: CachePlan;
      entry: FunctionCache;
      width: number;
      dtype: FloatDType;
      form: "state" | "arguments";
    },
  ) {
    const { plan, entry, width, dtype, form } = options;
    this.b = b;
    this.plan = plan;
    this.entry = entry;
    this.width = width;
    this.dtype = dtype;
    this.form = form;
    const type = tensorType(dtype, [1, plan.rows, entry.slots, plan.dimension]);
    this.cache = b.input(plan.name, form === "state" ? stateType(type) : type);
    if (entry.write === "slice") {
      this.begin = b.input(`begin_${plan.name}`, int32(1));
      this.end = b.input(`end_${plan.name}`, int32(1));
    } else {
      this.begin = b.input(`write_${plan.name}`, tensorType(dtype, [1, 1, entry.slots, width]));
      this.end = b.input(`keep_${plan.name}`, tensorType(dtype, [1, 1, entry.slots, 1]));
    }
  }

  /** Stores a layer's new entries and returns what its queries see. */
  update(entries: NewEntries): SeenEntries {
    const { b } = this;
    const joined = this.padded(b.concat([entries.k, entries.v], 1), entries.headDim);
    if (this.entry.write === "slice") {
      this.writeSlice(joined, entries);
      return this.split(this.rows(entries), entries);
    }
    const old = this.rows(entries);
    const placed = this.width === 1 ? b.mul(this.begin, joined) : b.matmul(this.begin, joined);
    const fresh = b.add(b.mul(old, this.end), placed);
    this.leave(fresh, entries);
    if (this.entry.attends === "cache") return this.split(fresh, entries);
    return this.split(b.concat([old, joined], 2), entries);
  }

  /** The caches as outputs, for those that are arguments. */
  outputs(): Record<string, Value> {
    return this.form === "state" ? {} : { [`${this.plan.name}_out`]: this.b.concat(this.leaving, 1) };
  }

  /** Narrow heads are padded with zeros to the cache's dimension. */
  private padded(x: Value, headDim: number): Value {
    const { b, plan, width } = this;
    if (headDim === plan.dimension) return x;
    const rows = x.type.kind === "tensor" ? dim(x.type.shape, 1) : 0;
    const fill = b.constant(zeros({ dtype: this.dtype, shape: [1, rows, width, plan.dimension - headDim] }), "padding");
    return b.concat([x, fill], 3);
  }

  /** A layer's rows of the cache, (1, 2 · groups, n, D). */
  private rows({ row, groups }: NewEntries): Value {
    const { b, plan, entry } = this;
    const all = this.form === "state" ? b.readState(this.cache) : this.cache;
    return b.slice(all, [0, row, 0, 0], [1, row + 2 * groups, entry.slots, plan.dimension]);
  }

  private split(rows: Value, { groups, headDim }: NewEntries): SeenEntries {
    const { b, plan } = this;
    const [k, v] = b.split(rows, [groups, groups], 1) as [Value, Value];
    const narrow = (x: Value): Value => {
      const [, g, n] = (x.type.kind === "tensor" ? x.type.shape : []) as [number, number, number];
      return headDim === plan.dimension ? x : b.slice(x, [0, 0, 0, 0], [1, g, n, headDim]);
    };
    return { k: narrow(k), v: narrow(v) };
  }

  private writeSlice(joined: Value, { row, groups }: NewEntries): void {
    const { b, plan } = this;
    const at = (n: number): Value => b.constant(i32([1], [n]));
    const begin = b.concat([at(0), at(row), this.begin, at(0)], 0);
    const end = b.concat([at(1), at(row + 2 * groups), this.end, at(plan.dimension)], 0);
    const masks = { begin: [true, false, false, true], end: [true, false, false, true] };
    b.writeState(this.cache, b.sliceUpdate(b.readState(this.cache), joined, begin, end, masks));
  }

  private leave(fresh: Value, { row, groups }: NewEntries): void {
    const { b, plan, entry } = this;
    if (this.form === "arguments") {
      this.leaving.push(fresh);
      return;
    }
    const begin = b.constant(i32([4], [0, row, 0, 0]));
    const end = b.constant(i32([4], [1, row + 2 * groups, entry.slots, plan.dimension]));
    const none = [false, false, false, false];
    b.writeState(this.cache, b.sliceUpdate(b.readState(this.cache), fresh, begin, end, { begin: none, end: none }));
  }
}
