/**
 * @file A text on the plain layout: functions that take `ids` (1, S) and the `position` (1) of the
 * first, and keep `kv_cache` as a state or, on systems without states, as inputs whose next values
 * they return as `<name>_out`.
 */
import type { Executable } from "../engines/engine.ts";
import { EspalierError } from "../errors.ts";
import { i32, type Tensor } from "../mil/tensor.ts";
import { logitValues, type StepModel, type StepSession } from "./generate.ts";

export interface PlainFunctions {
  readonly vocab: number;
  readonly context: number;
  readonly decode: Executable;
  /** Takes a whole chunk at once; absent without a prefill. */
  readonly prefill?: { readonly executable: Executable; readonly length: number } | undefined;
  /** Inputs every call needs besides `ids` and `position`: the weights, when they are inputs. */
  readonly inputs: Record<string, Tensor>;
  /** The initial caches, where they are inputs; empty where they are states. */
  readonly caches?: Readonly<Record<string, Tensor>>;
  /** Inputs that depend on a call's tokens: rows of a per-layer table outside the program. */
  inputsOf?(tokens: readonly number[]): Promise<Record<string, Tensor>>;
}

export function plainStepModel(functions: PlainFunctions): StepModel {
  const { vocab, context, decode, prefill } = functions;
  return {
    vocab,
    context,
    open(): StepSession {
      const state = functions.caches ? undefined : decode.makeState();
      let caches: Record<string, Tensor> = { ...functions.caches };
      return {
        chunk: (_, remaining) => (prefill && remaining >= prefill.length ? prefill.length : 1),
        async feed(tokens, position) {
          const whole = prefill && tokens.length === prefill.length;
          if (tokens.length !== 1 && !whole) {
            throw new EspalierError("input/invalid", `no function takes ${tokens.length} tokens at once`);
          }
          const executable = whole ? prefill.executable : decode;
          const call = {
            ...functions.inputs,
            ...caches,
            ...(await functions.inputsOf?.(tokens)),
            ids: i32([1, tokens.length], tokens),
            position: i32([1], [position]),
          };
          const out = await executable.run(call, state);
          caches = Object.fromEntries(Object.keys(caches).map((name) => [name, nextCache(out, name)]));
          return logitValues(out.logits, position);
        },
        dispose: () => state?.dispose(),
      };
    },
    async dispose() {
      await decode.dispose();
      await prefill?.executable.dispose();
    },
  };
}

function nextCache(out: Readonly<Record<string, Tensor>>, name: string): Tensor {
  const next = out[`${name}_out`];
  if (!next) throw new EspalierError("format/malformed", `the package gives no ${name}_out`);
  return next;
}
