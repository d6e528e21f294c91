/** @file States: the KV cache that lives on the device between calls. Core ML accepts more than its Neural Engine runs. */
import {
  type FunctionView,
  isConstant,
  isProduct,
  operand,
  positionsPerCall,
  shapeOf,
} from "../../../../mil/function-view.ts";
import { type Operation, operandValues, type Value } from "../../../../mil/program.ts";
import { showType } from "../../../../mil/types.ts";
import { plural } from "../../../../number-text.ts";
import { findOperations, programRule } from "../found.ts";
import type { Found, ProgramRule, ProgramSubject } from "../rule.ts";

const statesOf = (view: FunctionView): Value[] => view.fn.inputs.filter((i) => i.type.kind === "state");
const hasStates = (s: ProgramSubject): boolean => s.functions.some((v) => statesOf(v).length > 0);

function perFunction(s: ProgramSubject, look: (view: FunctionView) => Omit<Found, "function">[]): Found[] | null {
  if (!hasStates(s)) return null;
  return s.functions.flatMap((view) => look(view).map((f) => ({ function: view.fn.name, ...f })));
}

const count = programRule({
  id: "state/count",
  severity: "error",
  title: "At most two states",
  why: "Three and more convert and load, and fail at the first prediction (status 0x1d, error 11).",
  fix: "Stack keys and values of all layers of one cache length in one state.",
  source: "john-rocky/CoreML-LLM MLSTATE_PATTERN",
  units: "neural engine",
  check: (s) =>
    perFunction(s, (view) => {
      const states = statesOf(view).map((v) => v.name);
      return states.length <= 2 ? [] : [{ operations: states, message: `${states.length} states` }];
    }),
});

const STEP = 32;

const dims = programRule({
  id: "state/dimensions",
  severity: "error",
  title: "State extents are multiples of 32",
  why: "A state whose width is 270 fails on the Neural Engine where 256 works. Judged here are the last two axes; axes of one are left alone.",
  fix: "Pad the cache length and the head dimension to a multiple of 32; powers of two are safest.",
  source: "apple/coremltools issue 2631",
  units: "neural engine",
  check: (s) =>
    perFunction(s, (view) =>
      statesOf(view).flatMap((v) => {
        const odd = shapeOf(v)
          .slice(-2)
          .filter((d) => d !== 1 && d % STEP !== 0);
        return odd.length === 0
          ? []
          : [{ operations: [v.name], message: `${v.name} is ${showType(v.type)}: ${odd.join(" and ")}` }];
      }),
    ),
});

const declaration = (view: FunctionView): string =>
  statesOf(view)
    .map((v) => `${v.name}: ${showType(v.type)}`)
    .sort()
    .join(", ");

const sameDeclaration = programRule({
  id: "state/same-declaration",
  severity: "error",
  title: "Prefill and decode declare one state alike",
  why: "They share one MLState, which fits both only when name and type are the same in each. Another context may have a cache of its own length; going there means copying it.",
  fix: "Declare the same states, with the same shapes, in decode and prefill of one context.",
  source: "Anemll/Anemll; apple/coremltools save_multifunction",
  units: "any",
  check(s) {
    if (!hasStates(s) || s.functions.length < 2) return null;
    const steps = new Set(s.functions.filter((v) => positionsPerCall(v.fn) === 1).map(declaration));
    const chunks = s.functions.filter((v) => positionsPerCall(v.fn) > 1);
    // Without a decode function to compare with, chunks must agree among themselves.
    const shared = steps.size > 0 ? steps : new Set(chunks.slice(0, 1).map(declaration));
    const alone = chunks
      .filter((v) => !shared.has(declaration(v)))
      .map(
        (v): Found => ({
          function: v.fn.name,
          operations: statesOf(v).map((x) => x.name),
          message: `${declaration(v) || "no state"}; decode has ${[...shared].join(" or ") || "none"}`,
        }),
      );
    if (alone.length > 0 || shared.size < 2) return alone;
    return [
      {
        function: null,
        operations: [],
        message: `${shared.size} lengths of cache: ${[...shared].sort().join(" or ")}`,
        severity: "info",
      },
    ];
  },
});

