/**
 * @file How long people wait for the workbench: until it is ready, for its pages, for a curve of a million points, for a what-if.
 *
 * `npm run bench:workbench`; a fresh data directory each time. Needs a Chromium (`CHROMIUM`, or /usr/bin/chromium). Beside the
 * time stands the processor time that the server and its children used for it (Linux), which a busy machine stretches less. A
 * page is interactive when its heading is there and the main thread has been free for an animation frame; every page is opened
 * once before, in a browser of its own, because the first opening also reads the page's code from the disk.
 */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { chromium } from "playwright-core";
import { httpClient } from "../server/api/client.ts";
import { openCore } from "../server/core.ts";
import { ensureStarter } from "../server/first-contents.ts";
import { compactPoints } from "../server/runs/journal.ts";
import { cancelRun, submitRun } from "../server/runs/lifecycle.ts";
import { fillWithPoints, fillWithRuns } from "../test/fixtures/many-runs.ts";

const POINTS = 1_000_000;
const root = resolve(import.meta.dirname, "..");
const clock = { nowMs: () => performance.timeOrigin + performance.now() };
const data = await mkdtemp(join(tmpdir(), "espalier-bench-"));
const say = (what: string, ms: number, goalMs: number, cpuMs?: number): void => {
  const used = cpuMs === undefined ? "" : `${cpuMs.toFixed(0)} ms`;
  process.stdout.write(
    `${what.padEnd(50)} ${ms.toFixed(0).padStart(6)} ms   processor ${used.padStart(8)}   goal ${goalMs} ms   ${ms <= goalMs ? "met" : "MISSED"}\n`,
  );
};
/** Processor time of a process and its living children so far; 0 where it cannot be read. */
function cpuMsOf(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    // utime and stime, in hundredths of a second.
    const own = 10 * (Number(fields[11]) + Number(fields[12]));
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
    return children.split(" ").reduce((sum, child) => sum + (child === "" ? 0 : cpuMsOf(Number(child))), own);
  } catch {
    return 0;
  }
}
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
    const pid = server.pid ?? 0;
    const sayTimed = async (what: string, goalMs: number, act: () => Promise<unknown>): Promise<void> => {
      const before = cpuMsOf(pid);
      const ms = await timed(act);
      say(what, ms, goalMs, cpuMsOf(pid) - before);
    };
    say("server ready", seconds * 1000, 3000, cpuMsOf(pid));
    const client = httpClient(url, null);
    await sayTimed("a curve of 1 000 000 points, smoothed and thinned", 1000, () =>
      client.runs.curves.query({ id: run.id, smoothing: 0.9, logarithmic: true }),
    );
    await sayTimed("the same, smoothed otherwise", 300, () =>
      client.runs.curves.query({ id: run.id, smoothing: 0.95, logarithmic: true }),
    );
    await sayTimed("a list of 10 000 runs", 1000, () => client.runs.list.query({}));
    await sayTimed("the newest 200 of them", 200, () => client.runs.list.query({ limit: 200 }));
    const browser = await chromium.launch({
      executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
      args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
    });
    try {
      const pages = [
        "/",
        "/models",
        "/explore?model=starter",
        "/runs",
        `/runs/${run.id}`,
        "/tradeoff",
        "/notebooks",
        "/packages",
      ];
      // From the navigation on; a new tab, with nothing of the page in its cache, is there before.
      const open = async (what: string, path: string, until = "h1"): Promise<void> => {
        for (const isCounted of [false, true]) {
          const page = await browser.newPage();
          const visit = async (): Promise<void> => {
            await page.goto(`${url}${path}`, { waitUntil: "commit" });
            await page.locator(until).first().waitFor();
            await page.evaluate(() => new Promise((free) => requestAnimationFrame(free)));
          };
          await (isCounted ? sayTimed(what, 1000, visit) : visit());
          await page.close();
        }
      };
      for (const path of pages) await open(`page ${path.replace(run.id, "of the run with 1 000 000 points")}`, path);
      const drawn = ".run-curve .scatterlayer .lines path";
      await open("its curve drawn, in a new tab", `/runs/${run.id}`, drawn);
      // As people come to it: from the table, with the workbench open.
      const page = await browser.newPage();
      await page.goto(`${url}/runs?q=kind:prune`);
      const link = page.locator(`a[href="/runs/${run.id}"]`).first();
      await link.waitFor();
      // The newest runs are there at once, all 10 000 a moment later.
      await page.waitForTimeout(3_000);
      await sayTimed("its curve drawn, from the table", 1000, async () => {
        await link.click();
        await page.locator(drawn).first().waitFor();
      });
      await page.close();
    } finally {
      await browser.close();
    }
    const on = { model: "starter", text: "starter-calibrate" };
    await client.whatIf.open.mutate(on);
    const ask = (unit: string): Promise<number> =>
      timed(() => client.whatIf.measure.query({ ...on, selection: [unit] }));
    for (const layer of [0, 4, 7]) {
      const times: number[] = [];
      const before = cpuMsOf(pid);
      for (let head = 0; head < 5; head++) times.push(await ask(`L${layer}.H${head}`));
      const each = (cpuMsOf(pid) - before) / 5;
      say(`what-if, one head of layer ${layer}, median of 5`, times.sort((a, b) => a - b)[2] ?? Number.NaN, 300, each);
    }
  } finally {
    const ended = new Promise((done) => server.once("exit", done));
    server.kill("SIGINT");
    await ended;
  }
} finally {
  await rm(data, { recursive: true, force: true });
}
