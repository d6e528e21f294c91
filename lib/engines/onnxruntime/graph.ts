/**
 * @file Writes an ONNX graph node by node: names, initializers, attributes, and at the end the model's bytes.
 *
 * Reference: ONNX IR version 10, opset 21, and ONNX Runtime's `com.microsoft` opset 1 for its fused products.
 * Names made here contain a dot, which no MIL name does, so the two never meet. Not included: subgraphs.
 */
import { create, toBinary } from "@bufbuild/protobuf";
import {
  type AttributeProto,
  AttributeProto_AttributeType,
  AttributeProtoSchema,
  GraphProtoSchema,
  ModelProtoSchema,
  type NodeProto,
  NodeProtoSchema,
  type TensorProto,
  TensorProto_DataType,
  TensorProtoSchema,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from "../../formats/onnx/generated/onnx_pb.ts";
import type { DType, Shape } from "../../mil/types.ts";

/** A plain number is an integer attribute. */
export type AttributeValue = number | string | readonly number[] | { readonly float: number };

export type OnnxType = "float" | "int32" | "bool" | "int64" | "float16" | "int8" | "uint8" | "int16" | "uint16";

const typeCodes: Record<OnnxType, number> = {
  float: TensorProto_DataType.FLOAT,
  int32: TensorProto_DataType.INT32,
  bool: TensorProto_DataType.BOOL,
  int64: TensorProto_DataType.INT64,
  float16: TensorProto_DataType.FLOAT16,
  int8: TensorProto_DataType.INT8,
  uint8: TensorProto_DataType.UINT8,
  int16: TensorProto_DataType.INT16,
  uint16: TensorProto_DataType.UINT16,
};

/** What holds a MIL element in the graph: floats as f32, every integer as int32, whose kernels are complete. */
export function onnxType(dtype: DType): "float" | "int32" | "bool" {
  if (dtype === "fp16" || dtype === "fp32") return "float";
  return dtype === "bool" ? "bool" : "int32";
}

export class OnnxGraph {
  private readonly nodes: NodeProto[] = [];
  private readonly initializers: TensorProto[] = [];
  private readonly inputs: ValueInfoProto[] = [];
  private readonly outputs: ValueInfoProto[] = [];
  private readonly known = new Map<string, string>();
  private counter = 0;
  private readonly fusesProducts: boolean;

  /** `fusesProducts`: the provider that runs this has `FusedMatMul`. */
  constructor({ fusesProducts = true }: { fusesProducts?: boolean } = {}) {
    this.fusesProducts = fusesProducts;
  }

  private fresh(base: string): string {
    return `${base}.${this.counter++}`;
  }

  input(name: string, type: OnnxType, shape: Shape): void {
    this.inputs.push(valueInfo(name, type, shape));
  }

  /** Declares `value` as the graph output `name`. */
  output(name: string, value: string, type: OnnxType, shape: Shape): void {
    this.push("Identity", [value], [name], {}, "");
    this.outputs.push(valueInfo(name, type, shape));
  }

  /** One node with one output, which is given back. An absent optional input is the empty string. */
  node(type: string, inputs: readonly string[], attributes: Record<string, AttributeValue> = {}, domain = ""): string {
    const output = this.fresh(type);
    this.push(type, inputs, [output], attributes, domain);
    return output;
  }

  /** One node with `count` outputs. */
  multiple(
    type: string,
    inputs: readonly string[],
    count: number,
    attributes: Record<string, AttributeValue> = {},
  ): string[] {
    const outputs = Array.from({ length: count }, () => this.fresh(type));
    this.push(type, inputs, outputs, attributes, "");
    return outputs;
  }

  private push(
    type: string,
    inputs: readonly string[],
    outputs: readonly string[],
    attributes: Record<string, AttributeValue>,
    domain: string,
  ): void {
    this.nodes.push(
      create(NodeProtoSchema, {
        input: [...inputs],
        output: [...outputs],
        name: outputs[0] ?? type,
        opType: type,
        domain,
        attribute: Object.entries(attributes).map(([name, v]) => attribute(name, v)),
      }),
    );
  }

  /** A constant; `data` is not copied before the model is written. Equal small constants are written once. */
  initializer(type: OnnxType, shape: Shape, data: ArrayBufferView): string {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const key = bytes.length <= 64 ? `${type}[${shape}]${bytes}` : null;
    const before = key ? this.known.get(key) : undefined;
    if (before) return before;
    const name = this.fresh("constant");
    this.initializers.push(
      create(TensorProtoSchema, { name, dims: shape.map(BigInt), dataType: typeCodes[type], rawData: bytes }),
    );
    if (key) this.known.set(key, name);
    return name;
  }

  float(value: number, shape: Shape = []): string {
    return this.initializer("float", shape, Float32Array.of(value));
  }

  int64(values: readonly number[]): string {
    return this.initializer("int64", [values.length], BigInt64Array.from(values, BigInt));
  }

  /** A scalar of the type that holds `dtype`. */
  scalar(dtype: DType, value: number): string {
    const type = onnxType(dtype);
    if (type === "float") return this.float(value);
    return type === "int32"
      ? this.initializer("int32", [], Int32Array.of(value))
      : this.initializer("bool", [], Uint8Array.of(value === 0 ? 0 : 1));
  }

  /** `value` everywhere. Written out when small, expanded at load otherwise. */
  filled(dtype: DType, shape: Shape, value: number): string {
    if (shape.includes(0)) return this.initializer(onnxType(dtype), shape, new Uint8Array(0));
    const scalar = this.scalar(dtype, value);
    return shape.length === 0 ? scalar : this.node("Expand", [scalar, this.int64(shape)]);
  }

  reshape(x: string, shape: Shape): string {
    return this.node("Reshape", [x, this.int64(shape)], shape.includes(0) ? { allowzero: 1 } : {});
  }

  /** scale · x y over batches, either transposed in its last two axes. */
  product(
    [x, xRank]: readonly [name: string, rank: number],
    [y, yRank]: readonly [name: string, rank: number],
    how: { readonly transposeX?: boolean; readonly transposeY?: boolean; readonly scale?: number },
  ): string {
    const { transposeX = false, transposeY = false, scale = 1 } = how;
    if (this.fusesProducts) {
      const attributes = { transA: Number(transposeX), transB: Number(transposeY), alpha: { float: scale } };
      return this.node("FusedMatMul", [x, y], attributes, "com.microsoft");
    }
    const swapped = (name: string, rank: number): string =>
      this.node("Transpose", [name], { perm: [...Array(rank - 2).keys(), rank - 1, rank - 2] });
    const plain = this.node("MatMul", [transposeX ? swapped(x, xRank) : x, transposeY ? swapped(y, yRank) : y]);
    return scale === 1 ? plain : this.node("Mul", [plain, this.float(scale)]);
  }

  cast(x: string, to: OnnxType): string {
    return this.node("Cast", [x], { to: typeCodes[to] });
  }

  nodeNames(): Map<string, string[]> {
    const names = new Map<string, string[]>();
    for (const { opType, name } of this.nodes) names.set(opType, [...(names.get(opType) ?? []), name]);
    return names;
  }

  /** The whole model as `ModelProto` bytes. */
  model(name: string): Uint8Array {
    return toBinary(
      ModelProtoSchema,
      create(ModelProtoSchema, {
        irVersion: 10n,
        producerName: "espalier",
        opsetImport: [
          { domain: "", version: 21n },
          { domain: "com.microsoft", version: 1n },
        ],
        graph: create(GraphProtoSchema, {
          name,
          node: this.nodes,
          initializer: this.initializers,
          input: this.inputs,
          output: this.outputs,
        }),
      }),
    );
  }
}

function valueInfo(name: string, type: OnnxType, shape: Shape): ValueInfoProto {
  return create(ValueInfoProtoSchema, {
    name,
    type: {
      value: {
        case: "tensorType",
        value: {
          elemType: typeCodes[type],
          shape: { dim: shape.map((d) => ({ value: { case: "dimValue" as const, value: BigInt(d) } })) },
        },
      },
    },
  });
}

function attribute(name: string, value: AttributeValue): AttributeProto {
  if (typeof value === "number") {
    return create(AttributeProtoSchema, { name, type: AttributeProto_AttributeType.INT, i: BigInt(value) });
  }
  if (typeof value === "string") {
    const s = new TextEncoder().encode(value);
    return create(AttributeProtoSchema, { name, type: AttributeProto_AttributeType.STRING, s });
  }
  if ("float" in value) {
    return create(AttributeProtoSchema, { name, type: AttributeProto_AttributeType.FLOAT, f: value.float });
  }
  return create(AttributeProtoSchema, { name, type: AttributeProto_AttributeType.INTS, ints: value.map(BigInt) });
}
