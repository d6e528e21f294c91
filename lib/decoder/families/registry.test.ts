import { expect, test } from "vitest";
import { type ReleasedModel, releasedModels } from "../../../test/fixtures/released-configs.ts";
import { parameterCount } from "../weights.ts";
import { architectureOf } from "./registry.ts";

const llama = { model_type: "llama", hidden_size: 32, num_attention_heads: 4 };

test.each(Object.entries<ReleasedModel>(releasedModels))(
  "%s has the published number of parameters",
  (_name, model) => {
    expect(parameterCount(architectureOf(model.config))).toBe(model.parameters);
  },
);

test.each([
  ["gptq", { quantization_config: { quant_method: "gptq", bits: 4 } }],
  ["mlx", { quantization: { group_size: 64, bits: 4 } }],
  ["unnamed", { quantization_config: {} }],
])("weights that %s quantized are refused for what they are", (how, config) => {
  expect(() => architectureOf({ ...llama, ...config })).toThrow(`the weights are quantized (${how})`);
});

test("an odd activation and experts are refused by name", () => {
  expect(() => architectureOf({ ...llama, hidden_act: "gelu" })).toThrow('hidden_act "gelu"');
  expect(() => architectureOf({ model_type: "qwen3_moe" })).toThrow('model_type "qwen3_moe"');
});
