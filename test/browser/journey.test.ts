/** The whole journey of a newcomer in a real browser, on an empty data directory; and what assistive technology finds on each page. */
import { readFile, stat } from "node:fs/promises";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startWorkbench, type Workbench } from "./browser-session.ts";

let workbench: Workbench;
let page: Page;
let url = "";

beforeAll(async () => {
  workbench = await startWorkbench();
  ({ page, url } = workbench);
});
afterAll(() => workbench?.close());

const shot = (name: string): Promise<void> => workbench.shot(name);

test("first start: one button begins the starter study, and the page follows it", async () => {
  await page.goto(url);
  await shot("home");
  // The button's own study, with less training and fewer questions: the journey is about the pages.
  await page.route(/studies\.startStarter/, (route) =>
    route.continue({ postData: JSON.stringify({ distillSteps: 60, questions: 150 }) }),
  );
  await page.getByRole("button", { name: "Run the starter study" }).click();
  // The run is named once a worker has begun it.
  await page.getByRole("link", { name: "what each head is worth" }).first().waitFor({ timeout: 120_000 });
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
  await page.getByLabel("Then distill the pruned model from the original").uncheck();
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
  const { troubles } = workbench;
  const refused = troubles.filter((t) => t.includes("runs.submit"));
  for (const t of refused) troubles.splice(troubles.indexOf(t), 1);
});

test("the study ends with a winner on the trade-off and a package that can be downloaded", async () => {
  await page.goto(`${url}/runs?q=kind:export`);
  await page.getByText("succeeded").nth(1).waitFor({ timeout: 840_000 });
  await page.goto(`${url}/runs`);
  await shot("runs");
  await page.goto(`${url}/tradeoff`);
  await page.getByText("smaller than fp16").waitFor();
  await page.locator(".scatterlayer .points path").first().waitFor();
  await shot("tradeoff");
  await page.goto(`${url}/runs?q=kind:distill`);
  await page.getByRole("link", { name: "distilled" }).click();
  await page.getByRole("heading", { name: "KL to the teacher, nats per token" }).waitFor();
  await page.locator(".scatterlayer .lines path").first().waitFor();
  await shot("run");
  await page.goto(`${url}/packages`);
  await page.locator(".package-list a").first().click();
  await page.getByRole("heading", { name: "Checked at export" }).waitFor();
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("link", { name: /Download zip/ }).click(),
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
  for (const path of [
    "/",
    "/models",
    "/explore",
    "/quantize",
    "/quantize",
    "/tradeoff",
    "/runs",
    "/new",
    "/notebooks",
    "/packages",
    "/devices",
  ]) {
    await page.goto(`${url}${path}`);
    await page.waitForTimeout(1500);
    if (path === "/explore") await shot(`explore-${theme}`);
    found.push(...(await workbench.accessibility()).map((v) => `${path} ${v}`));
  }
  expect(found).toEqual([]);
});

test("nothing was said on the console", () => {
  expect(workbench.troubles).toEqual([]);
});
