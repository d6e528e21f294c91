/**
 * @file Types, tensors and parameters as the messages of Core ML's protobuf.
 *
 * Reference: `MIL.proto`. fp16 and types of one byte or less are raw bytes, sub-byte ones packed; int16 and uint16 travel as ints.
 */
import { create } from "@bufbuild/protobuf";
import { EspalierError } from "../../errors.ts";
import { toFloat16Bits } from "../../float16.ts";
import type { ParamValue } from "../../mil/program.ts";
import { type Tensor, tensor } from "../../mil/tensor.ts";
import type { DType, ValueType } from "../../mil/types.ts";
import { milDataTypes, storedBytes } from "./element-types.ts";
import * as mil from "./generated/mil_pb.ts";

export const nameBinding = (name: string): mil.Argument =>
  create(mil.ArgumentSchema, {
    arguments: [create(mil.Argument_BindingSchema, { binding: { case: "name", value: name } })],
  });

export const inlineBinding = (value: mil.Value): mil.Argument =>
  create(mil.ArgumentSchema, {
    arguments: [create(mil.Argument_BindingSchema, { binding: { case: "value", value } })],
  });

export function valueType(type: ValueType): mil.ValueType {
  if (type.kind === "state") {
    return create(mil.ValueTypeSchema, {
      type: { case: "stateType", value: create(mil.StateTypeSchema, { wrappedType: valueType(type.wrapped) }) },
    });
  }
  const dimensions = type.shape.map((d) =>
    create(mil.DimensionSchema, {
      dimension: { case: "constant", value: create(mil.Dimension_ConstantSchema, { size: BigInt(d) }) },
    }),
  );
  const value = create(mil.TensorTypeSchema, {
    dataType: milDataTypes[type.dtype],
    rank: BigInt(type.shape.length),
    dimensions,
  });
  return create(mil.ValueTypeSchema, { type: { case: "tensorType", value } });
}

export const immediate = (type: mil.ValueType, value: mil.TensorValue): mil.Value =>
  create(mil.ValueSchema, {
    type,
    value: {
      case: "immediateValue",
      value: create(mil.Value_ImmediateValueSchema, { value: { case: "tensor", value } }),
    },
  });

export function immediateTensor(t: Tensor): mil.TensorValue {
  const numbers = [...t.data];
  if (t.dtype === "fp32")
    return create(mil.TensorValueSchema, {
      value: { case: "floats", value: create(mil.TensorValue_RepeatedFloatsSchema, { values: numbers }) },
    });
  if (t.dtype === "bool") {
    const values = numbers.map((v) => v !== 0);
    return create(mil.TensorValueSchema, {
      value: { case: "bools", value: create(mil.TensorValue_RepeatedBoolsSchema, { values }) },
    });
  }
  if (t.dtype === "int32" || t.dtype === "int16" || t.dtype === "uint16") {
    return create(mil.TensorValueSchema, {
      value: { case: "ints", value: create(mil.TensorValue_RepeatedIntsSchema, { values: numbers }) },
    });
  }
  return create(mil.TensorValueSchema, {
    value: { case: "bytes", value: create(mil.TensorValue_RepeatedBytesSchema, { values: storedBytes(t).slice() }) },
  });
}

export const stringValue = (text: string): mil.Value => paramValue(text, "string");

/** A vector of a type that no tensor here has. */
export function uint32Vector(values: readonly number[]): mil.Value {
  const type = valueType({ kind: "tensor", dtype: "int32", shape: [values.length] });
  if (type.type.case === "tensorType") type.type.value.dataType = mil.DataType.UINT32;
  const bytes = new Uint8Array(Uint32Array.from(values).buffer);
  return immediate(
    type,
    create(mil.TensorValueSchema, {
      value: { case: "bytes", value: create(mil.TensorValue_RepeatedBytesSchema, { values: bytes }) },
    }),
  );
}

/** A parameter as an immediate value; numbers take the type `dtype`. */
export function paramValue(p: ParamValue, dtype: DType): mil.Value {
  const items = Array.isArray(p) ? (p as readonly (number | boolean)[]) : [p];
  const shape = Array.isArray(p) ? [items.length] : [];
  if (typeof p === "string") {
    const value = create(mil.TensorValueSchema, {
      value: { case: "strings", value: create(mil.TensorValue_RepeatedStringsSchema, { values: [p] }) },
    });
    return immediate(valueType({ kind: "tensor", dtype: "string", shape: [] }), value);
  }
  if (dtype === "bool" || items.some((v) => typeof v === "boolean")) {
    return immediate(
      valueType({ kind: "tensor", dtype: "bool", shape }),
      immediateTensor(tensor("bool", shape, Uint8Array.from(items, Number))),
    );
  }
  const numbers = items.map(Number);
  const beyond = dtype === "fp16" ? numbers.find((v) => Number.isFinite(v) && Math.abs(v) >= 65520) : undefined;
  if (beyond !== undefined)
    throw new EspalierError("program/type", `the parameter ${beyond} is beyond fp16's 65504`, {
      hint: "Choose a smaller bound, or compute this operation in fp32.",
    });
  const data =
    dtype === "fp16"
      ? tensor("fp16", shape, Uint16Array.from(numbers, toFloat16Bits))
      : dtype === "fp32"
        ? tensor("fp32", shape, Float32Array.from(numbers))
        : tensor("int32", shape, Int32Array.from(numbers));
  return immediate(valueType({ kind: "tensor", dtype: data.dtype, shape }), immediateTensor(data));
}
