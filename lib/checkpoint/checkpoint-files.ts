/** @file Which files of a folder or a repository make a checkpoint: config, weights, tokenizer. */
export const checkpointFile =
  /^(config|generation_config|tokenizer|tokenizer_config|special_tokens_map)\.json$|\.safetensors$|\.safetensors\.index\.json$/;
