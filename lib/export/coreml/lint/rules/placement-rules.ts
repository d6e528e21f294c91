/** @file Operations that leave the Neural Engine: each costs a hand-over there and back. */
import { cpuOperations } from "../../../../cost/placement.ts";
import { elementsIn, isConstant, isProduct, operand } from "../../../../mil/function-view.ts";
import type { Operation } from "../../../../mil/program.ts";
import { plural } from "../../../../number-text.ts";
import { findOperations, histogram, programRule } from "../found.ts";
import type { ProgramRule } from "../rule.ts";

const gathers = new Set(["gather", "gather_along_axis", "gather_nd"]);

const gather = programRule({
  id: "placement/gather",
  severity: "warning",
  title: "No lookups by run-time index",
  why: "Gathers, of embeddings and rotary tables alike, run on the CPU; a large table is mapped a second time for it.",
  fix: "Look embeddings and rotations up on the host and pass the rows in.",
  source: "smpanaro/more-ane-transformers notes; john-rocky/CoreML-LLM audit; apple/coreai-models (load_embeddings)",
  units: "neural engine",
  check: (s) =>
    findOperations(
      s,
      () => true,
      (op) => {
        const indices = operand(op, "indices");
        return gathers.has(op.type) && indices !== undefined && !isConstant(indices);
      },
      (ops) =>
        `${plural(ops.length, "lookup")}, the largest in ${Math.max(...ops.map((op) => elementsIn(operand(op, "x"))))} numbers`,
    ),
});

const isArgmax = (op: Operation): boolean => op.type === "reduce_argmax" || op.type === "reduce_argmin";

const cpuOps = programRule({
  id: "placement/cpu-operations",
  severity: "warning",
  title: "No operation of the CPU",
  why: "An operation the engine cannot run costs a fixed toll, 0.3 to 1.75 ms measured for one topk, whatever its size.",
  fix: "Move sampling and indexing to the host.",
  source: "apple/coreai-models issues; john-rocky/CoreML-LLM audit; roboflow/rf-detr PR 1495",
  units: "neural engine",
  check: (s) =>
    findOperations(
      s,
      () => true,
      (op) => cpuOperations.has(op.type) && !isArgmax(op),
      (ops) => histogram(ops),
    ),
});

const argmax = programRule({
  id: "placement/argmax",
  severity: "warning",
  title: "The host takes the argmax",
  why: "Argmax in the graph ran on the CPU, gave wrong indices on an iPhone 17 Pro, and breaks near-ties differently per chip.",
  fix: "Return fp16 logits and choose the token on the host.",
  source: "apple/coreai-torch issues 115, 116; john-rocky/CoreML-LLM",
  units: "neural engine",
  check: (s) =>
    findOperations(
      s,
      () => true,
      isArgmax,
      (ops) => histogram(ops),
    ),
});

const SMALL_GRAPH = 20;

const smallGraph = programRule({
  id: "placement/small-graph",
  severity: "info",
  title: "The program is large enough to be placed",
  why: "One- and two-layer programs may be planned for the CPU whatever their operations are: their placement says nothing of a deeper model's.",
  fix: "Judge residency on a model of realistic depth.",
  source: "kasper0406/stablehlo-coreml PR 110",
  units: "neural engine",
  check: (s) =>
    s.functions.flatMap((view) => {
      const products: Operation[] = view.computed.filter(isProduct);
      return products.length >= SMALL_GRAPH
        ? []
        : [{ function: view.fn.name, operations: [], message: `${plural(products.length, "product")} in all` }];
    }),
});

export const placementRules: readonly ProgramRule[] = [gather, cpuOps, argmax, smallGraph];