interface StateUse {
  readonly reads: readonly Operation[];
  readonly writes: readonly Operation[];
}

const useOf = (state: Value, view: FunctionView): StateUse => {
  const all = view.consumers(state);
  return { reads: all.filter((op) => op.type === "read_state"), writes: all.filter((op) => op.type === "write_state") };
};

/** The reads of `state` that `data` is an update of: backwards, not through products. */
function sourceReads(data: Value, state: Value): Set<Operation> {
  const found = new Set<Operation>();
  const seen = new Set<Operation>();
  const walk = (v: Value): void => {
    const op = v.producer;
    if (!op || seen.has(op) || isConstant(v)) return;
    seen.add(op);
    if (op.type === "read_state") {
      if (operand(op, "input") === state) found.add(op);
      return;
    }
    // What is written may depend on earlier reads through attention; that is no update of them.
    if (isProduct(op) || op.type === "softmax") return;
    for (const x of operandValues(op)) walk(x);
  };
  walk(data);
  return found;
}

const staleWrite = programRule({
  id: "state/stale-write",
  severity: "error",
  title: "No write undoes another",
  why: "An update of a copy read before an earlier write brings the old contents back: that layer's keys are lost.",
  fix: "Read the state again after each write: read, update, write, read.",
  source: "apple/coremltools passes canonicalize_inplace_pattern",
  units: "any",
  check: (s) =>
    perFunction(s, (view) =>
      statesOf(view).flatMap((state) => {
        const { writes } = useOf(state, view);
        const at = (op: Operation): number => view.position.get(op) ?? 0;
        const stale = writes.filter((w) => {
          const data = operand(w, "data");
          if (!data) return false;
          const reads = [...sourceReads(data, state)];
          // The freshest copy it is made from must be younger than every write before it.
          const newest = Math.max(-1, ...reads.map(at));
          return reads.length > 0 && writes.some((earlier) => at(earlier) < at(w) && at(earlier) > newest);
        });
        return stale.length === 0
          ? []
          : [
              {
                operations: stale.map((w) => operand(w, "data")?.name ?? w.name),
                message: `${plural(stale.length, "write")} of ${state.name} from a copy older than the last write`,
              },
            ];
      }),
    ),
});

const canonicalOrder = programRule({
  id: "state/order",
  severity: "warning",
  title: "Attention reads the state after the write",
  why: "Read, update, write, read is the order Apple's passes make, and what lets the run time update in place; consumers of the updated copy keep a second cache alive.",
  fix: "Read the state again after writing it and use that value.",
  source: "apple/coremltools passes canonicalize_inplace_pattern and prefer_state_in_downstream",
  units: "any",
  check: (s) =>
    perFunction(s, (view) =>
      statesOf(view).flatMap((state) => {
        const shared = useOf(state, view).writes.filter((w) => {
          const data = operand(w, "data");
          return data !== undefined && view.consumers(data).some((u) => u !== w && u.type !== "write_state");
        });
        return shared.length === 0
          ? []
          : [
              {
                operations: shared.map((w) => operand(w, "data")?.name ?? w.name),
                message: `${plural(shared.length, "updated copy", "updated copies")} of ${state.name} read by more than the write`,
              },
            ];
      }),
    ),
});

const outputAlias = programRule({
  id: "state/output-alias",
  severity: "error",
  title: "What is written is not also an output",
  why: "A function output that is the value written to a state crashes the loader without a message.",
  fix: "Return something computed from a fresh read instead.",
  source: "apple/coremltools PR 2713",
  units: "any",
  check: (s) =>
    perFunction(s, (view) => {
      const written = view.computed.flatMap((op) => (op.type === "write_state" ? (operand(op, "data") ?? []) : []));
      const names = written.filter((v) => view.fn.outputs.includes(v)).map((v) => v.name);
      return names.length === 0 ? [] : [{ operations: names, message: `${names.join(", ")} is output and written` }];
    }),
});

const plainMoves = new Set(["reshape", "transpose", "concat", "split", "expand_dims", "squeeze", "stack", "identity"]);

