/**
 * @file Elements of arrays, maps and records, checked: what `noUncheckedIndexedAccess` asks for, in one place instead of a cast at each use.
 *
 * One function per type of array, so that each call site stays fast: V8 inlines a small function that has only ever seen one kind of
 * array. All throw `internal/invariant` when the element is missing; no input may cause that. The kernels that quantizing and training
 * wait for (k-means, sorting, GPTQ, Cholesky, decoding, packing, AdamW) keep `as number`: their whole time is spent on elements.
 */
import { EspalierError } from "./errors.ts";

const outside = (length: number, i: number): never => {
  throw new EspalierError("internal/invariant", `internal: element ${i} of ${length}`);
};

export const f32At = (a: Float32Array, i: number): number => a[i] ?? outside(a.length, i);
export const f64At = (a: Float64Array, i: number): number => a[i] ?? outside(a.length, i);
export const i32At = (a: Int32Array, i: number): number => a[i] ?? outside(a.length, i);
export const u32At = (a: Uint32Array, i: number): number => a[i] ?? outside(a.length, i);
export const u16At = (a: Uint16Array, i: number): number => a[i] ?? outside(a.length, i);
export const i8At = (a: Int8Array, i: number): number => a[i] ?? outside(a.length, i);
export const u8At = (a: Uint8Array, i: number): number => a[i] ?? outside(a.length, i);

/** Of a list of any kind, outside of hot loops. */
export const numberAt = (a: ArrayLike<number>, i: number): number => a[i] ?? outside(a.length, i);

/** The size of an axis; −1 is the last one. */
export const dim = (shape: readonly number[], axis: number): number => shape.at(axis) ?? outside(shape.length, axis);

/** An element of a list of objects. */
export const itemAt = <T>(list: ArrayLike<T | undefined>, i: number): T => {
  const found = list[i];
  return found === undefined ? outside(list.length, i) : found;
};

export const lastOf = <T>(list: ArrayLike<T | undefined>): T => itemAt(list, list.length - 1);

const missing = (name: unknown): never => {
  throw new EspalierError("internal/invariant", `internal: nothing under "${String(name)}"`);
};

/** What a map has under a key. */
export const under = <K, T>(map: ReadonlyMap<K, T | undefined>, key: K): T => {
  const found = map.get(key);
  return found === undefined ? missing(key) : found;
};

/** What a record has under a name, such as an output of a program. */
export const named = <K extends string, T>(record: Readonly<Partial<Record<K, T>>>, name: K): T => {
  const found = record[name];
  return found === undefined ? missing(name) : found;
};
