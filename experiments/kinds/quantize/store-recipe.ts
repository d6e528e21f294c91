/**
 * @file Stores a model by a recipe of widths: with nearest codes, or layer by layer with error
 * correction (GPTQ), and then tuned on the logits of the model as it was.
 */
import { storeCalibrated } from "../../../lib/compress/quantize/calibrated.ts";
import { type Granularity, granularityFor } from "../../../lib/compress/quantize/granularity.ts";
import { quantizeLayerByLayer } from "../../../lib/compress/quantize/layer-by-layer.ts";
import { tune } from "../../../lib/compress/quantize/tune.ts";
import type { Width } from "../../../lib/compress/quantize/width.ts";
import { type TokenSequence, tokensOf } from "../../../lib/eval/sequences.ts";
import { tensorUnit } from "../../../lib/units.ts";
import type { CompressedWeight } from "../../../lib/weights/weight.ts";
import type { ExperimentContext } from "../../definition.ts";
import type { OpenModel } from "../../model-session.ts";
import { Phases } from "../../phases.ts";
import type { MatrixStore } from "./matrix-store.ts";

/** How matrices find their codes. */
export const methods = ["nearest", "gptq"] as const;

/** Storing a whole model to nearest codes once, as tokens of a forward pass that take as long. */
export const STORING_TOKENS = 6600;

export interface Storing {
  readonly method: (typeof methods)[number];
  /** Passes over the calibrating text that tune tables, scales and norms; 0 for none. */
  readonly tune: number;
  readonly granularity: Granularity;
  readonly calibrate: readonly TokenSequence[];
}

/** What storing a whole model costs, in tokens of a forward pass. */
export function storingTokens({ method, tune: passes, calibrate }: Storing): number {
  const tokens = tokensOf(calibrate);
  return STORING_TOKENS + (method === "gptq" ? STORING_TOKENS + 4 * tokens : 0) + 6 * passes * tokens;
}

/** Every weight by flat name; widths by the name of a matrix as a unit, norms in fp16. */
export async function storeRecipe(
  recipe: Readonly<Record<string, Width>>,
  how: Storing,
  { model, matrices }: { model: OpenModel; matrices: MatrixStore },
  context: ExperimentContext,
  onShare: (share: number) => void,
): Promise<Map<string, CompressedWeight>> {
  const { engine, signal } = context;
  const { weights } = model;
  const tuning = storingTokens(how) - storingTokens({ ...how, tune: 0 });
  const phases = new Phases(storingTokens(how), onShare);
  const onStored = phases.part(storingTokens(how) - tuning);
  const calibrated =
    how.method === "gptq"
      ? await quantizeLayerByLayer(
          engine,
          weights,
          how.calibrate,
          async (entry, values, inputs, product) => {
            const width = recipe[tensorUnit(entry.name)] ?? "fp16";
            if (!inputs) return matrices.get(entry, width);
            const { granularity } = granularityFor(entry.shape, how.granularity);
            return storeCalibrated(width, values, entry.shape, granularity, inputs, product, { signal });
          },
          { signal, onProgress: (done, all) => onStored(done / all) },
        )
      : new Map<string, CompressedWeight>();
  const stored = await matrices.all(recipe, calibrated, how.method === "gptq" ? () => {} : onStored);
  if (how.tune === 0) return stored;
  const onTuned = phases.part(tuning);
  return tune(engine, weights, stored, model.runner, how.calibrate, {
    passes: how.tune,
    signal,
    onProgress: (done, all, divergence) => {
      onTuned(done / all);
      context.log?.(`tuning, step ${done} of ${all}: KL ${divergence.toPrecision(3)} before it`);
    },
  });
}
