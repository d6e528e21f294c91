/**
 * @file How much errors in a model's weights count, computed once for a model and a text, and then
 * taken from memory or the array store.
 *
 *   activation   E[x_c²] of what each matrix is fed, by input channel: an error there is the error of the layer's output
 *   fisher       E[(∂NLL/∂w)²] of each weight: to second order, the error of the loss
 */
import { layerInputMoments } from "../lib/compress/importance/activation-inputs.ts";
import { asClusterWeights, diagonalFisher } from "../lib/compress/importance/fisher-weights.ts";
import type { ErrorWeights } from "../lib/compress/quantize/width.ts";
import type { TokenSequence } from "../lib/eval/sequences.ts";
import type { ArrayStore } from "./array-files.ts";
import type { ExperimentContext } from "./definition.ts";
import type { OpenModel } from "./model-session.ts";
import { shardName, type UnitName, unitHash } from "./unit-name.ts";

export const weightings = ["none", "activation", "fisher"] as const;
export type Weighting = (typeof weightings)[number];

/** What is at hand in this process, by model: a second run in it reads no file. */
const known = new WeakMap<OpenModel, Map<string, Promise<unknown>>>();

/** `make` once for a model and a key in this process; a failure is not kept. */
export function onceFor<T>(model: OpenModel, key: string, make: () => Promise<T>): Promise<T> {
  const own = known.get(model) ?? new Map<string, Promise<unknown>>();
  known.set(model, own);
  let found = own.get(key) as Promise<T> | undefined;
  if (!found) {
    found = make();
    own.set(key, found);
    found.catch(() => own.delete(key));
  }
  return found;
}

/** Error weights by flat name; empty when every weight counts alike. `onShare` tells how much of the text has been seen. */
export async function errorWeightsOf(
  weighting: Weighting,
  model: OpenModel,
  sequences: readonly TokenSequence[],
  context: Pick<ExperimentContext, "engine" | "signal" | "arrays">,
  onShare?: (share: number) => void,
): Promise<ReadonlyMap<string, ErrorWeights>> {
  if (weighting === "none") return new Map();
  const name: UnitName = {
    engine: context.engine.identity,
    model: model.hash,
    subject: `${weighting}@1`,
    shard: shardName(sequences),
  };
  return onceFor(model, unitHash(name), async () => {
    const gathered = await stored(context.arrays, name, () => {
      const options = {
        signal: context.signal,
        onProgress: (done: number, total: number) => onShare?.(done / total),
      };
      return weighting === "fisher"
        ? diagonalFisher(context.engine, model.weights, sequences, options)
        : layerInputMoments(model.runner, sequences, options);
    });
    return new Map(
      [...gathered].map(([name, values]): [string, ErrorWeights] => [
        name,
        weighting === "fisher" ? { elementWeights: asClusterWeights(values) } : { columnWeights: values },
      ]),
    );
  });
}

async function stored(
  arrays: ArrayStore | undefined,
  name: UnitName,
  gather: () => Promise<Map<string, Float32Array>>,
): Promise<Map<string, Float32Array>> {
  const found = await arrays?.get(name);
  if (found) return found;
  const gathered = await gather();
  await arrays?.put(name, gathered);
  return gathered;
}
