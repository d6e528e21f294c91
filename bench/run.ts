/** @file `npm run bench`: the same work here and in the peer, in one run, as ratios. See README.md beside this file. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { table } from "../bin/numbers.ts";
import { unitsOf } from "../experiments/kinds/sensitivity/sensitivity.ts";
import { modelSession } from "../experiments/model-session.ts";
import { heldOutQuestions } from "../experiments/starter/corpus.ts";
import { leaveOneOut } from "../lib/compress/importance/leave-one-out.ts";
import { palettize } from "../lib/compress/quantize/palettize.ts";
import { architectureOf } from "../lib/decoder/families/registry.ts";
import { causalMask } from "../lib/decoder/mask.ts";
import { packageProgram } from "../lib/decoder/plain-layout-program.ts";
import { blockProgram } from "../lib/decoder/sequence-programs.ts";
import { tilesOf } from "../lib/engines/onnxruntime/fusion/causal-attention.ts";
import { createOnnxRuntimeEngine } from "../lib/engines/onnxruntime/onnxruntime-engine.ts";
import { choiceSequences } from "../lib/eval/choice-scoring.ts";
import { sequenceLosses } from "../lib/eval/perplexity.ts";
import type { TokenSequence } from "../lib/eval/sequences.ts";
import { sharedLosses } from "../lib/eval/shared-losses.ts";
import { streamedWeights, withGains } from "../lib/export/streamed-weights.ts";
import { writePackage } from "../lib/formats/coreml/package-writer.ts";
import { Builder } from "../lib/mil/builder.ts";
import type { MilFunction } from "../lib/mil/program.ts";
import { f32, float32Data, type Tensor } from "../lib/mil/tensor.ts";
import { elementCount, fp32 } from "../lib/mil/types.ts";
import { createRng } from "../lib/random.ts";
import { Trainer } from "../lib/train/trainer.ts";
import { textObjective } from "../lib/train/training-program.ts";

const { values } = parseArgs({ options: { threads: { type: "string", default: "2" } } });
const threads = Number(values.threads);
const starter = fileURLToPath(new URL("../experiments/starter/model", import.meta.url));

const engine = await createOnnxRuntimeEngine({ threads });
const model = await modelSession(engine, async (r) => r).open(starter);
const rng = createRng(0, "bench");
const sequences: TokenSequence[] = Array.from({ length: 48 }, (_, i) => ({
  id: `s${i}`,
  ids: Int32Array.from({ length: 161 }, () => 4 + rng.integer(1020)),
  scoredFrom: 1,
  sizeBytes: 160,
}));

async function least(work: () => Promise<unknown> | unknown, rounds: number): Promise<number> {
  await work();
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < rounds; i++) {
    const started = performance.now();
    await work();
    best = Math.min(best, (performance.now() - started) / 1000);
  }
  return best;
}

const evaluate = await least(() => sequenceLosses(model.runner, sequences), 3);
/** Questions with a pass for each choice, and with passes shared: how many times as fast. */
const questions = heldOutQuestions("select", 100).flatMap((q, i) =>
  choiceSequences({ ...q, choices: [...q.choices] }, i, model.tokenizer, model.weights.arch.maxPositions),
);
const sharing =
  (await least(() => sequenceLosses(model.runner, questions), 2)) /
  (await least(() => sharedLosses(model.runner, questions), 2));
const heads = unitsOf(model.weights.arch, ["heads"]);
const loo = await least(() => leaveOneOut(model.runner, sequences.slice(0, 8), heads), 1);
/** Seconds of a program on one thread, fused and unfused, in turns; its inputs are noise. */
async function oneThread(fn: MilFunction, rounds: number): Promise<{ fused: number; plain: number }> {
  const inputs: Record<string, Tensor> = {};
  for (const { name, type } of fn.inputs) {
    const of = type.kind === "tensor" ? type.shape : [];
    inputs[name] = f32(
      of,
      Float32Array.from({ length: elementCount(of) }, () => 0.1 * rng.normal()),
    );
  }
  const [fused, plain] = await Promise.all(
    [true, false].map(async (fuse) => (await createOnnxRuntimeEngine({ threads: 1, fuse })).compile(fn)),
  );
  const best = { fused: Number.POSITIVE_INFINITY, plain: Number.POSITIVE_INFINITY };
  for (let i = 0; i < rounds; i++) {
    best.fused = Math.min(best.fused, await least(() => fused?.run(inputs), 1));
    best.plain = Math.min(best.plain, await least(() => plain?.run(inputs), 1));
  }
  return best;
}

