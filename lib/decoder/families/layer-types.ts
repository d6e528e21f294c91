/** @file Which layers see only a window, by `layer_types` and `sliding_window`. */
import { z } from "zod";
import { EspalierError } from "../../errors.ts";

export const layerType = z.enum(["sliding_attention", "full_attention"]);
export type LayerType = z.infer<typeof layerType>;
export const layerTypes = z.array(layerType).nullish();

/** For each layer whether it slides; null if the config has no list. Throws `model/config` for an
 * invalid list. */
export function slidingLayers(
  config: {
    readonly layer_types?: readonly LayerType[] | null | undefined;
    readonly sliding_window?: number | null | undefined;
  },
  layers: number,
): boolean[] | null {
  const { layer_types: types, sliding_window: window } = config;
  if (!types) return null;
  if (types.length !== layers)
    throw new EspalierError("model/config", `layer_types has ${types.length} entries, num_hidden_layers is ${layers}`);
  const slides = types.map((t) => t === "sliding_attention");
  if (slides.includes(true) && !window) {
    throw new EspalierError(
      "model/config",
      "layer_types says sliding_attention, and there is no window: sliding_window is not given or use_sliding_window is false",
    );
  }
  return slides;
}
