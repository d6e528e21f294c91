/** @file The fused `scaled_dot_product_attention` of iOS 18. */
import { dim } from "../../elements.ts";
import { defineOp } from "../op.ts";
import type { Value } from "../program.ts";
import { elementCount, sameShape, showType, tensorType } from "../types.ts";
import { broadcastShapes, floats } from "./common.ts";

// softmax(q kᵀ / √E + mask) v, with equal batch axes: no grouped queries, no other scale
defineOp({
  type: "scaled_dot_product_attention",
  inputs: {
    query: { dtypes: floats },
    key: { dtypes: floats },
    value: { dtypes: floats },
    attn_mask: { dtypes: ["fp16", "fp32", "bool"], optional: true },
  },
  params: {},
  infer: (op) => {
    const q = op.tensor("query");
    const k = op.tensor("key");
    const v = op.tensor("value");
    if (q.shape.length < 3) op.fail("query", "of rank 3 or more", showType(q));
    const batch = q.shape.slice(0, -2);
    if (!sameShape(k.shape.slice(0, -2), batch) || k.shape.at(-1) !== q.shape.at(-1)) {
      op.fail("key", `[${batch.join(", ")}, S, ${q.shape.at(-1)}] to match query`, showType(k));
    }
    if (!sameShape(v.shape.slice(0, -1), k.shape.slice(0, -1))) {
      op.fail("value", `[${k.shape.slice(0, -1).join(", ")}, EV] to match key`, showType(v));
    }
    const mask = op.optional("attn_mask");
    if (mask) {
      const scores = [...batch, dim(q.shape, -2), dim(k.shape, -2)];
      const fits = broadcastShapes(scores, op.shape("attn_mask"));
      if (!fits || !sameShape(fits, scores))
        op.fail("attn_mask", `broadcastable to [${scores.join(", ")}]`, showType(mask.type));
    }
    return [tensorType(q.dtype, [...q.shape.slice(0, -1), dim(v.shape, -1)])];
  },
  flops: (op) => {
    const scores = elementCount(op.shape("query").slice(0, -1)) * dim(op.shape("key"), -2);
    return 2 * scores * (dim(op.shape("query"), -1) + dim(op.shape("value"), -1)) + 5 * scores;
  },
  gradient: ({ b, op, dy }) => {
    const q = op.value("query");
    const k = op.value("key");
    const v = op.value("value");
    const scale = 1 / Math.sqrt(dim(op.shape("query"), -1));
    const raw = b.mul(b.matmul(q, k, { transposeY: true }), scale);
    const mask = op.optional("attn_mask");
    const boolean = mask?.type.kind === "tensor" && mask.type.dtype === "bool";
    const scores = !mask ? raw : boolean ? b.select(mask, raw, -30000) : b.add(raw, mask);
    const p: Value = b.softmax(scores);
    const dScores = (): Value => {
      const dp = b.matmul(dy(), v, { transposeY: true });
      const weighted = b.mul(dp, p);
      const rank = op.shape("query").length;
      return b.mul(b.sub(weighted, b.mul(p, b.sum(weighted, [rank - 1], true))), scale);
    };
    return {
      query: () => b.matmul(dScores(), k),
      key: () => b.matmul(dScores(), q, { transposeX: true }),
      value: () => b.matmul(p, dy(), { transposeX: true }),
    };
  },
});
