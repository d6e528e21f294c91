/** A workbench of its own process for a browser, and what axe finds on a page. */
import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import type { Page } from "playwright-core";

const root = resolve(import.meta.dirname, "../..");

export interface RunningWorkbench {
  readonly url: string;
  stop(): void;
}

export async function startWorkbench(data: string): Promise<RunningWorkbench> {
  const server = spawn(process.execPath, [join(root, "bin/espalier.js"), "start", "--port", "0"], {
    cwd: root,
    env: { ...process.env, ESPALIER_DATA: data },
    stdio: ["ignore", "ignore", "pipe"],
  });
  const url = await new Promise<string>((found, lost) => {
    let said = "";
    server.stderr.setEncoding("utf8").on("data", (text: string) => {
      said += text;
      const ready = /ready after [\d.]+ s: (http:\S+)/.exec(said);
      if (ready) found(ready[1] ?? "");
    });
    server.on("exit", () => lost(new Error(said)));
  });
  return { url, stop: () => void server.kill("SIGINT") };
}

interface Axe {
  run(): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }>;
}

const axeSource = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export async function violations(page: Page): Promise<string[]> {
  await page.evaluate(axeSource);
  return page.evaluate(async () => {
    const axe: Axe = Reflect.get(globalThis, "axe");
    const found = await axe.run();
    return found.violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html.slice(0, 160)).join(" | ")}`);
  });
}