/** The goal's block, and a product of the size of its largest, in GFLOP/s of what is carried out. */
async function blockSpeed() {
  const [batch, length, hidden, heads, neurons] = [8, 256, 288, 6, 768];
  const arch = architectureOf({
    model_type: "llama",
    vocab_size: 32,
    hidden_size: hidden,
    intermediate_size: neurons,
    num_hidden_layers: 1,
    num_attention_heads: heads,
    num_key_value_heads: heads,
    max_position_embeddings: length,
  });
  const found = await oneThread(blockProgram(arch, 0, { batch, length }), 10);
  const starterBlock = await oneThread(blockProgram(model.weights.arch, 0, { batch: 8, length: 160 }), 10);
  const b = new Builder("product");
  const product = b.linear(b.input("x", fp32(batch * length, hidden)), b.input("w", fp32(neurons, hidden)));
  const bare = await oneThread(b.build({ product }), 10);
  const projections = 2 * batch * length * (4 * hidden * hidden + 3 * hidden * neurons);
  const scores = (pairs: number): number => 4 * batch * pairs * hidden;
  const tiles = tilesOf(float32Data(causalMask(length, null)), length) ?? [];
  const seen = tiles.reduce((n, t) => n + (t.rows[1] - t.rows[0]) * (t.keys[1] - t.keys[0]), 0);
  return {
    fused: (projections + scores(seen)) / found.fused / 1e9,
    plain: (projections + scores(length * length)) / found.plain / 1e9,
    times: found.plain / found.fused,
    starterTimes: starterBlock.plain / starterBlock.fused,
    bare: (2 * batch * length * hidden * neurons) / bare.fused / 1e9,
  };
}
const speed = await blockSpeed();
const matrix = Float32Array.from({ length: 512 * 512 }, () => rng.normal());
const palette = await least(() => palettize(matrix, [512, 512], { bits: 4, rowsPerTable: 16 }), 3);
const scratch = mkdtempSync(join(tmpdir(), "espalier-bench-"));
const exported = await least(async () => {
  const shipped = await withGains(streamedWeights(model.checkpoint));
  const program = packageProgram(model.weights.arch, shipped, { context: 256, prefillLength: 32 });
  const about = { shortDescription: "bench", author: "", license: "", version: "1", userDefined: {} };
  const path = join(scratch, "ours.mlpackage");
  rmSync(path, { recursive: true, force: true });
  await writePackage(path, program, about);
}, 5);
const shape = { batch: 8, length: 160 };
const trainer = await Trainer.create(engine, model.weights, {
  shape,
  objective: textObjective,
  schedule: { peak: 1e-6, warmupSteps: 1, totalSteps: 100, finalShare: 1 },
});
const ids = new Int32Array(1280);
const targets = new Int32Array(1280);
for (const [row, s] of sequences.slice(0, 8).entries()) {
  ids.set(s.ids.subarray(0, 160), row * 160);
  targets.set(s.ids.subarray(1), row * 160);
}
const train = await least(() => trainer.step({ ids, targets, tokenWeights: new Float32Array(1280).fill(1 / 1280) }), 5);

const python = process.env.ESPALIER_PYTHON ?? ".oracle-venv/bin/python";
const peer = existsSync(python)
  ? spawnSync(python, ["bench/torch_peer.py", starter, String(threads)], { encoding: "utf8", maxBuffer: 1 << 26 })
  : null;
