// Runs the starter's GGUF files of write-ggufs.ts in llama.cpp and compares tokens and greedy text with Espalier's.
// Usage: llama-cpp.mjs FOLDER MODULES, where MODULES is the node_modules that holds node-llama-cpp.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, modules] = process.argv.slice(2);
const { getLlama, LlamaLogLevel } = await import(pathToFileURL(join(modules, "node-llama-cpp/dist/index.js")).href);
const llama = await getLlama({ gpu: false, build: "never", logLevel: LlamaLogLevel.error, maxThreads: 1 });
let agreed = 0;
const texts = JSON.parse(readFileSync(join(folder, "texts.json"), "utf8"));
for (const [name, { prompt, ids }] of Object.entries(texts)) {
  const model = await llama.loadModel({ modelPath: join(folder, name) });
  const context = await model.createContext({ contextSize: 128, threads: 1 });
  const begin = model.tokens.shouldPrependBosToken ? [model.tokens.bos] : [];
  const all = [...begin, ...model.tokenize(prompt)];
  const length = all.length;
  const sequence = context.getSequence();
  for await (const token of sequence.evaluate([...all], { temperature: 0 })) {
    all.push(token);
    if (all.length === ids.length) break;
  }
  const differing = ids.findIndex((id, i) => id !== all[i]);
  // llama.cpp rounds activations to 8 bits before products with Q8_0, so its text may part at a close choice.
  const enough = name.includes("Q8_0") ? length + 8 : ids.length;
  if (differing >= 0 && differing < enough) throw new Error(`${name}: differs at ${differing} of ${ids.length} tokens`);
  agreed += differing < 0 ? ids.length : differing;
  await context.dispose();
  await model.dispose();
}
console.log(`llama.cpp says the same: ${agreed} tokens of ${Object.keys(texts).length} files`);
process.exit(0);