/** The projection `v` comes from when only moves lie between, a reshape and a transpose among them. */
function reshapedProjection(v: Value, passed: readonly string[] = []): Operation | null {
  const op = v.producer;
  if (!op) return null;
  if (isProduct(op)) return passed.includes("reshape") && passed.includes("transpose") ? op : null;
  if (!plainMoves.has(op.type)) return null;
  for (const x of operandValues(op)) {
    const found = reshapedProjection(x, [...passed, op.type]);
    if (found) return found;
  }
  return null;
}

const projectionPath = programRule({
  id: "state/projection-path",
  severity: "warning",
  title: "No reshape and transpose between projection and state",
  why: "For chunks of several positions that pair behind a linear projection made models fail to load (\"MIL program input 'k_cache' not found\"); single positions and computed values were fine, and shipped models have it behind convolutions.",
  fix: "Let the projection give the layout of the cache, or keep the cache in the projection's layout.",
  source: "apple/coremltools issues 2275, 2278; Anemll/Anemll for the convolution form",
  units: "any",
  check: (s) => {
    if (!hasStates(s)) return null;
    return findOperations(
      s,
      (op) => op.type === "slice_update" || op.type === "write_state",
      (op, view) => {
        const v = operand(op, op.type === "slice_update" ? "update" : "data");
        if (v === undefined || positionsPerCall(view.fn) === 1) return false;
        const projection = reshapedProjection(v);
        return projection !== null && projection.type !== "conv";
      },
      (ops) => `${plural(ops.length, "write")} of a reshaped and transposed projection`,
    );
  },
});

const unused = programRule({
  id: "state/unused",
  severity: "warning",
  title: "Every state is read and written",
  why: "A state that is only read stays zero; one that is only written, or not used, takes memory for nothing.",
  fix: "Drop it, or write what should be kept.",
  source: "Core ML stateful models guide",
  units: "any",
  check: (s) =>
    perFunction(s, (view) =>
      statesOf(view).flatMap((state) => {
        const { reads, writes } = useOf(state, view);
        if (reads.length > 0 && writes.length > 0) return [];
        const what = reads.length > 0 ? "never written" : writes.length > 0 ? "never read" : "not used";
        // A function may leave a cache alone that another fills.
        if (what !== "never written" && s.functions.length > 1) return [];
        return [{ operations: [state.name], message: `${state.name} is ${what}` }];
      }),
    ),
});

const constantRows = programRule({
  id: "state/constant-rows",
  severity: "warning",
  title: "Layers are cut out of the state at fixed rows",
  why: "Writes may begin at a run-time position; reads of a layer's rows at run-time bounds make the shape unknown to the engine's compiler.",
  fix: "Slice the rows of a layer by constants.",
  source: "Anemll/Anemll; john-rocky/CoreML-LLM; apple/coreai-torch issue 6",
  units: "neural engine",
  check: (s) => {
    if (!hasStates(s)) return null;
    return findOperations(
      s,
      (op) => op.type === "slice_by_index" || op.type === "slice_by_size",
      (op) => operand(op, "x")?.producer?.type === "read_state" && ("begin" in op.inputs || "end" in op.inputs),
      (ops) => `${plural(ops.length, "slice")} of a state at run-time bounds`,
    );
  },
});

const pair = programRule({
  id: "state/two-with-prefill",
  severity: "info",
  title: "Two states and a prefill function",
  why: "One report says an iPhone refused a package of several functions whose prefill takes more than one position and declares two states; single functions compiled.",
  fix: "If the device refuses it, export prefill as a package of its own.",
  source: "john-rocky/CoreML-LLM",
  units: "neural engine",
  check: (s) => {
    if (s.functions.length < 2) return null;
    return perFunction(s, (view) => {
      const states = statesOf(view).map((v) => v.name);
      return states.length === 2 && positionsPerCall(view.fn) > 1
        ? [
            {
              operations: states,
              message: `${states.join(" and ")} in a function of ${positionsPerCall(view.fn)} positions`,
            },
          ]
        : [];
    });
  },
});

export const stateRules: readonly ProgramRule[] = [
  count,
  dims,
  sameDeclaration,
  staleWrite,
  canonicalOrder,
  outputAlias,
  projectionPath,
  unused,
  constantRows,
  pair,
];