const theirs: Record<string, unknown> =
  peer && peer.status === 0 ? JSON.parse(peer.stdout.trim().split("\n").at(-1) ?? "{}") : {};
if (peer && peer.status !== 0) console.error(peer.stderr.slice(-500));

const converter = existsSync(python)
  ? spawnSync(python, ["bench/coremltools_peer.py", starter, join(scratch, "theirs.mlpackage")], {
      encoding: "utf8",
      maxBuffer: 1 << 26,
    })
  : null;
if (converter?.status === 0) {
  const { convert, save } = JSON.parse(converter.stdout.trim().split("\n").at(-1) ?? "{}");
  theirs.export = Number(convert) + Number(save);
} else if (converter) console.error(converter.stderr.slice(-500));

/** Peak memory of a child that loads and evaluates 315 MB of f32 weights, in multiples of them. */
function peakMemory(): { name: string; times: number }[] {
  const child = (...args: string[]): string =>
    spawnSync(process.execPath, ["--import", "tsx", "bench/peak-memory.ts", ...args], { encoding: "utf8" }).stdout;
  return ["f32", "bf16"].flatMap((dtype) => {
    const folder = join(scratch, dtype);
    child("write", folder, dtype);
    const { baselineBytes, loadedBytes, peakBytes, weightBytes } = JSON.parse(
      child("evaluate", folder, String(threads)),
    );
    rmSync(folder, { recursive: true });
    return [
      { name: `${dtype} checkpoint, loaded`, times: (loadedBytes - baselineBytes) / weightBytes },
      { name: `${dtype} checkpoint, loaded and evaluated`, times: (peakBytes - baselineBytes) / weightBytes },
    ];
  });
}
const memory = existsSync("/proc/self/status") ? peakMemory() : [];
rmSync(scratch, { recursive: true, force: true });

const row = (name: string, ours: number, key: string, goal: number): string[] => {
  const other = theirs[key];
  if (typeof other !== "number") return [name, `${(ours * 1000).toFixed(1)} ms`, "not there", "", `${goal} ×`, ""];
  const ratio = other / ours;
  return [
    name,
    `${(ours * 1000).toFixed(1)} ms`,
    `${(other * 1000).toFixed(1)} ms`,
    `${ratio.toFixed(2)} ×`,
    `${goal} ×`,
    ratio >= goal ? "met" : "MISSED",
  ];
};
console.log(`${engine.description}; peer: ${String(theirs.versions ?? "none")}\n`);
console.log(
  table(
    ["work", "here", "peer", "ratio", "goal", ""],
    [
      row("evaluate 48 × 160 tokens", evaluate, "evaluate", 1),
      row("training step 8 × 160", train, "train", 1),
      row("leave-one-out, 64 heads", loo, "leaveOneOut", 5),
      row("palettize 512 × 512, 4 bit", palette, "palettize", 10),
      row("export the starter", exported, "export", 10),
    ],
  ),
);
console.log(
  `\na block of 8 × 256 tokens, width 288, one thread: ${speed.fused.toFixed(0)} GFLOP/s of what is carried out, ` +
    `${speed.times.toFixed(2)} × as fast as unfused (${speed.plain.toFixed(0)} GFLOP/s); a bare product: ${speed.bare.toFixed(0)}; ` +
    `goal 100: ${speed.fused >= 100 ? "met" : "MISSED"}\n` +
    `a block of the starter, 8 × 160 tokens, one thread: ${speed.starterTimes.toFixed(2)} × as fast as unfused\n` +
    `100 questions of four choices, passes shared: ${sharing.toFixed(2)} × as fast as a pass a choice`,
);
if (memory.length > 0) {
  const rows = memory.map(({ name, times }) => [
    name,
    `${times.toFixed(2)} ×`,
    "1.5 ×",
    times < 1.5 ? "met" : "MISSED",
  ]);
  console.log(`\n${table(["peak memory beyond the idle process", "of the f32 weights", "goal", ""], rows)}`);
}
process.exit(0);
