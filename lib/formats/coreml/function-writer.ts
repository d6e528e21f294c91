/**
 * @file One function of a program as the message a package holds.
 *
 * Every parameter becomes a `const` operation bound by name, defaults included, because Apple's parser wants them; constants
 * that feed only `constexpr_*` operations are inline values of those, or their attributes where the target is older. Tensors
 * of ten elements and more go to the weight file.
 */
import { create, toBinary } from "@bufbuild/protobuf";
import { EspalierError } from "../../errors.ts";
import { argumentsOf, opSpec, type ParamSpec } from "../../mil/op.ts";
import { type MilFunction, type Operation, operandValues, type ParamValue, type Value } from "../../mil/program.ts";
import { DeferredTensor, type Tensor, zeros } from "../../mil/tensor.ts";
import { type DType, elementCount, isFloat } from "../../mil/types.ts";
import { AFFINE, attributesOf } from "./attribute-form.ts";
import { type BlobSink, WEIGHT_FILE } from "./blob-file.ts";
import * as mil from "./generated/mil_pb.ts";
import {
  immediate,
  immediateTensor,
  inlineBinding,
  nameBinding,
  paramValue,
  stringValue,
  valueType,
} from "./protobuf-values.ts";
import type { Target } from "./targets.ts";

/** Tensors with fewer elements stay in the protobuf. */
const BLOB_THRESHOLD = 10;

/** Names Core ML's text form gives a meaning of its own. */
const reserved = new Set([
  "any",
  "bool",
  "program",
  "func",
  "tensor",
  "list",
  "dict",
  "tuple",
  "true",
  "false",
  "string",
  "const",
  "state",
]);
export const isReserved = (name: string): boolean => reserved.has(name) || /^(fp|int|uint|bf)\d+$/.test(name);

/** The message of one function; its constants go to the sink. Throws `export/unsupported` for reserved names. */
export class FunctionWriter {
  private readonly fn: MilFunction;
  private readonly target: Target;
  private readonly sink: BlobSink;
  private readonly names = new Map<Value, string>();
  private readonly taken = new Set<string>();
  private readonly operations: mil.Operation[] = [];
  private readonly constants = new Map<string, string>();

  constructor(fn: MilFunction, target: Target, sink: BlobSink) {
    this.fn = fn;
    this.target = target;
    this.sink = sink;
    // Names at the boundary are given; all others make way for them.
    for (const v of [...fn.inputs, ...fn.outputs]) {
      if (isReserved(v.name))
        throw new EspalierError(
          "export/unsupported",
          `"${v.name}" is a reserved word of Core ML and cannot name an input or output`,
        );
      this.names.set(v, v.name);
      this.taken.add(v.name);
    }
  }

  async write(): Promise<mil.Function> {
    const inline = this.constantsOnlyForConstexprs();
    for (const op of this.fn.operations) {
      if (inline.has(op)) continue;
      if (op.type === "const") await this.writeConstant(op);
      else if (op.type.startsWith("constexpr_")) await this.writeConstexpr(op);
      else await this.writeOperation(op);
    }
    const block = create(mil.BlockSchema, {
      operations: this.operations,
      outputs: this.fn.outputs.map((o) => this.nameOf(o)),
    });
    return create(mil.FunctionSchema, {
      opset: this.target.opset,
      inputs: this.fn.inputs.map((i) => this.named(i)),
      blockSpecializations: { [this.target.opset]: block },
    });
  }

  private constantsOnlyForConstexprs(): Set<Operation> {
    const found = new Set(this.fn.operations.filter((op) => op.type === "const"));
    for (const op of this.fn.operations) {
      if (op.type.startsWith("constexpr_")) continue;
      for (const v of operandValues(op)) if (v.producer) found.delete(v.producer);
    }
    for (const o of this.fn.outputs) if (o.producer) found.delete(o.producer);
    return found;
  }

  private nameOf(v: Value): string {
    const known = this.names.get(v);
    if (known) return known;
    const name = this.fresh(v.name);
    this.names.set(v, name);
    return name;
  }

  private fresh(wanted: string): string {
    const legal = wanted.replace(/[^A-Za-z0-9_@]/g, "_").replace(/^(?=[^A-Za-z_])/, "_");
    const base = isReserved(legal) ? `${legal}_` : legal;
    let name = base;
    for (let i = 0; this.taken.has(name); i++) name = `${base}_v${i}`;
    this.taken.add(name);
    return name;
  }

  private named(v: Value): mil.NamedValueType {
    return create(mil.NamedValueTypeSchema, { name: this.nameOf(v), type: valueType(v.type) });
  }

