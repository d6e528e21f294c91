/**
 * @file How long people wait for the workbench: until it is ready, for a curve of a million points, for a what-if.
 *
 * `npm run bench:workbench` after `npm run build`; a fresh data directory each time.
 */
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { httpClient } from "../server/api/client.ts";
import { openCore } from "../server/core.ts";
import { compactPoints } from "../server/runs/journal.ts";
import { cancelRun, submitRun } from "../server/runs/lifecycle.ts";
import { ensureStarter } from "../server/starter.ts";
import { fillWithPoints, fillWithRuns } from "../test/fixtures/many-runs.ts";

const POINTS = 1_000_000;
const root = resolve(import.meta.dirname, "..");
const clock = { nowMs: () => performance.timeOrigin + performance.now() };
const data = await mkdtemp(join(tmpdir(), "espalier-bench-"));
const say = (what: string, ms: number, goalMs: number): void =>
  void process.stdout.write(
    `${what.padEnd(46)} ${ms.toFixed(0).padStart(6)} ms   goal ${goalMs} ms   ${ms <= goalMs ? "met" : "MISSED"}\n`,
  );
const timed = async (act: () => Promise<unknown>): Promise<number> => {
  const started = performance.now();
  await act();
  return performance.now() - started;
};

try {
  let core: Awaited<ReturnType<typeof openCore>> | undefined;
  say(
    "first opening of an empty data directory",
    await timed(async () => {
      core = await openCore({ dataDirectory: data, clock });
    }),
    2000,
  );
  if (!core) throw new Error("not opened");
  await ensureStarter(core);
  const run = await submitRun(core, { kind: "prune", config: { model: "starter", drop: ["L0.H0"] } });
  await cancelRun(core, run.id);
  await fillWithPoints(core, run.id, "loss", POINTS);
  await compactPoints(core, run.id);
  await fillWithRuns(core, 10_000);
  await core.close();

  const server = spawn(process.execPath, [join(root, "bin/espalier.js"), "start", "--port", "0"], {
    cwd: root,
    env: { ...process.env, ESPALIER_DATA: data },
    stdio: ["ignore", "ignore", "pipe"],
  });
  try {
    const { url, seconds } = await new Promise<{ url: string; seconds: number }>((found, lost) => {
      let said = "";
      server.stderr.setEncoding("utf8").on("data", (text: string) => {
        said += text;
        const ready = /ready after ([\d.]+) s: (http:\S+)/.exec(said);
        if (ready) found({ url: ready[2] ?? "", seconds: Number(ready[1]) });
      });
      server.on("exit", () => lost(new Error(said)));
    });
    say("server ready", seconds * 1000, 3000);
    const client = httpClient(url, null);
    say(
      "a curve of 1 000 000 points, smoothed and thinned",
      await timed(() => client.runs.curves.query({ id: run.id, smoothing: 0.9, logarithmic: true })),
      1000,
    );
    say(
      "the same, smoothed otherwise",
      await timed(() => client.runs.curves.query({ id: run.id, smoothing: 0.95, logarithmic: true })),
      300,
    );
    say("a list of 10 000 runs", await timed(() => client.runs.list.query({})), 1000);
    say("the newest 200 of them", await timed(() => client.runs.list.query({ limit: 200 })), 200);
    const on = { model: "starter", text: "starter-calibrate" };
    await client.whatIf.open.mutate(on);
    const ask = (unit: string): Promise<number> =>
      timed(() => client.whatIf.measure.query({ ...on, selection: [unit] }));
    for (const layer of [0, 4, 7]) {
      const times: number[] = [];
      for (let head = 0; head < 5; head++) times.push(await ask(`L${layer}.H${head}`));
      say(`what-if, one head of layer ${layer}, median of 5`, times.sort((a, b) => a - b)[2] ?? Number.NaN, 300);
    }
  } finally {
    server.kill("SIGINT");
  }
} finally {
  await rm(data, { recursive: true, force: true });
}
