/** Prints token ids and logits of the starter on held-out text, for check_starter.py to compare with transformers. */
import { fileURLToPath } from "node:url";
import { modelSession } from "../../experiments/model-session.ts";
import { heldOutDocuments } from "../../experiments/starter/corpus.ts";
import { createOnnxRuntimeEngine } from "../../lib/engines/onnxruntime/onnxruntime-engine.ts";
import { promptIds } from "../../lib/eval/text-codec.ts";
import { float32Data } from "../../lib/mil/tensor.ts";

const engine = await createOnnxRuntimeEngine({ threads: 1 });
const session = modelSession(engine, async (r) => r);
const model = await session.open(fileURLToPath(new URL("../../experiments/starter/model", import.meta.url)));
const texts = [...heldOutDocuments("report", 6), "Unknown: Ünïcödé 東京 🙂\n\ttabs"];
const items = [];
for (const text of texts) {
  const ids = promptIds(model.tokenizer, text);
  const x = await model.runner.blocks(await model.runner.embed(Int32Array.from(ids), { batch: 1, length: ids.length }));
  const logits = float32Data(await model.runner.logits(x, ids.length - 1, 1));
  items.push({ text, ids, decoded: model.tokenizer.decode(ids), lastLogits: [...logits] });
}
process.stdout.write(JSON.stringify(items));
await session.close();
