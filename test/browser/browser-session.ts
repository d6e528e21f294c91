/** A workbench on a data directory, an empty one unless given, and a browser on it, for the tests of this folder. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { type Browser, chromium, type Page } from "playwright-core";
import { temporaryFolder } from "../fixtures/tiny-model.ts";

const root = resolve(import.meta.dirname, "../..");

export interface Workbench {
  readonly url: string;
  readonly page: Page;
  /** What the console complained about. */
  readonly troubles: string[];
  /** What assistive technology finds wrong on the page. */
  accessibility(): Promise<string[]>;
  /** A picture, where ESPALIER_SCREENSHOTS names a folder. */
  shot(name: string): Promise<void>;
  /** Calls a procedure of the API and gives its answer. */
  call(procedure: string, input: unknown): Promise<unknown>;
  close(): Promise<void>;
}

export async function startWorkbench(
  viewport = { width: 1440, height: 900 },
  dataDirectory?: string,
): Promise<Workbench> {
  const server: ChildProcess = spawn(process.execPath, [join(root, "bin/espalier.js"), "start", "--port", "0"], {
    cwd: root,
    env: { ...process.env, ESPALIER_DATA: dataDirectory ?? (await temporaryFolder()) },
    stdio: ["ignore", "ignore", "pipe"],
  });
  const url = await new Promise<string>((found, lost) => {
    let said = "";
    server.stderr?.setEncoding("utf8").on("data", (text: string) => {
      said += text;
      const ready = /ready after [\d.]+ s: (http:\S+)/.exec(said);
      if (ready) found(ready[1] ?? "");
    });
    server.on("exit", () => lost(new Error(said)));
  });
  const browser: Browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
  });
  const page = await browser.newPage({ viewport });
  const troubles: string[] = [];
  page.on("pageerror", (e) => troubles.push(e.message));
  page.on("console", (m) => {
    // A what-if that a newer one replaced is answered with 499, which browsers report.
    const isReplaced = m.text().includes("status of 499");
    // Browsers ask for an icon by themselves.
    if (m.type() === "error" && !isReplaced && !m.location().url.endsWith("favicon.ico"))
      troubles.push(`${m.text()} ${m.location().url}`);
  });
  const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
  const shots = process.env.ESPALIER_SCREENSHOTS;
  return {
    url,
    page,
    troubles,
    async accessibility() {
      await page.evaluate(axe);
      return page.evaluate(async () => {
        const { axe: run } = globalThis as unknown as {
          axe: { run(): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> };
        };
        const { violations } = await run.run();
        return violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html.slice(0, 160)).join(" | ")}`);
      });
    },
    async shot(name) {
      if (!shots) return;
      await mkdir(shots, { recursive: true });
      await page.screenshot({ path: join(shots, `${name}.png`) });
    },
    async call(procedure, input) {
      const answer = await fetch(`${url}/api/trpc/${procedure}`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(input),
      });
      const body: unknown = await answer.json();
      if (!answer.ok) throw new Error(`${procedure}: ${JSON.stringify(body).slice(0, 400)}`);
      return body;
    },
    async close() {
      await browser.close();
      server.kill("SIGINT");
    },
  };
}
