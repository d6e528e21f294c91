/**
 * @file The constants of functions as engines compute with them: floats as fp32, integers as int32, bool as bytes.
 *
 * Compressed constants are decoded once, piece by piece, and shared by all functions that hold the same one: the functions of a
 * package have one set of weights in memory, whatever their number. A value lives as long as something that was compiled with
 * it; the pool itself keeps none.
 */
import { f32At, numberAt } from "../elements.ts";
import { EspalierError, invariant } from "../errors.ts";
import { float16Table, float32FromFloat16 } from "../float16.ts";
import { codesOperand, constexprDecoder, decodeConstexpr } from "../mil/constexpr.ts";
import { argumentsOf, isConstantOperation } from "../mil/op.ts";
import { type MilFunction, type Operation, operandValues, type Value } from "../mil/program.ts";
import { DeferredTensor, newData, type Tensor, type TensorData } from "../mil/tensor.ts";
import { type DType, elementCount, isFloat, type TensorType } from "../mil/types.ts";
import { eventLoopTurn } from "../turn.ts";

export type HostData = Float32Array | Int32Array | Uint8Array;

export interface HostConstant {
  /** As the program declares it. */
  readonly type: TensorType;
  readonly data: HostData;
}

/** The data of a tensor in memory, without a copy where it has this form already. */
export function hostData(t: Tensor): HostData {
  const { data } = t;
  if (t.dtype === "fp16" && data instanceof Uint16Array) return float32FromFloat16(data);
  if (t.dtype === "bool" && data instanceof Uint8Array) return data;
  return data instanceof Float32Array || data instanceof Int32Array ? data : Int32Array.from(data);
}

interface SharedValue {
  readonly key: string;
  /** What else the value depends on. */
  readonly operands: readonly object[];
  readonly data: WeakRef<HostData>;
}

/** What tells two constants apart: deferred ones by what makes them, whatever their shape. */
const identityOf = (t: Tensor): object => (t instanceof DeferredTensor ? t.pieces : t);

/** Made of constants, not one that is given. */
const isConstexpr = (op: Operation): boolean => isConstantOperation(op) && !op.constant;

/** One for an engine. */
export class ConstantPool {
  private readonly shared = new WeakMap<object, SharedValue[]>();
  /** Functions are served one after the other, so that two that are compiled at once share. */
  private last: Promise<unknown> = Promise.resolve();

  /** Every constant that an operation of `fn` computes with, or that it gives. Throws what decoding and reading throw. */
  valuesOf(fn: MilFunction): Promise<ReadonlyMap<Value, HostConstant>> {
    const made = this.last.catch(() => {}).then(() => this.make(fn));
    this.last = made;
    return made;
  }

  private async make(fn: MilFunction): Promise<Map<Value, HostConstant>> {
    const wanted = new Set<Value>(fn.outputs);
    for (const op of fn.operations) if (!isConstexpr(op)) for (const v of operandValues(op)) wanted.add(v);
    const values = new Map<Value, HostConstant>();
    for (const op of fn.operations) {
      for (const result of op.outputs) {
        if (result.type.kind !== "tensor" || !wanted.has(result)) continue;
        if (op.constant) values.set(result, { type: typeOf(op.constant), data: await this.plain(op.constant) });
        else if (isConstexpr(op))
          values.set(result, { type: result.type, data: await this.compressed(op, result, result.type) });
      }
    }
    return values;
  }

  private async plain(t: Tensor): Promise<HostData> {
    if (!(t instanceof DeferredTensor)) return hostData(t);
    return this.once({ of: t.pieces, key: `plain ${t.dtype}`, operands: [] }, async () => {
      const half = float16Table();
      const data = hostArray(t.dtype, elementCount(t.shape));
      const count = await eachPiece(t, (piece, from) => {
        if (t.dtype === "fp16") for (let i = 0; i < piece.length; i++) data[from + i] = f32At(half, numberAt(piece, i));
        else data.set(piece, from);
      });
      requireCount(t, count);
      return data;
    });
  }

