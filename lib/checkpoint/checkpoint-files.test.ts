import { expect, test } from "vitest";
import { isCheckpointFile } from "./checkpoint-files.ts";

/** What released repositories hold: Mistral 7B v0.3, Gemma 3, Llama 3.2, SmolLM2. */
test.each([
  ["config.json", true],
  ["model.safetensors", true],
  ["model-00001-of-00003.safetensors", true],
  ["model.safetensors.index.json", true],
  ["tokenizer.json", true],
  ["tokenizer.model", true],
  ["chat_template.jinja", true],
  ["generation_config.json", true],
  ["consolidated.safetensors", false],
  ["consolidated-00001-of-00002.safetensors", false],
  ["consolidated.safetensors.index.json", false],
  ["model.fp16.safetensors", false],
  ["model.fp16-00001-of-00002.safetensors", false],
  ["adapter_model.safetensors", false],
  ["onnx/model.safetensors", false],
  ["pytorch_model.bin", false],
  ["tokenizer.model.v3", false],
  ["params.json", false],
  ["README.md", false],
])("%s: %s", (name, wanted) => {
  expect(isCheckpointFile(name)).toBe(wanted);
});
