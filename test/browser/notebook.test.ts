/** A notebook in a real browser: written, run, frozen, restored, exported. */
import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startWorkbench, type Workbench } from "./browser-session.ts";

let bench: Workbench;
beforeAll(async () => {
  bench = await startWorkbench();
});
afterAll(() => bench?.close());

test("the starter notebook is there, and its text reads as text", async () => {
  const { page, url } = bench;
  await page.goto(`${url}/notebooks`);
  await page.getByRole("link", { name: "Which heads can the starter live without?" }).click();
  await page.getByRole("heading", { name: "Win it back" }).waitFor();
  expect(await page.locator(".notebook-prose math").count()).toBeGreaterThan(0);
});

test("a cell is run from the keyboard, seen live, and its figure frozen", async () => {
  const { page, url } = bench;
  await page.goto(`${url}/notebooks`);
  await page.getByRole("button", { name: "New notebook" }).click();
  await page.getByLabel("Title of the notebook").fill("Mine");
  await page.getByRole("button", { name: "Experiment", exact: true }).click();
  await page.getByLabel("Set another field").selectOption("text");
  await page.getByLabel("text", { exact: true }).fill("starter-calibrate");
  await page.getByLabel("Set another field").selectOption("limit");
  await page.getByLabel("limit", { exact: true }).fill("8");
  await page.getByLabel("limit", { exact: true }).press("Enter");
  const cell = page.locator('[data-cell][aria-label^="experiment"]');
  await cell.focus();
  await page.keyboard.press("Control+Enter");
  await cell.getByText("succeeded").waitFor({ timeout: 240_000 });
  await cell.getByRole("heading", { name: "What each head is worth" }).waitFor();
  await cell.focus();
  await page.getByRole("toolbar", { name: "Insert a cell" }).getByRole("button", { name: "Figure" }).click();
  const figure = page.locator('[data-cell][aria-label^="figure"]');
  await figure.getByRole("heading", { name: "What each head is worth" }).waitFor();
  await figure.focus();
  await page.keyboard.press("f");
  await figure.getByText("frozen").waitFor();
  await page.getByText("saved", { exact: true }).waitFor();
  await page.reload();
  await page.locator('[data-cell][aria-label^="figure"]').getByText("frozen").waitFor();
});

test("a cell taken out comes back, an old version too, and the page exports itself", async () => {
  const { page } = bench;
  const cells = page.locator("[data-cell]");
  const before = await cells.count();
  await page.locator('[data-cell][aria-label^="figure"]').focus();
  await page.keyboard.press("Delete");
  await expect.poll(() => cells.count()).toBe(before - 1);
  await page.getByRole("button", { name: "Undo" }).click();
  await expect.poll(() => cells.count()).toBe(before);
  await page.getByRole("button", { name: "Export the notebook" }).click();
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("menuitem", { name: "HTML, in one file" }).click(),
  ]);
  const html = await readFile(await download.path(), "utf8");
  expect(html).toContain("frozen data");
  expect(html).not.toMatch(/<script|https?:\/\/(?!www\.w3\.org)/);
});

test.each(["light", "dark"] as const)("both pages are sound for assistive technology, %s", async (theme) => {
  const { page, url } = bench;
  await page.evaluate((t) => localStorage.setItem("theme", t), theme);
  const found: string[] = [];
  for (const path of ["/notebooks", "/notebooks/nb_starter"]) {
    await page.goto(`${url}${path}`);
    await page.locator("table, .notebook-prose").first().waitFor();
    found.push(...(await bench.accessibility()).map((v) => `${path} ${v}`));
  }
  expect(found).toEqual([]);
});

test("nothing was said on the console", () => {
  expect(bench.troubles).toEqual([]);
});
