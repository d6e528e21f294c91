/** @file Refuses impossible sizes in a config before anything is allocated for them. */
import { z } from "zod";
import { EspalierError } from "../errors.ts";

/** More than any model has, and few enough to describe: a descriptor lists layers, heads and rotary frequencies one by one. */
const mostOf = {
  num_hidden_layers: 4096,
  num_attention_heads: 4096,
  num_key_value_heads: 4096,
  head_dim: 4096,
  global_head_dim: 4096,
  num_global_key_value_heads: 4096,
  num_kv_shared_layers: 4096,
  hidden_size_per_layer_input: 65_536,
  hidden_size: 65_536,
} as const;

/** Throws `model/config` for impossible sizes, before anything is allocated for them. */
export function checkSizes(config: Record<string, unknown>): void {
  const nested = z.record(z.string(), z.unknown()).safeParse(config.text_config);
  for (const part of nested.success ? [config, nested.data] : [config]) {
    for (const [key, most] of Object.entries(mostOf)) {
      const value = part[key];
      if (typeof value === "number" && value > most)
        throw new EspalierError("model/config", `config.json: ${key} is ${value}, more than ${most}`, {
          hint: "The config is damaged, or not one of a language model.",
        });
    }
  }
}
