/**
 * @file `npm run train-starter`: trains the starter and writes its checkpoint and model card.
 *
 * The seed decides the text, the initial weights and so, on one machine with one number of threads, every byte. Some eight
 * minutes on two cores. `--threads N`, `--steps N` (for trying out), `--out DIR`.
 */

import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { writeCheckpoint } from "../../lib/checkpoint/write-checkpoint.ts";
import { parameterCount } from "../../lib/decoder/weights.ts";
import { under } from "../../lib/elements.ts";
import { createOnnxRuntimeEngine } from "../../lib/engines/onnxruntime/onnxruntime-engine.ts";
import { float32Data } from "../../lib/mil/tensor.ts";
import { starterConfig } from "./architecture.ts";
import { tokenizerFiles } from "./bpe.ts";
import { trainTokenizer } from "./corpus.ts";
import { questionAccuracy, starterTraining, trainStarter } from "./training.ts";

const { values } = parseArgs({
  options: { threads: { type: "string" }, steps: { type: "string" }, out: { type: "string" } },
});
const threads = Number(values.threads ?? 2);
const training = { ...starterTraining, steps: Number(values.steps ?? starterTraining.steps) };
const out = values.out ?? fileURLToPath(new URL("model", import.meta.url));

const engine = await createOnnxRuntimeEngine({ threads });
const tokenizer = trainTokenizer();
const started = performance.now();
let tokens = 0;
const weights = await trainStarter(engine, tokenizer, training, async (r, w) => {
  tokens += r.tokens;
  const minutes = (performance.now() - started) / 60_000;
  if (r.step % 25 === 0) {
    const left = (minutes / r.step) * (training.steps - r.step);
    console.log(
      `step ${r.step} of ${training.steps}  loss ${r.loss.toFixed(4)}  ${Math.round(tokens / minutes / 60)} tokens/s  about ${left.toFixed(1)} min left`,
    );
  }
  if (r.step % 300 === 0)
    console.log(
      `questions right: ${(await questionAccuracy(engine, w, tokenizer, "select", 120)).accuracy.toFixed(3)}`,
    );
});
const { accuracy, byKind } = await questionAccuracy(engine, weights, tokenizer, "report", 800);
const error = Math.sqrt((accuracy * (1 - accuracy)) / 800);
const kinds = Object.entries(byKind).map(([kind, right]) => `| ${kind} | ${right} |`);

const card = `# Espalier starter

A Gemma-3-shaped decoder of ${parameterCount(weights.arch)} parameters: 8 layers, 8 query heads in 2 KV groups, sliding window 128 with
every fourth layer full, context 256, tied embeddings, vocabulary 1024. It reads short stories of a small invented world and
answers questions about them. It knows nothing else; its only use is to try compression.

- Text, tokenizer, questions and training are this project's own (\`experiments/starter\`); no other data was used.
- Training: ${training.steps} steps, ${tokens} tokens, seed ${training.seed}, ${engine.description}. \`npm run train-starter\` makes it again.
- Held-out questions with four choices (chance 25 %; taking the choice that the passage mentions gets 78 %): **${(accuracy * 100).toFixed(1)} % right** ± ${(error * 100).toFixed(1)} (standard error, 800 questions of the report split).
- Weights are stored in bfloat16. Licence: Apache-2.0, like the project.

| kind of question | right |
|---|---|
${kinds.join("\n")}
`;

const files = tokenizerFiles(tokenizer);
await writeCheckpoint(out, {
  architecture: weights.arch,
  config: starterConfig,
  dtype: "bf16",
  copyFrom: null,
  replace: true,
  weight: async (name) => {
    const t = under(weights.tensors, name);
    return { kind: "dense", dtype: "fp32", shape: t.shape, values: float32Data(t) };
  },
  extraFiles: {
    "tokenizer.json": `${JSON.stringify(files.tokenizer)}\n`,
    "tokenizer_config.json": `${JSON.stringify(files.config, null, 2)}\n`,
    "generation_config.json": `${JSON.stringify({ bos_token_id: 2, eos_token_id: 1, pad_token_id: 0 }, null, 2)}\n`,
    "README.md": card,
  },
});
console.log(card);
console.log(`written to ${out}`);
