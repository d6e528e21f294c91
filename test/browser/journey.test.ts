/** The whole journey of a newcomer in a real browser, on an empty data directory; and what assistive technology finds on each page. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, readFile, stat } from "node:fs/promises";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { temporaryFolder } from "../fixtures/tiny-model.ts";

const root = resolve(import.meta.dirname, "../..");
const shots = process.env.ESPALIER_SCREENSHOTS;
let server: ChildProcess;
let url = "";
let browser: Browser;
let page: Page;
const troubles: string[] = [];

beforeAll(async () => {
  const data = await temporaryFolder();
  server = spawn(process.execPath, [join(root, "bin/espalier.js"), "start", "--port", "0"], {
    cwd: root,
    env: { ...process.env, ESPALIER_DATA: data },
    stdio: ["ignore", "ignore", "pipe"],
  });
  url = await new Promise<string>((found, lost) => {
    let said = "";
    server.stderr?.setEncoding("utf8").on("data", (text: string) => {
      said += text;
      const ready = /ready after [\d.]+ s: (http:\S+)/.exec(said);
      if (ready) found(ready[1] ?? "");
    });
    server.on("exit", () => lost(new Error(said)));
  });
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox"],
  });
  page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
  page.on("pageerror", (e) => troubles.push(e.message));
  page.on("console", (m) => {
    // A what-if that a newer one replaced is answered with 499, which browsers report.
    const isReplaced = m.text().includes("status of 499");
    // Browsers ask for an icon by themselves.
    if (m.type() === "error" && !isReplaced && !m.location().url.endsWith("favicon.ico"))
      troubles.push(`${m.text()} ${m.location().url}`);
  });
});
afterAll(async () => {
  await browser?.close();
  server?.kill("SIGINT");
});

const shot = async (name: string): Promise<void> => {
  if (!shots) return;
  await mkdir(shots, { recursive: true });
  await page.screenshot({ path: join(shots, `${name}.png`) });
};

const axeSource = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
async function accessibility(): Promise<string[]> {
  await page.evaluate(axeSource);
  return page.evaluate(async () => {
    const axe = (
      globalThis as unknown as { axe: { run(): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> } }
    ).axe;
    const { violations } = await axe.run();
    return violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html.slice(0, 120)).join(" | ")}`);
  });
}

test("first start: one button begins the starter study, and the page follows it", async () => {
  await page.goto(url);
  await shot("home");
  await page.getByRole("button", { name: "Run the starter study" }).click();
  await page.getByRole("link", { name: "what each head is worth" }).first().waitFor();
  await page.getByRole("progressbar").first().waitFor({ timeout: 60_000 });
});

test("heads are dropped, restored and pruned with the keyboard alone, and the change is measured", async () => {
  await page.goto(`${url}/explore?at=L7.H0`);
  // The study measures the heads first.
  const cell = page.locator('[data-unit="L7.H0"]');
  await expect.poll(() => cell.getAttribute("aria-label"), { timeout: 240_000 }).toMatch(/plus|minus/);
  await expect.poll(async () => page.getByTestId("measured").textContent(), { timeout: 60_000 }).toBe("+0.0");
  for (
    let i = 0;
    i < 40 && (await page.evaluate(() => document.activeElement?.getAttribute("role"))) !== "gridcell";
    i++
  )
    await page.keyboard.press("Tab");
  expect(await page.evaluate(() => document.activeElement?.getAttribute("data-unit"))).toBe("L7.H0");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("Space");
  await expect.poll(() => page.url()).toContain("drop=L6.H1");
  await expect.poll(async () => page.getByTestId("measured").textContent(), { timeout: 30_000 }).not.toBe("+0.0");
  await page.keyboard.press("g");
  await expect.poll(() => page.url()).toContain("drop=L6.H0-3");
  await page.keyboard.press("Control+z");
  await expect.poll(() => page.url()).toMatch(/drop=L6\.H1($|&)/);
  await page.keyboard.press("Control+Shift+Z");
  await expect.poll(() => page.url()).toContain("L6.H0-3");
  expect(await page.locator('[data-unit="L6.H2"]').getAttribute("aria-label")).toMatch(/^Layer 6, head 2,.*dropped$/);
  await expect
    .poll(async () => page.getByTestId("latency").textContent(), { timeout: 30_000 })
    .toMatch(/measured in \d+ ms/);
  await shot("explore");
  await page.keyboard.press("Control+Enter");
  await page.getByLabel("Distill what is left from the model").uncheck();
  await page.getByRole("button", { name: "Start pruning" }).click();
  await page.getByRole("link", { name: "starter-minus-4" }).waitFor();
});

test("a sweep is several values in one field", async () => {
  await page.goto(`${url}/new?kind=quantize`);
  await page.getByLabel("Name", { exact: true }).fill("widths");
  await page.getByLabel("Model", { exact: true }).fill("starter");
  await page.getByLabel("Bits", { exact: true }).fill("4, 8");
  await page.getByRole("group", { name: "Scheme" }).getByRole("button", { name: "affine" }).click();
  await page.getByRole("button", { name: "Start a sweep of 2 runs" }).click();
  await page.getByRole("link", { name: "widths bits 8" }).waitFor();
});

test("a config that does not fit is refused with what is wrong", async () => {
  await page.goto(`${url}/new?kind=quantize`);
  await page.getByLabel("Model", { exact: true }).fill("nobody");
  await page.getByRole("button", { name: "Start the run" }).click();
  await page.getByText('there is no model "nobody"').waitFor();
  // The refusal is an answer of the server, which the console reports as a failed request.
  const refused = troubles.filter((t) => t.includes("runs.submit"));
  for (const t of refused) troubles.splice(troubles.indexOf(t), 1);
});

test("the study ends with a winner on the trade-off and a package that can be downloaded", async () => {
  await page.goto(`${url}/runs?q=kind:export`);
  await page.getByText("succeeded").waitFor({ timeout: 840_000 });
  await page.goto(`${url}/runs`);
  await shot("runs");
  await page.goto(`${url}/tradeoff`);
  await page.getByText("smaller than the base in fp16").waitFor();
  await page.locator(".scatterlayer .points path").first().waitFor();
  await shot("tradeoff");
  await page.goto(`${url}/runs?q=kind:distill`);
  await page.getByRole("link", { name: "distilled" }).click();
  await page.getByRole("heading", { name: "KL to the teacher, nats per token" }).waitFor();
  await page.locator(".scatterlayer .lines path").first().waitFor();
  await shot("run");
  await page.goto(`${url}/packages`);
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("link", { name: /Download as zip/ }).click(),
  ]);
  const file = await download.path();
  expect((await readFile(file)).subarray(0, 2).toString()).toBe("PK");
  expect((await stat(file)).size).toBeGreaterThan(400_000);
  await shot("package");
});

test.each(["light", "dark"])("every page is sound for assistive technology, %s", async (theme) => {
  await page.goto(url);
  await page.evaluate((t) => localStorage.setItem("theme", t), theme);
  const found: string[] = [];
  for (const path of ["/", "/models", "/explore", "/tradeoff", "/runs", "/new", "/packages"]) {
    await page.goto(`${url}${path}`);
    await page.waitForTimeout(1500);
    if (path === "/explore") await shot(`explore-${theme}`);
    found.push(...(await accessibility()).map((v) => `${path} ${v}`));
  }
  expect(found).toEqual([]);
});

test("nothing was said on the console", () => {
  expect(troubles).toEqual([]);
});