  private async compressed(op: Operation, output: Value, result: TensorType): Promise<HostData> {
    const args = argumentsOf(op);
    const codesName = codesOperand[op.type];
    const stored = codesName === undefined ? undefined : constantOf(op, codesName).producer?.constant;
    if (codesName === undefined || stored === undefined) return hostData(await wholeTensor(output));
    const operands: Record<string, Tensor> = {};
    for (const name of Object.keys(op.inputs))
      if (name !== codesName) operands[name] = await wholeTensor(constantOf(op, name));
    const decoder = constexprDecoder(args, operands, stored.shape, result);
    const others = Object.keys(operands).map((name) => {
      const operand = constantOf(op, name);
      return operand.producer?.constant ? identityOf(operand.producer.constant) : operand;
    });
    return this.once({ of: identityOf(stored), key: decoder.key, operands: others }, async () => {
      const values = new Float32Array(elementCount(result.shape));
      requireCount(stored, await eachPiece(stored, (piece, from) => decoder.decode(piece, from, values)));
      decoder.finish();
      return isFloat(result.dtype) ? values : Int32Array.from(values);
    });
  }

  private async once(
    what: { of: object; key: string; operands: readonly object[] },
    make: () => Promise<HostData>,
  ): Promise<HostData> {
    const known = (this.shared.get(what.of) ?? []).filter((v) => v.data.deref() !== undefined);
    const same = known.find(
      (v) =>
        v.key === what.key &&
        v.operands.length === what.operands.length &&
        v.operands.every((o, i) => o === what.operands[i]),
    );
    const data = same?.data.deref() ?? (await make());
    if (!same) known.push({ key: what.key, operands: what.operands, data: new WeakRef(data) });
    this.shared.set(what.of, known);
    return data;
  }
}

const typeOf = ({ dtype, shape }: Tensor): TensorType => ({ kind: "tensor", dtype, shape });

function hostArray(dtype: DType, count: number): HostData {
  if (isFloat(dtype)) return new Float32Array(count);
  return dtype === "bool" ? new Uint8Array(count) : new Int32Array(count);
}

/** The constant or compressed constant that an operand is. Throws `program/type` for a value known only at run time. */
function constantOf(op: Operation, name: string): Value {
  const value = argumentsOf(op).value(name);
  const { producer } = value;
  if (producer && (producer.constant || isConstexpr(producer))) return value;
  throw new EspalierError("program/type", `${op.type}: ${name} must be a constant (at ${op.name})`);
}

/** A constant in memory, in the arrays of its type. */
async function wholeTensor(value: Value): Promise<Tensor> {
  const op = value.producer;
  invariant(op, `${value.name} is no constant`);
  const t = op.constant;
  if (t instanceof DeferredTensor) {
    const data = newData(t.dtype, elementCount(t.shape));
    requireCount(t, await eachPiece(t, (piece, from) => data.set(piece, from)));
    return { dtype: t.dtype, shape: t.shape, data };
  }
  if (t) return t;
  const operands: Record<string, Tensor> = {};
  for (const name of Object.keys(op.inputs)) operands[name] = await wholeTensor(constantOf(op, name));
  if (value.type.kind !== "tensor") throw new EspalierError("program/type", `${op.name} gives no tensor`);
  return decodeConstexpr(argumentsOf(op), operands, value.type, op.outputs.indexOf(value));
}

/** Elements at once, so that a loop over them takes tens of milliseconds. */
const PIECE_ELEMENTS = 1 << 22;

/** Hands on the data of a tensor piece by piece, with a turn of the event loop after each; gives how many elements there were. */
async function eachPiece(t: Tensor, take: (piece: TensorData, from: number) => void): Promise<number> {
  let from = 0;
  for await (const whole of t instanceof DeferredTensor ? t.pieces() : [t.data]) {
    for (let at = 0; at < whole.length; at += PIECE_ELEMENTS) {
      const piece = whole.subarray(at, at + PIECE_ELEMENTS);
      take(piece, from);
      from += piece.length;
      if (piece.length === PIECE_ELEMENTS) await eventLoopTurn();
    }
  }
  return from;
}

function requireCount(t: Tensor, found: number): void {
  if (found !== elementCount(t.shape))
    throw new EspalierError("internal/invariant", `internal: ${found} of ${elementCount(t.shape)} elements were made`);
}
