/**
 * @file Perplexity and divergence of a released model pruned to shares of its parameters, cut and fitted, without training.
 *
 *   npx tsx bench/real/pruning.ts --model MODEL --text wikitext2-valid.txt [--shares 0.8,0.6] [--windows 16] [--calibrate 24]
 *     [--rounds N] [--out FOLDER]
 *
 * Windows of 512 tokens. The report takes the first `--windows` of the text, calibration the last `--calibrate`; nothing is chosen
 * on the first. One thread; seconds are processor time. With --out the models are written to FOLDER/p80 and so on.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { count, fixed, table } from "../../bin/numbers.ts";
import { memoryStore } from "../../experiments/definition.ts";
import { pruneToSize } from "../../experiments/kinds/prune/to-size.ts";
import { modelSession } from "../../experiments/model-session.ts";
import { readText } from "../../experiments/text-file.ts";
import { madeFrom } from "../../lib/checkpoint/made-from.ts";
import { writeCheckpoint } from "../../lib/checkpoint/write-checkpoint.ts";
import { keptForConfig } from "../../lib/compress/prune/kept.ts";
import { parameterCount } from "../../lib/decoder/weights.ts";
import { createOnnxRuntimeEngine } from "../../lib/engines/onnxruntime/onnxruntime-engine.ts";
import { predictedTokens, sequencesFromText } from "../../lib/eval/sequences.ts";

const { values } = parseArgs({
  options: {
    model: { type: "string", default: "" },
    text: { type: "string", default: "" },
    shares: { type: "string", default: "0.8,0.6" },
    windows: { type: "string", default: "16" },
    calibrate: { type: "string", default: "24" },
    rounds: { type: "string" },
    out: { type: "string" },
  },
});

const engine = await createOnnxRuntimeEngine({ threads: 1 });
const models = modelSession(engine, async (reference) => reference);
const model = await models.open(values.model);
const windows = sequencesFromText(await readText(values.text), model.tokenizer, { context: 512 });
const heldOut = windows.slice(0, Number(values.windows));
const calibrate = windows.slice(-Number(values.calibrate));
if (heldOut.length + calibrate.length > windows.length)
  throw new Error("the text is too short for windows that differ");
const tokens = (part: typeof windows): number => part.reduce((n, s) => n + predictedTokens(s), 0);
const all = parameterCount(model.weights.arch);

const rows: string[][] = [];
for (const share of values.shares.split(",").map(Number)) {
  const before = process.cpuUsage();
  const rounds = values.rounds === undefined ? Math.max(1, Math.round((1 - share) / 0.25)) : Number(values.rounds);
  const { weights, kept, report } = await pruneToSize(
    model,
    {
      calibrate,
      source: `${tokens(calibrate)} tokens`,
      heldOut: { sequences: heldOut, protocol: `${heldOut.length} windows of 512, ${tokens(heldOut)} tokens` },
    },
    { target: Math.floor(share * all), rounds, multiple: 16, compensate: true },
    {
      engine,
      models,
      store: memoryStore(),
      clock: { nowMs: () => 0 },
      log: (line) => process.stderr.write(`${line}\n`),
    },
    () => {},
  );
  const { user, system } = process.cpuUsage(before);
  const last = report.rounds.at(-1);
  const ratio = (p: number | undefined): string => `${fixed((p ?? Number.NaN) / report.basePerplexity, 2)} ×`;
  rows.push([
    String(share),
    count(parameterCount(weights.arch)),
    String(rounds),
    `${fixed(last?.cut.perplexity ?? Number.NaN, 1)} (${ratio(last?.cut.perplexity)})`,
    `${fixed(last?.fitted?.perplexity ?? Number.NaN, 1)} (${ratio(last?.fitted?.perplexity)})`,
    fixed(last?.fitted?.kl ?? Number.NaN, 3),
    fixed((user + system) / 1e6, 0),
  ]);
  process.stdout.write(`${table(["kept", "parameters", "rounds", "cut", "fitted", "KL", "processor s"], rows)}\n`);
  process.stdout.write(`base ${fixed(report.basePerplexity, 2)} on ${report.protocol}\n`);
  if (values.out === undefined) continue;
  await writeCheckpoint(join(values.out, `p${Math.round(100 * share)}`), {
    architecture: weights.arch,
    config: { ...model.checkpoint.config, espalier: { kept: keptForConfig(kept) } },
    copyFrom: model.checkpoint,
    replace: true,
    ...madeFrom(model.checkpoint, model.weights, weights),
  });
}
await models.close();