  private push(
    type: string,
    name: string,
    inputs: Record<string, mil.Argument>,
    outputs: mil.NamedValueType[],
    attributes: Record<string, mil.Value> = {},
  ): void {
    const sorted = <T>(record: Record<string, T>): Record<string, T> =>
      Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)));
    this.operations.push(
      create(mil.OperationSchema, {
        type,
        inputs: sorted(inputs),
        outputs,
        attributes: sorted({ name: stringValue(name), ...attributes }),
      }),
    );
  }

  private async writeConstant(op: Operation): Promise<void> {
    const out = op.outputs[0];
    if (!out || !op.constant) throw new EspalierError("internal/invariant", `internal: const ${op.name} has no data`);
    const name = this.nameOf(out);
    this.push("const", name, {}, [this.named(out)], { val: await this.tensorValue(op.constant) });
  }

  private async writeConstexpr(op: Operation): Promise<void> {
    const outputs = op.outputs.map((o) => this.named(o));
    if (this.target.attributeConstants) {
      const attributes = await attributesOf(op, (t) => this.tensorValue(t));
      this.push(op.type === "constexpr_blockwise_shift_scale" ? AFFINE : op.type, op.name, {}, outputs, attributes);
      return;
    }
    const inputs: Record<string, mil.Argument> = {};
    for (const [name, operand] of Object.entries(op.inputs)) {
      const value = operand as Value;
      const data = value.producer?.constant;
      inputs[name] = data ? inlineBinding(await this.tensorValue(data)) : nameBinding(this.nameOf(value));
    }
    const spec = opSpec(op.type);
    for (const [name, p] of Object.entries(op.params))
      inputs[name] = inlineBinding(paramValue(p, spec.params[name]?.kind === "float" ? "fp32" : "int32"));
    this.push(op.type, op.name, inputs, outputs);
  }

  private async writeOperation(op: Operation): Promise<void> {
    const inputs: Record<string, mil.Argument> = {};
    const float = floatParameterType(op);
    for (const [name, operand] of Object.entries(op.inputs)) {
      const values = Array.isArray(operand) ? (operand as readonly Value[]) : [operand as Value];
      inputs[name] = create(mil.ArgumentSchema, {
        arguments: values.map((v) =>
          create(mil.Argument_BindingSchema, { binding: { case: "name", value: this.nameOf(v) } }),
        ),
      });
    }
    const spec = opSpec(op.type);
    for (const [name, p] of Object.entries(op.params)) {
      // Core ML refuses the type of indices that are not returned.
      if (op.type === "topk" && name === "output_indices_dtype" && op.params.return_indices === false) continue;
      const kind = spec.params[name]?.kind;
      const stored = op.type === "cumsum" && name === "axis" ? fromFront(op, Number(p)) : p;
      // coremltools changes the bounds of a slice in place, and with them every operation that shares the constant.
      const shared = !op.type.startsWith("slice_");
      inputs[name] = nameBinding(this.parameter(`${op.name}_${name}`, stored, typeOfParameter(kind, float), shared));
    }
    if (op.type === "linear" && !("bias" in op.inputs)) inputs.bias = nameBinding(await this.zeroBias(op));
    this.push(
      op.type,
      op.name,
      inputs,
      op.outputs.map((o) => this.named(o)),
    );
  }

  /** The name of a constant with a parameter's value; equal ones are written once, where they may be shared. */
  private parameter(wanted: string, p: ParamValue, dtype: DType, shared: boolean): string {
    const value = paramValue(p, dtype);
    // The bytes, because JSON has one word for both infinities and NaN.
    const key = Buffer.from(toBinary(mil.ValueSchema, value)).toString("base64");
    const known = shared ? this.constants.get(key) : undefined;
    if (known) return known;
    const name = this.fresh(wanted);
    this.push(
      "const",
      name,
      {},
      [create(mil.NamedValueTypeSchema, { name, ...(value.type ? { type: value.type } : {}) })],
      { val: value },
    );
    if (shared) this.constants.set(key, name);
    return name;
  }

  /** `linear` has a bias in every package Apple's tools write. */
  private async zeroBias(op: Operation): Promise<string> {
    const weight = op.inputs.weight as Value;
    const type = weight.type.kind === "tensor" ? weight.type : null;
    const size = type?.shape[0] ?? 0;
    const key = `zero bias ${type?.dtype} ${size}`;
    const known = this.constants.get(key);
    if (known) return known;
    const name = this.fresh(`zero_bias_${size}`);
    const value = await this.tensorValue(zeros({ dtype: type?.dtype ?? "fp32", shape: [size] }));
    this.push(
      "const",
      name,
      {},
      [create(mil.NamedValueTypeSchema, { name, ...(value.type ? { type: value.type } : {}) })],
      { val: value },
    );
    this.constants.set(key, name);
    return name;
  }

  private async tensorValue(t: Tensor): Promise<mil.Value> {
    const type = valueType({ kind: "tensor", dtype: t.dtype, shape: t.shape });
    if (elementCount(t.shape) >= BLOB_THRESHOLD && this.target.fileDTypes.includes(t.dtype)) {
      const offset = await this.sink.add(t);
      return create(mil.ValueSchema, {
        type,
        value: {
          case: "blobFileValue",
          value: create(mil.Value_BlobFileValueSchema, { fileName: WEIGHT_FILE, offset: BigInt(offset) }),
        },
      });
    }
    return immediate(type, immediateTensor(t instanceof DeferredTensor ? await this.sink.small(t) : t));
  }
}

const typeOfParameter = (kind: ParamSpec["kind"] | undefined, float: DType): DType =>
  kind === "float" ? float : kind === "bools" ? "bool" : "int32";

/** Core ML takes an axis of `cumsum` counted from the back only when it is the last. */
const fromFront = (op: Operation, axis: number): number => {
  const { shape } = argumentsOf(op).tensor("x");
  return axis < 0 ? axis + shape.length : axis;
};

/** MIL requires floating-point parameters in the type of the result or, if the result is not a
 * float, of the operands. */
function floatParameterType(op: Operation): DType {
  for (const v of [...op.outputs, ...operandValues(op)])
    if (v.type.kind === "tensor" && isFloat(v.type.dtype)) return v.type.dtype;
  return "fp32";
}
