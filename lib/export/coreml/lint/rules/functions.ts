/** @file What functions a package has, and what in them does nothing. */
import { attendedPositions, bytesIn, positionsPerCall } from "../../../../mil/function-view.ts";
import { type Operation, operandValues } from "../../../../mil/program.ts";
import { plural } from "../../../../number-text.ts";
import { groupBy, programRule } from "../found.ts";
import type { ProgramRule } from "../rule.ts";

const FUNCTIONS = 8;
const PREFILLS = 4;

const count = programRule({
  id: "functions/count",
  severity: "warning",
  title: "Few functions",
  why: "Each function is compiled and loaded as a model of its own; compile memory grows with their number, and four prefill widths at one context slowed the default path 2.2 times on an iPhone.",
  fix: "One decode and one or two prefill widths per context; ship long contexts as another package.",
  source: "apple/coremltools issue 2351; john-rocky/CoreML-LLM",
  units: "neural engine",
  check(s) {
    const prefills = groupBy(
      s.functions.filter((v) => positionsPerCall(v.fn) > 1),
      attendedPositions,
    );
    const crowded = [...prefills].filter(([, views]) => views.length >= PREFILLS);
    return [
      ...(s.functions.length > FUNCTIONS
        ? [{ function: null, operations: [], message: `${s.functions.length} functions` }]
        : []),
      ...crowded.map(([T, views]) => ({
        function: null,
        operations: views.map((v) => v.fn.name),
        message: `${views.length} prefill widths for ${T} positions`,
      })),
    ];
  },
});

const noPrefill = programRule({
  id: "functions/prefill",
  severity: "info",
  title: "There is a prefill function",
  why: "Feeding a prompt token by token is slow, and drifts in fp16 beyond some 50 tokens where chunks of 64 do not.",
  fix: "Export a prefill function of 32 to 64 positions.",
  source: "apple/coreai-models neural engine rules (prefill in chunks of 64)",
  units: "any",
  check(s) {
    const decoders = s.functions.filter((v) => attendedPositions(v) > 0);
    if (decoders.length === 0) return null;
    return decoders.some((v) => positionsPerCall(v.fn) > 1)
      ? []
      : [{ function: null, operations: [], message: "every function takes one position" }];
  },
});

const LOGIT_BYTES = 4 << 20;

const prefillOutputs = programRule({
  id: "functions/prefill-outputs",
  severity: "info",
  title: "Prefill returns little",
  why: "Logits of every position of a prompt are computed, written and copied to be thrown away; only the last are read.",
  fix: "Let prefill return the last position's logits, or none.",
  source: "apple/coreai-models (prompt_opt without logits)",
  units: "any",
  check(s) {
    const prefills = s.functions.filter((v) => positionsPerCall(v.fn) > 1);
    if (prefills.length === 0) return null;
    return prefills.flatMap((view) => {
      const big = view.fn.outputs.filter((o) => bytesIn(o) > LOGIT_BYTES).map((o) => o.name);
      const sizeBytes = view.fn.outputs.reduce((n, o) => n + bytesIn(o), 0);
      return big.length === 0
        ? []
        : [
            {
              function: view.fn.name,
              operations: big,
              message: `${(sizeBytes / 2 ** 20).toFixed(1)} MiB of outputs a call`,
            },
          ];
    });
  },
});

const dead = programRule({
  id: "functions/dead-operations",
  severity: "warning",
  title: "Every operation is used",
  why: "What reaches no output and no state is carried, compiled and perhaps placed for nothing; often it is what a fault left behind.",
  fix: "Run dead-code removal before writing.",
  source: "apple/coremltools passes dead_code_elimination",
  units: "any",
  check: (s) =>
    s.functions.flatMap((view) => {
      const live = new Set<Operation>();
      const visit = (op: Operation | null): void => {
        if (!op || live.has(op)) return;
        live.add(op);
        for (const v of operandValues(op)) visit(v.producer);
      };
      for (const op of view.computed) if (op.type === "write_state") visit(op);
      for (const o of view.fn.outputs) visit(o.producer);
      const idle = view.fn.operations.filter((op) => !live.has(op));
      return idle.length === 0
        ? []
        : [
            {
              function: view.fn.name,
              operations: idle.map((op) => op.name),
              message: `${plural(idle.length, "operation")} that nothing reads`,
            },
          ];
    }),
});

const unusedInputs = programRule({
  id: "functions/unused-inputs",
  severity: "warning",
  title: "Every input is read",
  why: "The host must fill an input that changes nothing; whoever fills it believes that it does.",
  fix: "Drop the input, or use it.",
  source: "Core ML interface practice; apple/coremltools passes remove_redundant_ops",
  units: "any",
  check: (s) =>
    s.functions.flatMap((view) => {
      const idle = view.fn.inputs
        .filter((i) => i.type.kind === "tensor" && view.consumers(i).length === 0 && !view.fn.outputs.includes(i))
        .map((i) => i.name);
      return idle.length === 0
        ? []
        : [{ function: view.fn.name, operations: idle, message: `${idle.join(", ")} is not read` }];
    }),
});

const LAYERS = 17;
const LARGE_BYTES = 700e6;

const layers = programRule({
  id: "functions/layers-per-package",
  severity: "info",
  title: "Large packages hold few layers",
  why: "For models of Gemma 4 E2B's class about 15 layers a package were stable on A19 and 17 shipped; all 35 in one were not.",
  fix: "Split the layers over packages when the device loses placement or is killed while loading.",
  source: "john-rocky/CoreML-LLM",
  units: "neural engine",
  check(s) {
    if (s.weightBytes === null) return null;
    const attention = Math.max(0, ...s.functions.map((v) => v.computed.filter((op) => op.type === "softmax").length));
    return attention > LAYERS && s.weightBytes > LARGE_BYTES
      ? [
          {
            function: null,
            operations: [],
            message: `${attention} softmaxes and ${(s.weightBytes / 1e6).toFixed(0)} MB of weights`,
          },
        ]
      : [];
  },
});

export const functionRules: readonly ProgramRule[] = [count, noPrefill, prefillOutputs, dead, unusedInputs, layers];
