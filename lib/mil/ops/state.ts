/** @file Reading and writing states (iOS 18). Neither has a gradient. */
import { defineOp } from "../op.ts";
import { sameType, showType } from "../types.ts";
import { floats } from "./common.ts";

defineOp({
  type: "read_state",
  stateful: "read",
  inputs: { input: { dtypes: "state" } },
  params: {},
  infer: (op) => {
    const { type } = op.value("input");
    return [type.kind === "state" ? type.wrapped : op.fail("input", "a state", showType(type))];
  },
  flops: () => 0,
});

defineOp({
  type: "write_state",
  stateful: "write",
  inputs: { input: { dtypes: "state" }, data: { dtypes: floats } },
  params: {},
  infer: (op) => {
    const { type } = op.value("input");
    if (type.kind === "state" && !sameType(type.wrapped, op.tensor("data"))) {
      op.fail("data", showType(type.wrapped), showType(op.tensor("data")));
    }
    return [];
  },
  flops: () => 0,
});
