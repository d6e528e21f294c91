/** @file Which files of a folder or a repository make a checkpoint: config, weights, tokenizer. */

/** Files that are copied to a model made from a checkpoint. */
export const companionFiles: readonly string[] = [
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "generation_config.json",
  "tokenizer.model",
  "chat_template.jinja",
];

/** A second copy of the weights: in the layout of their makers (consolidated.safetensors), or in a
 * second element type. */
const again = /^consolidated|^adapter_|\.(fp16|fp32|bf16|int8)[-.]/;

/** By its name at the top of the folder. */
export const isCheckpointFile = (name: string): boolean =>
  name === "config.json" ||
  companionFiles.includes(name) ||
  (/^[^/]+\.safetensors(\.index\.json)?$/.test(name) && !again.test(name));
