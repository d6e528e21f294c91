/**
 * @file What Explore waits for on a released model, in processor seconds of one thread: opening, the prediction, the first measured
 * interval, Taylor, and leave-one-out beside a plain torch loop with hooks.
 *
 *   npx tsx bench/real/importance.ts FOLDER TEXT [--layers 2,9,16,23,29] [--python .oracle-venv/bin/python]
 *
 * Leave-one-out measures all heads of a few layers and counts the others by their multiplications; the loop takes the same time
 * for every head, so a few passes tell.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { unitsOf } from "../../experiments/kinds/sensitivity/model-units.ts";
import { modelSession } from "../../experiments/model-session.ts";
import { textSequences } from "../../experiments/text.ts";
import { openWhatIf } from "../../experiments/what-if/what-if.ts";
import { leaveOneOut } from "../../lib/compress/importance/leave-one-out.ts";
import { gateGradients } from "../../lib/compress/importance/taylor.ts";
import { weightList } from "../../lib/decoder/weights.ts";
import { createOnnxRuntimeEngine } from "../../lib/engines/onnxruntime/onnxruntime-engine.ts";
import { elementCount } from "../../lib/mil/types.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    layers: { type: "string", default: "2,9,16,23,29" },
    python: { type: "string", default: process.env.ESPALIER_PYTHON ?? ".oracle-venv/bin/python" },
  },
});
const [folder = "", text = ""] = positionals;
const SEQUENCES = 2;
const CONTEXT = 129;

async function cpuSeconds<T>(work: () => Promise<T>): Promise<{ seconds: number; value: T }> {
  const before = process.cpuUsage();
  const value = await work();
  const { user, system } = process.cpuUsage(before);
  return { seconds: (user + system) / 1e6, value };
}
const say = (what: string, seconds: number, more = ""): void =>
  console.log(`${what.padEnd(44)} ${seconds.toFixed(2).padStart(8)} s  ${more}`);

const engine = await createOnnxRuntimeEngine({ threads: 1 });
const models = modelSession(engine, async (r) => r);
const opening = await cpuSeconds(() => models.open(folder));
say("model opened, weights read", opening.seconds);
const model = opening.value;
const { arch } = model.weights;

const { seconds, value: whatIf } = await cpuSeconds(() =>
  openWhatIf({ engine, models, clock: { nowMs: () => performance.now() } }, { model: folder, text }),
);
say("what-if opened on a text", seconds);
const two = ["L1.H0", `L${arch.layers.length >> 1}.H1`];
say("first prediction", (await cpuSeconds(() => whatIf.predict(two))).seconds);
say("prediction of another selection", (await cpuSeconds(() => whatIf.predict(["L2.H0"]))).seconds);
const cancel = new AbortController();
let interval = "";
const first = await cpuSeconds(() =>
  whatIf
    .measure(two, {
      signal: cancel.signal,
      onPartial: (p) => {
        interval = `${p.difference.toFixed(4)} ± ${p.standardError.toFixed(4)}, ${p.sequences} of ${p.of} sequences`;
        cancel.abort();
      },
    })
    .catch(() => undefined),
);
say("first measured interval", first.seconds, interval);

const { sequences } = await textSequences({ text, limit: SEQUENCES, context: CONTEXT }, model);
const heads = unitsOf(arch, ["heads"]);
say(
  `Taylor of ${heads.length} heads`,
  (await cpuSeconds(() => gateGradients(engine, model.weights, sequences, heads))).seconds,
);

/** Multiplications a head of layer `l` re-runs for one token. */
const sizes = arch.layers.map((_, l) =>
  weightList(arch).reduce((n, w) => n + (w.layer === l ? elementCount(w.shape) : 0), 0),
);
const mlp = (l: number): number => 3 * arch.hidden * (arch.layers[l]?.neurons ?? 0);
const tail = (l: number): number => mlp(l) + sizes.slice(l + 1).reduce((a, b) => a + b, 0) + arch.vocab * arch.hidden;
const work = (of: typeof heads): number => of.reduce((n, u) => n + tail(u.layer), 0);
const chosen = heads.filter((u) => values.layers.split(",").map(Number).includes(u.layer));
await leaveOneOut(model.runner, sequences, chosen.slice(-1));
const loo = await cpuSeconds(() => leaveOneOut(model.runner, sequences, chosen));
const whole = (loo.seconds * work(heads)) / work(chosen);
const tokens = SEQUENCES * (CONTEXT - 1);
say(
  `leave-one-out, ${chosen.length} heads`,
  loo.seconds,
  `${((2 * tokens * work(chosen)) / loo.seconds / 1e9).toFixed(0)} GFLOP/s of products`,
);
say(`leave-one-out, ${heads.length} heads, counted`, whole);
const script = fileURLToPath(new URL("importance_peer.py", import.meta.url));
const peer = spawnSync(values.python, [script, folder, text, String(SEQUENCES), String(CONTEXT)], {
  encoding: "utf8",
  env: { ...process.env, OMP_NUM_THREADS: "1" },
});
const pass = Number(peer.stdout?.trim().split(/\s+/).at(-1));
if (Number.isFinite(pass))
  say(
    `torch loop, ${heads.length} heads, counted`,
    pass * heads.length,
    `${((pass * heads.length) / whole).toFixed(2)} × ours`,
  );
else console.log(`no torch peer: ${peer.error?.message ?? peer.stderr?.trim().split("\n").at(-1)}`);
await models.close();
