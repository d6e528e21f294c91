/** Every key of a config does what it does in `transformers`, or is refused by name (test/oracles/config_keys.py). */
import { readFileSync } from "node:fs";
import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { loadWeights } from "../../experiments/model-session.ts";
import { openCheckpoint } from "../../lib/checkpoint/checkpoint.ts";
import { architectureOf, families } from "../../lib/decoder/families/registry.ts";
import { DecoderRunner } from "../../lib/decoder/runner.ts";
import { createOnnxRuntimeEngine } from "../../lib/engines/onnxruntime/onnxruntime-engine.ts";
import { EspalierError } from "../../lib/errors.ts";
import { float32Data } from "../../lib/mil/tensor.ts";
import { temporaryFolder } from "../fixtures/tiny-model.ts";

interface Case {
  readonly model: string;
  readonly change: Readonly<Record<string, unknown>>;
  /** The first logits of the last position; the name of the error in transformers. */
  readonly gives: readonly number[] | string;
}
const golden: { classes: Record<string, string[]>; cases: Case[] } = JSON.parse(
  readFileSync(join(import.meta.dirname, "config-keys.json"), "utf8"),
);
const engine = await createOnnxRuntimeEngine({ threads: 1 });

async function outcome({ model, change }: Case): Promise<readonly number[] | EspalierError> {
  const [family = "", , as] = model.split(" ");
  const source = join(import.meta.dirname, family);
  const folder = join(await temporaryFolder(), "model");
  await mkdir(folder);
  await copyFile(join(source, "model.safetensors"), join(folder, "model.safetensors"));
  const config = {
    ...JSON.parse(await readFile(join(source, "config.json"), "utf8")),
    ...(as ? { model_type: as } : {}),
  };
  const changed = Object.entries({ ...config, ...change }).filter(([, value]) => value !== "(absent)");
  await writeFile(join(folder, "config.json"), JSON.stringify(Object.fromEntries(changed)));
  const { ids }: { ids: number[] } = JSON.parse(await readFile(join(source, "golden.json"), "utf8"));
  try {
    const checkpoint = await openCheckpoint(folder);
    const runner = new DecoderRunner(engine, await loadWeights(checkpoint));
    const x = await runner.embed(Int32Array.from(ids), { batch: 1, length: ids.length });
    const logits = float32Data(await runner.logits(await runner.blocks(x)));
    await checkpoint.close();
    const { vocab } = checkpoint.architecture;
    return [...logits.slice(-vocab, 6 - vocab)];
  } catch (thrown) {
    if (thrown instanceof EspalierError) return thrown;
    throw thrown;
  }
}

const models = [...new Set(golden.cases.map((c) => c.model))];
test.each(models)("%s: a changed key gives the logits of transformers, or an error that names it", async (model) => {
  const wrong: string[] = [];
  for (const found of golden.cases.filter((c) => c.model === model)) {
    const here = await outcome(found);
    const where = JSON.stringify(found.change);
    const keys = [...where.matchAll(/"(\w+)":/g)].map((m) => m[1] ?? "");
    if (here instanceof EspalierError) {
      if (typeof found.gives !== "string" && !keys.some((k) => here.message.includes(k)))
        wrong.push(`${where}: ${here.message}`);
    } else if (typeof found.gives === "string") {
      wrong.push(`${where}: ${found.gives} in transformers, logits here`);
    } else {
      const worst = Math.max(...found.gives.map((v, i) => Math.abs(v - (here[i] ?? Number.NaN))));
      if (!(worst < 1e-3)) wrong.push(`${where}: ${here.slice(0, 2)} for ${found.gives.slice(0, 2)}`);
    }
  }
  expect(wrong).toEqual([]);
});

/** Keys of the config classes that no decoder computes with: what training, generation or a classifier needs, and names. */
const harmless = new Set([
  ...["architectures", "dtype", "transformers_version", "return_dict", "output_hidden_states", "use_cache"],
  ...["bos_token_id", "eos_token_id", "pad_token_id", "id2label", "label2id", "problem_type"],
  ...[
    "attention_dropout",
    "resid_pdrop",
    "embd_pdrop",
    "initializer_range",
    "chunk_size_feed_forward",
    "pretraining_tp",
  ],
  // Of Gemma 2: Gemma 3 keeps it and never applies it.
  "attn_logit_softcapping",
  // Of the experts, which are refused where enable_moe_block switches them on.
  ...["num_experts", "top_k_experts", "moe_intermediate_size"],
]);
/** Refused by name whatever the family. */
const refused = new Set(["is_encoder_decoder"]);

test.each([
  ["LlamaConfig", "llama"],
  ["MistralConfig", "mistral"],
  ["Qwen2Config", "qwen2"],
  ["Qwen3Config", "qwen3"],
  ["Phi3Config", "phi3"],
  ["SmolLM3Config", "smollm3"],
  ["GraniteConfig", "granite"],
  ["Olmo2Config", "olmo2"],
  ["GemmaConfig", "gemma"],
  ["Gemma2Config", "gemma2"],
  ["Gemma3TextConfig", "gemma3_text"],
  ["Gemma4TextConfig", "gemma4_text"],
  ["Gemma4UnifiedTextConfig", "gemma4_unified_text"],
])("every key of %s is read, harmless or refused", (name, type) => {
  const family = families.find((f) => f.modelTypes.includes(type));
  const unknown = golden.classes[name]?.filter((k) => !family?.keys.includes(k) && !harmless.has(k) && !refused.has(k));
  expect(unknown).toEqual([]);
  for (const key of refused) expect(() => architectureOf({ model_type: type, [key]: true })).toThrow(key);
});
