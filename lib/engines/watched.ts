/**
 * @file An engine that shows the largest absolute value of every floating-point result, in the order they are computed, fp16 widened
 * to fp32 so that what overflows a device is still a number.
 *
 * Not included: scores that go into a softmax, where minus infinity is what a mask means.
 */
import { isConstantOperation, opSpec } from "../mil/op.ts";
import { observePeaks } from "../mil/passes/observe-peaks.ts";
import type { MilFunction, Operation } from "../mil/program.ts";
import type { Engine } from "./engine.ts";

/** One result of a call: the operation that gave it, and its largest absolute value; infinite for NaN. */
export interface Peak {
  readonly operation: Operation;
  readonly value: number;
}

/** `onCall` also gets the number of the call, from 0 in each compiled function. */
export function watchedEngine(engine: Engine, onCall: (peaks: readonly Peak[], call: number) => void): Engine {
  return {
    ...engine,
    async compile(fn, options) {
      const { fn: watched, peaks } = observePeaks(fn, watchedIn(fn));
      const executable = await engine.compile(watched, { ...options, float16: "widen" });
      let calls = 0;
      return {
        makeState: (initial) => executable.makeState(initial),
        dispose: () => executable.dispose(),
        async run(inputs, state) {
          const out = await executable.run(inputs, state);
          onCall(
            [...peaks].map(([output, operation]) => {
              const value = out[output]?.data[0] ?? 0;
              return { operation, value: Number.isNaN(value) ? Number.POSITIVE_INFINITY : value };
            }),
            calls++,
          );
          return out;
        },
      };
    },
  };
}

function watchedIn(fn: MilFunction): (op: Operation) => boolean {
  const masked = new Set(fn.operations.filter((op) => op.type === "softmax").flatMap((op) => Object.values(op.inputs)));
  return (op) =>
    !isConstantOperation(op) && opSpec(op.type).stateful === undefined && !op.outputs.some((o) => masked.has(o));
}
