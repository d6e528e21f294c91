/** @file Attention as the Neural Engine wants it: written out, grouped without copies, over no more cache than needed. */
import {
  attendedPositions,
  elementsIn,
  type FunctionView,
  isConstant,
  operand,
  positionsPerCall,
  shapeOf,
} from "../../../../mil/function-view.ts";
import type { Operation, Value } from "../../../../mil/program.ts";
import { plural } from "../../../../number-text.ts";
import { findOperations, programRule } from "../found.ts";
import type { ProgramRule } from "../rule.ts";

const isFused = (op: Operation): boolean => op.type === "scaled_dot_product_attention";

const fused = programRule({
  id: "attention/fused",
  severity: "error",
  title: "Attention is written out",
  why: "The fused operation knows no grouped queries and no scale of its own; two sites and more make the engine's compiler fail and the model fall to the CPU in silence, and in five axes it was wrong on iOS 26.",
  fix: "Write product, mask, softmax, product.",
  source: "kasper0406/stablehlo-coreml issue 89; pytorch/executorch issue 16144; apple/coremltools issue 2650",
  units: "neural engine",
  check: (s) =>
    findOperations(
      s,
      (op) => isFused(op) || op.type === "softmax",
      (op, view) => isFused(op) && (view.computed.filter(isFused).length > 1 ? "error" : "warning"),
      (ops) => `${plural(ops.length, "fused attention")}`,
    ),
});

const isHead = (v: Value): boolean => shapeOf(v).length === 4;

const tiledGroups = programRule({
  id: "attention/tiled-groups",
  severity: "warning",
  title: "Keys and values are not copied per query head",
  why: "Repeating each KV group for its query heads multiplies the cache traffic of every token; dropping it gave 10 to 15 %.",
  fix: "Stack the query heads of one group as rows of one product, or loop over groups.",
  source: "pytorch/executorch issue 16144; apple/coreai-models neural engine rules",
  units: "any",
  check: (s) =>
    findOperations(
      s,
      (op) => op.type === "softmax",
      (op, view) => copiesBehind(op, view).length > 0,
      (ops) => `${plural(ops.length, "attention")} over repeated keys or values`,
    ),
});

/** Copies feeding the two products around a softmax. */
function copiesBehind(softmax: Operation, view: FunctionView): Operation[] {
  const found: Operation[] = [];
  const behind = (v: Value | undefined, depth: number): void => {
    const op = v?.producer;
    if (!op || depth === 0 || !v || isConstant(v)) return;
    const source = operand(op, "x");
    const grows = source !== undefined && elementsIn(v) > elementsIn(source);
    if (op.type === "tile" && grows && isHead(v)) found.push(op);
    const indices = operand(op, "indices");
    if (op.type === "gather" && grows && isHead(v) && indices && isConstant(indices)) found.push(op);
    if (["reshape", "transpose", "expand_dims", "mul", "identity"].includes(op.type)) behind(source, depth - 1);
  };
  const walk = (v: Value | undefined, depth: number): void => {
    const op = v?.producer;
    if (!op || depth === 0) return;
    if (op.type === "matmul") {
      behind(operand(op, "x"), 4);
      behind(operand(op, "y"), 4);
      return;
    }
    walk(operand(op, "x"), depth - 1);
    walk(operand(op, "y"), depth - 1);
  };
  walk(operand(softmax, "x"), 6);
  const forward = (v: Value, depth: number): void => {
    for (const user of view.consumers(v)) {
      if (user.type === "matmul") {
        behind(operand(user, "y"), 4);
        behind(operand(user, "x"), 4);
      } else if (depth > 0) for (const o of user.outputs) forward(o, depth - 1);
    }
  };
  for (const o of softmax.outputs) forward(o, 2);
  return found;
}

const trigonometry = programRule({
  id: "attention/rope-in-graph",
  severity: "warning",
  title: "Rotations come from tables",
  why: "sin and cos in the graph are not the engine's, and angles of some thousand radians have no precision in fp16.",
  fix: "Pass cos and sin of the positions in as fp16.",
  source: "apple/coreai-models neural engine rules (precomputed rotary tables)",
  units: "any",
  check: (s) =>
    findOperations(
      s,
      () => true,
      (op) => op.type === "sin" || op.type === "cos",
      (ops) => `${plural(ops.length, "operation")} sin or cos`,
    ),
});

const CONTEXT = 2048;

const context = programRule({
  id: "attention/context",
  severity: "warning",
  title: "The cache is as long as needed, not longer",
  why: "A token costs the whole allocated cache, filled or not: 1.7B with 4-bit palettes did 24 tokens/s with 1024 positions, 9.4 with 2048, 4.9 with 4096.",
  fix: "Export several context lengths and let the host choose the shortest that fits.",
  source: "john-rocky/CoreML-LLM",
  units: "neural engine",
  check: (s) => {
    const long = s.functions.map((view) => ({ view, T: attendedPositions(view) })).filter(({ T }) => T > 0);
    if (long.length === 0) return null;
    return long
      .filter(({ view, T }) => T > CONTEXT && positionsPerCall(view.fn) < T)
      .map(({ view, T }) => ({ function: view.fn.name, operations: [], message: `attention over ${T} positions` }));
  },
});

const ring = programRule({
  id: "attention/sliding-without-ring",
  severity: "warning",
  title: "Sliding-window layers keep a ring",
  why: "A layer that looks back 512 positions pays for the whole cache unless its own is a ring of that length; a ring of 1024 brought 25.6 tokens/s back from 4.9.",
  fix: "Export sliding layers with ring buffers (the Neural Engine layout does).",
  source: "john-rocky/CoreML-LLM; Anemll/Anemll (Gemma 3 rotating functions)",
  units: "neural engine",
  check: (s) => {
    const windows = s.architecture?.layers.flatMap((l) => l.window ?? []) ?? [];
    const found = s.functions.flatMap((view) => {
      const lengths = view.computed
        .filter((op) => op.type === "softmax")
        .map((op) => shapeOf(op.outputs[0]).at(-1) ?? 0);
      const T = Math.max(0, ...lengths);
      const positions = positionsPerCall(view.fn);
      // Known layers: each should have attention no longer than its window, its own chunk and some alignment.
      const slack = (w: number): number => Math.ceil((w + positions) / 32) * 32;
      const should = windows.filter((w) => slack(w) < T).length;
      const are = lengths.filter((n) => n < T).length;
      // Unknown layers: a window shows as a second comparison in the mask.
      const masked = view.computed.some((op) => op.type === "logical_and");
      const missing = windows.length > 0 ? should > 0 && are === 0 : masked;
      return missing
        ? [{ function: view.fn.name, operations: [], message: `windowed layers attend to all ${T} positions` }]
        : [];
    });
    const known = windows.length > 0 || s.functions.some((v) => v.computed.some((op) => op.type === "logical_and"));
    return known ? found : null;
  },
});

export const attentionRules: readonly ProgramRule[] = [fused, tiledGroups, trigonometry, context, ring];
