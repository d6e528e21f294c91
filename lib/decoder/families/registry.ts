/**
 * @file Every family by model type; a config to a descriptor, and a descriptor back to a config.
 *
 * Widths that differ by layer are ours: `espalier.layers` in `config.json`, written only when a standard config cannot
 * say it, so that a uniform model stays loadable by `transformers`.
 */
import { z } from "zod";
import { EspalierError } from "../../errors.ts";
import type { DecoderArchitecture } from "../architecture.ts";
import { type Family, standardHeadToGroup, withWidths } from "./family.ts";
import { gemma3 } from "./gemma3.ts";
import { llama } from "./llama.ts";
import { positive } from "./parse-config.ts";

export const families: readonly Family[] = [llama, gemma3];

const layerExtension = z.object({
  query_heads: positive,
  kv_groups: positive,
  head_to_group: z.array(z.number().int().nonnegative()),
  neurons: positive,
});
const extension = z.looseObject({ version: z.literal(1), layers: z.array(layerExtension).optional() });

/** The descriptor of a parsed `config.json`. Throws `model/unknown-architecture` or `model/config`. */
export function architectureOf(config: Record<string, unknown>): DecoderArchitecture {
  const type = config.model_type;
  const family = families.find((f) => typeof type === "string" && f.modelTypes.includes(type));
  if (!family) {
    throw new EspalierError(
      "model/unknown-architecture",
      `config.json: model_type ${JSON.stringify(type)} is not known`,
      {
        hint: `Known are ${families.flatMap((f) => f.modelTypes).join(", ")}.`,
      },
    );
  }
  // A multimodal wrapper keeps the decoder's keys in text_config.
  const nested = config.text_config;
  const text = typeof nested === "object" && nested !== null ? { model_type: type, ...nested } : config;
  return withExtension(family.architecture(text as Record<string, unknown>), config.espalier);
}

function withExtension(arch: DecoderArchitecture, raw: unknown): DecoderArchitecture {
  if (raw === undefined) return arch;
  const parsed = extension.safeParse(raw);
  if (!parsed.success) {
    throw new EspalierError(
      "model/config",
      `config.json: espalier.${parsed.error.issues[0]?.path.join(".")} ${parsed.error.issues[0]?.message}`,
    );
  }
  const widths = parsed.data.layers;
  if (!widths) return arch;
  if (widths.length !== arch.layers.length) {
    throw new EspalierError(
      "model/config",
      `config.json: espalier.layers has ${widths.length} entries for ${arch.layers.length} layers`,
    );
  }
  const layers = arch.layers.map((layer, i) => {
    const w = widths[i];
    if (!w) return layer;
    const legal =
      w.head_to_group.length === w.query_heads &&
      w.head_to_group.every((g, h) => g < w.kv_groups && g >= (w.head_to_group[h - 1] ?? 0));
    if (!legal) {
      throw new EspalierError(
        "model/config",
        `config.json: espalier.layers.${i}.head_to_group must give ${w.query_heads} ascending groups below ${w.kv_groups}`,
      );
    }
    return withWidths(layer, {
      queryHeads: w.query_heads,
      kvGroups: w.kv_groups,
      headToGroup: w.head_to_group,
      neurons: w.neurons,
    });
  });
  return { ...arch, layers };
}

/** `original` with the widths of `arch`. */
export function configFor(arch: DecoderArchitecture, original: Record<string, unknown>): Record<string, unknown> {
  const first = arch.layers[0];
  if (!first) throw new EspalierError("model/config", "a decoder needs at least one layer");
  const uniform = arch.layers.every(
    (l) =>
      l.queryHeads === first.queryHeads &&
      l.kvGroups === first.kvGroups &&
      l.neurons === first.neurons &&
      l.queryHeads % l.kvGroups === 0 &&
      standardHeadToGroup(l.queryHeads, l.kvGroups).every((g, h) => g === l.headToGroup[h]),
  );
  const most = (pick: (l: (typeof arch.layers)[number]) => number): number => Math.max(...arch.layers.map(pick));
  // With per-layer widths the standard keys stay a legal description of some model, though not of this one.
  const groups = uniform ? first.kvGroups : most((l) => l.kvGroups);
  const heads = uniform ? first.queryHeads : Math.ceil(most((l) => l.queryHeads) / groups) * groups;
  const widths = {
    num_hidden_layers: arch.layers.length,
    num_attention_heads: heads,
    num_key_value_heads: groups,
    intermediate_size: most((l) => l.neurons),
    head_dim: first.headDim,
  };
  const nested = original.text_config;
  const { espalier: _before, ...rest } = original;
  const base =
    typeof nested === "object" && nested !== null
      ? { ...rest, text_config: { ...nested, ...widths } }
      : { ...rest, ...widths };
  if (uniform) return base;
  const layers = arch.layers.map((l) => ({
    query_heads: l.queryHeads,
    kv_groups: l.kvGroups,
    head_to_group: l.headToGroup,
    neurons: l.neurons,
  }));
  return { ...base, espalier: { version: 1, layers } };
}
