/**
 * @file Models in pages: memory, speed and loss of verbs that read a layer at a time, beside `transformers` holding all of the model.
 *
 *   npx tsx bench/real/larger-than-memory.ts [--shape qwen3-0.6b,gemma3-1b,llama-3.2-1b,qwen3-4b] [--verbs evaluate,activation,quantize]
 *     [--tokens 1024] [--folder DIR] [--python .oracle-venv/bin/python]
 *
 * Random bf16 weights in the shapes of released models. ESPALIER_TASK_MEMORY is twice the largest layer, so that one layer is held.
 * Memory is the most that the process held; in layers it is less what evaluating the starter on a few words holds (Node, engine,
 * libraries), over the largest layer in fp32. One thread; processor seconds of the whole command, the peer's without loading.
 */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { fixed, table } from "../../bin/numbers.ts";
import { architectureOf } from "../../lib/decoder/families/registry.ts";
import { layerBytes, wholeModelBytes } from "../../lib/decoder/paged-weights.ts";
import { byteSize } from "../../lib/number-text.ts";
import { type ReleasedName, releasedModels } from "../../test/fixtures/released-configs.ts";
import { scaledConfig, writeSyntheticCheckpoint } from "../synthetic-checkpoint.ts";
import { espalier, peer } from "./measured.ts";

/** Goal: the most that is held, in layers. */
const LAYERS = 3;
const WINDOW = 512;
const isReleased = (name: string): name is ReleasedName => name in releasedModels;

const { values } = parseArgs({
  options: {
    shape: { type: "string", default: "qwen3-0.6b,gemma3-1b,llama-3.2-1b,qwen3-4b" },
    verbs: { type: "string", default: "evaluate,activation,quantize" },
    tokens: { type: "string", default: "1024" },
    folder: { type: "string" },
    python: { type: "string" },
  },
});

const folder = values.folder ?? mkdtempSync(join(tmpdir(), "espalier-pages-"));
const windows = Math.ceil(Number(values.tokens) / WINDOW);
const text = join(folder, "text.txt");
const lines: string[][] = [];
const starter = fileURLToPath(new URL("../../experiments/starter/model", import.meta.url));
try {
  writeFileSync(text, "A few words to evaluate the starter on.");
  const { peakBytes: idle } = await espalier(["evaluate", starter, "--text", text, "--json"]);
  for (const shape of values.shape.split(",")) {
    if (!isReleased(shape))
      throw new Error(`there is no shape ${shape} among ${Object.keys(releasedModels).join(", ")}`);
    const config = scaledConfig(shape);
    const model = join(folder, shape);
    if (!existsSync(join(model, "config.json"))) await writeSyntheticCheckpoint(model, config);
    // Every byte is a token.
    const sentence = "Every byte of this text is a token of the model. ";
    writeFileSync(text, sentence.repeat(Math.ceil(((windows + 1) * WINDOW) / sentence.length)));
    const arch = architectureOf(config);
    const layer = Math.max(...layerBytes(arch));
    process.env.ESPALIER_TASK_MEMORY = String(2 * layer);
    const measured = ["--text", text, "--limit", String(windows), "--context", String(WINDOW), "--json"];
    const verbs: Record<string, string[]> = {
      evaluate: ["evaluate", model, ...measured],
      activation: ["sensitivity", model, "--metric", "activation", "--units", "heads,neurons", ...measured],
      quantize: [
        ...["quantize", model, "--scheme", "affine", "--bits", "4", "--group-size", "32", "--keep-extremes"],
        ...["--weighting", "none", "--method", "nearest", "--out", join(folder, "small"), "--replace", ...measured],
      ],
    };
    for (const verb of values.verbs.split(",")) {
      const args = verbs[verb];
      if (!args) throw new Error(`there is no verb ${verb} here; there are ${Object.keys(verbs).join(", ")}`);
      console.error(`${shape}: ${verb}`);
      const { processorSeconds, peakBytes } = await espalier(args);
      const other =
        verb === "evaluate" ? peer(values.python ?? null, ["evaluate", model, text, String(windows * WINDOW)]) : null;
      const layers = (peakBytes - idle) / layer;
      lines.push([
        shape,
        byteSize(wholeModelBytes(arch)),
        byteSize(layer),
        verb,
        fixed(processorSeconds, 0),
        byteSize(peakBytes),
        fixed(layers, 1),
        // Codes of the whole model are in memory until they are written.
        verb === "quantize" ? "" : layers <= LAYERS ? "met" : "MISSED",
        other ? `${fixed(other.processorSeconds, 0)} s, ${byteSize(other.peakBytes)}` : "",
      ]);
      console.log(
        table(
          ["shape", "fp32", "largest layer", "verb", "seconds", "memory", "layers", `≤ ${LAYERS}`, "transformers"],
          lines,
        ),
      );
    }
    if (values.folder === undefined) rmSync(model, { recursive: true, force: true });
  }
} finally {
  if (values.folder === undefined) rmSync(folder, { recursive: true, force: true });
}
