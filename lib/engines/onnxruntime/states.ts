/**
 * @file The states of a function as the graph holds them: f32 for both float types, divided into the parts that are used apart.
 *
 * What one slice update writes is put in place here, between two calls, so that no call gives back a cache. Functions that
 * share a state may divide it differently; it is then laid out anew between two calls.
 */
import { dim, numberAt } from "../../elements.ts";
import { EspalierError } from "../../errors.ts";
import type { SplitFunction } from "../../mil/passes/split-states.ts";
import type { MilFunction } from "../../mil/program.ts";
import { elementCount, isFloat, type Shape, type TensorType } from "../../mil/types.ts";
import type { HostData } from "../constant-pool.ts";

interface PartLayout {
  /** The name of the graph's state; null for rows that no operation touches. */
  readonly name: string | null;
  /** Elements of the whole state. */
  readonly from: number;
  readonly to: number;
}

export interface StateLayout {
  readonly name: string;
  readonly type: TensorType;
  /** In order, without a gap. */
  readonly parts: readonly PartLayout[];
}

export function stateLayouts(fn: MilFunction, { parts }: SplitFunction): StateLayout[] {
  return fn.inputs.flatMap(({ name, type }): StateLayout[] => {
    if (type.kind !== "state") return [];
    const { wrapped } = type;
    const count = elementCount(wrapped.shape);
    const division = parts.get(name);
    if (!division) return [{ name, type: wrapped, parts: [{ name, from: 0, to: count }] }];
    const rowElements = elementCount(wrapped.shape.slice(division.axis + 1));
    const all: PartLayout[] = [];
    let at = 0;
    for (const part of division.parts) {
      const [from, to] = [part.from * rowElements, part.to * rowElements];
      if (from > at) all.push({ name: null, from: at, to: from });
      all.push({ name: part.name, from, to });
      at = to;
    }
    if (at < count) all.push({ name: null, from: at, to: count });
    return [{ name, type: wrapped, parts: all }];
  });
}

interface HeldPart extends PartLayout {
  current: HostData;
}

/** What the states of one session hold. */
export class HeldStates {
  private layouts: readonly StateLayout[];
  private readonly held = new Map<string, HeldPart[]>();

  /** Zeros where nothing is given. */
  constructor(layouts: readonly StateLayout[], given: ReadonlyMap<string, HostData>) {
    this.layouts = layouts;
    for (const layout of layouts) {
      const values = given.get(layout.name)?.slice() ?? emptyData(layout.type, elementCount(layout.type.shape));
      this.held.set(layout.name, divided(layout, values));
    }
  }

  /** Lays the states out as a function with these `layouts` has them. */
  arrange(fn: string, layouts: readonly StateLayout[]): void {
    for (const layout of layouts)
      if (!this.held.has(layout.name))
        throw new EspalierError("input/invalid", `${fn}: state ${layout.name} was disposed`);
    if (layouts === this.layouts) return;
    for (const layout of layouts) {
      const before = this.layouts.find((l) => l.name === layout.name);
      if (JSON.stringify(before?.parts) !== JSON.stringify(layout.parts))
        this.held.set(layout.name, divided(layout, this.whole(layout.name)));
    }
    this.layouts = layouts;
  }

  /** All of a state, in an array of its own. Throws `input/invalid` when it was disposed. */
  whole(state: string): HostData {
    const parts = this.held.get(state);
    const layout = this.layouts.find((l) => l.name === state);
    if (!parts || !layout) throw new EspalierError("input/invalid", `state ${state} was disposed`);
    const all = emptyData(layout.type, elementCount(layout.type.shape));
    for (const { from, current } of parts) all.set(current, from);
    return all;
  }

  /** What the graph's state `part` holds. */
  current(part: string): HostData {
    return this.part(part).current;
  }

  replace(part: string, values: HostData): void {
    this.part(part).current = values;
  }

  /** Writes `update` into a part of `shape` from the position `begin` on; a negative one counts from the end. */
  write(part: string, shape: Shape, update: HostData, updateShape: Shape, begin: readonly number[]): void {
    const { current } = this.part(part);
    // Trailing axes that the update covers whole are one run.
    let outer = shape.length;
    while (outer > 0 && shape[outer - 1] === updateShape[outer - 1]) outer--;
    const run = elementCount(updateShape.slice(Math.max(0, outer - 1)));
    const steps = shape.map((_, a) => elementCount(shape.slice(a + 1)));
    for (let at = 0; at < update.length; at += run) {
      let rest = at / run;
      let to = 0;
      for (let a = Math.max(0, outer - 1) - 1; a >= 0; a--) {
        const extent = dim(updateShape, a);
        to += (rest % extent) * numberAt(steps, a);
        rest = Math.floor(rest / extent);
      }
      for (let a = 0; a < outer; a++) {
        const first = numberAt(begin, a);
        to += (first < 0 ? first + dim(shape, a) : first) * numberAt(steps, a);
      }
      current.set(update.subarray(at, at + run), to);
    }
  }

  clear(): void {
    this.held.clear();
  }

  private part(name: string): HeldPart {
    for (const parts of this.held.values()) {
      const found = parts.find((p) => p.name === name);
      if (found) return found;
    }
    throw new EspalierError("internal/invariant", `internal: there is no state ${name}`);
  }
}

const divided = ({ parts }: StateLayout, values: HostData): HeldPart[] =>
  parts.map((part) => ({ ...part, current: values.subarray(part.from, part.to) }));

function emptyData({ dtype }: TensorType, count: number): HostData {
  if (isFloat(dtype)) return new Float32Array(count);
  return dtype === "bool" ? new Uint8Array(count) : new Int32Array(count);
}
