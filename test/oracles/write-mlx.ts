/**
 * Writes folders for mlx-lm: tiny models of every family it has a class for, in every number of bits, with their logits as Espalier
 * reads them from the folder; and the starter, pruned unevenly and quantized to mixed widths, with its greedy text. For check_mlx.py.
 * Usage: write-mlx.ts OUTPUT_FOLDER
 */
import { cp, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { memoryStore, runExperiment } from "../../experiments/definition.ts";
import { exportConfig } from "../../experiments/kinds/export/config.ts";
import { exportExperiment } from "../../experiments/kinds/export/export.ts";
import { prune, pruneConfig } from "../../experiments/kinds/prune/prune.ts";
import { quantize, quantizeConfig } from "../../experiments/kinds/quantize/quantize.ts";
import { modelSession } from "../../experiments/model-session.ts";
import { openCheckpoint } from "../../lib/checkpoint/checkpoint.ts";
import { generate } from "../../lib/decoder/generate.ts";
import { wholeWeight } from "../../lib/decoder/paged-weights.ts";
import { DecoderRunner } from "../../lib/decoder/runner.ts";
import { stepModel } from "../../lib/decoder/step-model.ts";
import { type DecoderWeights, inMemoryWeights } from "../../lib/decoder/weights.ts";
import { createOnnxRuntimeEngine } from "../../lib/engines/onnxruntime/onnxruntime-engine.ts";
import { type MlxModel, mlxModel } from "../../lib/export/mlx/mlx-model.ts";
import { mlxWeights } from "../../lib/export/mlx/mlx-weights.ts";
import { type AffineGroups, mlxBits } from "../../lib/formats/mlx/affine-groups.ts";
import { openSafetensors, writeSafetensors } from "../../lib/formats/safetensors.ts";
import { float32Data, type Tensor } from "../../lib/mil/tensor.ts";
import { temporaryFolder, tinyIds, writeTinyCheckpoint } from "../fixtures/tiny-model.ts";

const out = process.argv[2];
if (out === undefined) throw new Error("usage: write-mlx.ts OUTPUT_FOLDER");
const engine = await createOnnxRuntimeEngine({ threads: 1 });

interface Vectors {
  readonly folder: string;
  readonly ids: number[];
  /** After the last token. */
  readonly logits: number[];
  readonly greedy: number[];
}
const vectors: Vectors[] = [];

async function readBack(folder: string, { even, matrices }: MlxModel): Promise<DecoderWeights> {
  const file = await openSafetensors(join(folder, "model.safetensors"));
  const groups = new Map<string, AffineGroups>();
  for (const m of matrices) if (m.groups) groups.set(m.path, m.groups);
  const tensors = new Map<string, Tensor>();
  for (const [name, w] of mlxWeights(file, even, groups)) tensors.set(name, await wholeWeight(w));
  await file.close();
  return inMemoryWeights(even, tensors);
}

async function note(name: string, weights: DecoderWeights, ids: Int32Array, greedy: number): Promise<void> {
  const runner = new DecoderRunner(engine, weights);
  const last = await runner.blocks(await runner.embed(ids, { batch: 1, length: ids.length }));
  const logits = [...float32Data(await runner.logits(last, ids.length - 1, 1))];
  const model = await stepModel(engine, weights, { context: ids.length + greedy });
  const said = greedy === 0 ? [] : await generate(model, [...ids], { maxTokens: greedy });
  vectors.push({ folder: name, ids: [...ids], logits, greedy: [...said] });
}

for (const family of ["llama", "biased", "qwen2", "qwen3", "gemma3"] as const) {
  const folder = join(await temporaryFolder(), family);
  await writeTinyCheckpoint(folder, family);
  const checkpoint = await openCheckpoint(folder);
  for (const bits of [null, ...mlxBits]) {
    const name = `${family}-${bits ?? "floats"}`;
    const made = mlxModel(checkpoint, { bits, groupSize: 32 });
    await mkdir(join(out, name), { recursive: true });
    await writeSafetensors(join(out, name, "model.safetensors"), made.tensors, { format: "mlx" });
    await writeFile(join(out, name, "config.json"), JSON.stringify(made.config));
    await note(name, await readBack(join(out, name), made), tinyIds(12, 48), 0);
  }
  await checkpoint.close();
}

const folder = await temporaryFolder();
const context = {
  engine,
  models: modelSession(engine, async (path) => path),
  store: memoryStore(),
  clock: { nowMs: () => 0 },
};
const starter = join(import.meta.dirname, "../../experiments/starter/model");
const drop = ["L0.H0", "L1.H2", "L2.N0-63"];
await runExperiment(prune, pruneConfig.parse({ model: starter, drop, out: join(folder, "pruned") }), context);
await runExperiment(
  quantize,
  quantizeConfig.parse({
    ...{ model: join(folder, "pruned"), out: join(folder, "mixed"), scheme: "affine", bits: 4, groupSize: 32 },
    ...{ mlp: "affine8", weighting: "none" },
  }),
  context,
);
const asked = exportConfig.parse({ model: join(folder, "mixed"), to: "mlx", out: join(folder, "out"), maxKl: 5 });
const { card } = await runExperiment(exportExperiment, asked, context);
await cp(join(folder, "out", card.file), join(out, "starter-uneven-mixed"), { recursive: true });
const mixed = await openCheckpoint(join(folder, "mixed"));
const made = mlxModel(mixed, { bits: null, groupSize: 64 });
const { tokenizer } = await context.models.files(join(folder, "mixed"));
const prompt = [...tokenizer.addedTokens("auto").begin, ...tokenizer.encode("Once upon a time there was a little dog")];
await note(
  "starter-uneven-mixed",
  await readBack(join(out, "starter-uneven-mixed"), made),
  Int32Array.from(prompt),
  64,
);
await writeFile(join(out, "vectors.json"), JSON.stringify(vectors));
