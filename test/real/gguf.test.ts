/** GGUF files of released models: every weight and every loss, beside the gguf package and transformers. */
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { z } from "zod";
import { modelSession } from "../../experiments/model-session.ts";
import { heldOutDocuments, SEPARATOR } from "../../experiments/starter/corpus.ts";
import { textSequences } from "../../experiments/text.ts";
import { createOnnxRuntimeEngine } from "../../lib/engines/onnxruntime/onnxruntime-engine.ts";
import { sequenceLosses } from "../../lib/eval/perplexity.ts";
import { summarizeLosses } from "../../lib/eval/summary.ts";
import { openGguf } from "../../lib/formats/gguf/gguf.ts";
import { temporaryFolder } from "../fixtures/tiny-model.ts";
import { oracle, type Released, released } from "./released.ts";

const folder = await temporaryFolder();
const story = join(folder, "stories.txt");
writeFileSync(story, heldOutDocuments("report", 12).join(SEPARATOR));
const names = Object.keys(released) as Released[];

test.each(names)("%s: every tensor is what the gguf package makes of it, bit for bit", async (name) => {
  const digests = oracle(z.record(z.string(), z.string()), "tensor_digests.py", released[name]);
  const file = await openGguf(released[name]);
  try {
    expect([...file.tensors.keys()].sort()).toEqual(Object.keys(digests).sort());
    for (const [tensor, digest] of Object.entries(digests)) {
      const values = await file.readFloat32(tensor);
      expect(createHash("sha256").update(new Uint8Array(values.buffer)).digest("hex"), tensor).toBe(digest);
    }
  } finally {
    await file.close();
  }
});

/** Losses of the first 12 documents of a text, and the ids they are of. */
async function losses(name: Released, text: string, separator: string) {
  const engine = await createOnnxRuntimeEngine({ threads: 1 });
  const models = modelSession(engine, async (r) => r);
  try {
    const model = await models.open(released[name]);
    const { sequences } = await textSequences({ text, separator, limit: 12, context: 256 }, model);
    return { sequences, losses: await sequenceLosses(model.runner, sequences) };
  } finally {
    await models.close();
  }
}

test.each(names)("%s: each document costs what transformers says, to 1e-4 of a nat per token", async (name) => {
  const { sequences, losses: ours } = await losses(name, story, SEPARATOR);
  const ids = join(folder, `${name}.json`);
  writeFileSync(ids, JSON.stringify(sequences.map((s) => [...s.ids])));
  const theirs = oracle(z.array(z.number()), "transformers_losses.py", released[name], ids);
  expect(ours).toHaveLength(theirs.length);
  for (const [i, loss] of ours.entries())
    expect(Math.abs(loss.nll - (theirs[i] ?? Number.NaN)) / loss.tokens, `document ${i}`).toBeLessThan(1e-4);
});

const reference = process.env.ESPALIER_REFERENCE;

/** Given with the text, of weights that were not said to be f32: in f32 transformers says 2.1299 of SmolLM2 on the same ids. */
const given: Record<Released, { nats: number; tokens: number }> = {
  smollm2: { nats: 2.1309, tokens: 2063 },
  gemma3: { nats: 2.0395, tokens: 2063 },
};

test.skipIf(!reference).each(names)("%s: the given figure on 12 documents of TinyStories", async (name) => {
  const text = join(reference ?? "", "text/tinystories-a.txt");
  const summary = summarizeLosses((await losses(name, text, "<|endoftext|>")).losses);
  expect(summary.tokens).toBe(given[name].tokens);
  expect(Math.abs(summary.nllPerToken - given[name].nats)).toBeLessThan(2e-3);
});
