/** Explore with the keyboard alone, in a real browser on the starter: drop, measure, undo, explain, save, send on, prune. */
import type { Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startWorkbench, type Workbench } from "./browser-session.ts";

let workbench: Workbench;
let page: Page;
const cell = (unit: string) => page.locator(`[data-unit="${unit}"]`);
const focused = (): Promise<string | null> =>
  page.evaluate(() => document.activeElement?.getAttribute("data-unit") ?? null);
const settled = (): Promise<void> =>
  expect.poll(() => page.getByTestId("latency").textContent(), { timeout: 60_000 }).toMatch(/measured in \d+ ms/);

const drop = (): string => new URL(page.url()).searchParams.get("drop") ?? "";

beforeAll(async () => {
  workbench = await startWorkbench();
  ({ page } = workbench);
  await workbench.call("runs.submit", {
    kind: "sensitivity",
    name: "what each unit is worth",
    config: {
      model: "starter",
      text: "starter-calibrate",
      separator: "<|endoftext|>",
      units: ["heads", "attention", "mlp"],
      metric: ["leave-one-out", "taylor"],
      limit: 16,
    },
  });
});
afterAll(() => workbench?.close());

test("cells fill in while they are measured, and say what they are", async () => {
  await page.goto(`${workbench.url}/explore`);
  expect(await cell("L5.H2").getAttribute("aria-label")).toMatch(/^Layer 5, head 2, not measured, kept$/);
  await page.getByRole("progressbar").waitFor();
  await expect
    .poll(() => cell("L5.H2").getAttribute("aria-label"), { timeout: 240_000 })
    .toMatch(/^Layer 5, head 2, (plus|minus) [\d.]+, standard error [\d.]+,.* kept$/);
  await expect.poll(() => page.getByText("64 of 64 heads").count(), { timeout: 240_000 }).toBe(1);
  await page.getByRole("progressbar").waitFor({ state: "detached", timeout: 240_000 });
});

test("every gesture has a key: drop, group, row, column, range, threshold, undo, redo", async () => {
  await page.goto(`${workbench.url}/explore?at=L6.H0`);
  await settled();
  for (let i = 0; i < 60 && (await focused()) === null; i++) await page.keyboard.press("Tab");
  expect(await focused()).toBe("L6.H0");
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("Space");
  await expect.poll(drop).toBe("L6.H1");
  await expect.poll(() => page.getByTestId("announced").textContent(), { timeout: 30_000 }).toMatch(/^measured [+−]/);
  expect(await page.getByTestId("measured").textContent()).not.toBe("+0.0");
  await page.keyboard.press("g");
  await expect.poll(drop).toBe("L6.H0-3");
  expect(await cell("L6.H2").getAttribute("aria-label")).toMatch(/^Layer 6, head 2,.*dropped$/);
  await page.keyboard.press("c");
  await expect.poll(drop).toContain("L0.H1,L1.H1");
  await page.keyboard.press("Control+z");
  await expect.poll(drop).toBe("L6.H0-3");
  await page.keyboard.press("Control+z");
  await page.keyboard.press("Control+z");
  await expect.poll(drop).toBe("");
  await page.keyboard.press("Control+Shift+Z");
  await expect.poll(drop).toBe("L6.H1");
  // A range from L6.H1 to L5.H3; Escape lets go, Enter drops.
  for (const key of ["ArrowDown", "ArrowRight", "ArrowRight"]) await page.keyboard.press(`Shift+${key}`);
  expect(await focused()).toBe("L5.H3");
  await page.keyboard.press("Escape");
  await page.keyboard.press("Enter");
  await expect.poll(drop).toBe("L6.H1");
  for (const key of ["ArrowUp", "ArrowLeft"]) await page.keyboard.press(`Shift+${key}`);
  await page.keyboard.press("Enter");
  await expect.poll(drop).toBe("L5.H2-3,L6.H1-3");
  await page.keyboard.press("Home");
  await page.keyboard.press("r");
  await expect.poll(drop).toContain("L6.H0-7");
  await page.getByText("layer 6 would keep no head").first().waitFor();
  expect(await page.getByRole("button", { name: /Prune & distill/ }).isDisabled()).toBe(true);
  await page.keyboard.press("r");
  await page.keyboard.press(".");
  await expect.poll(() => page.getByRole("slider", { name: /Threshold/ }).getAttribute("aria-valuenow")).toBe("3");
  await page.keyboard.press(",");
  await expect.poll(() => page.getByRole("slider", { name: /Threshold/ }).getAttribute("aria-valuenow")).toBe("2");
  await page.keyboard.press("PageDown");
  expect(await focused()).toBe("L2.H0");
  await page.keyboard.press("End");
  expect(await focused()).toBe("L2.H7");
});

test("three ways to ask", async () => {
  await page.goto(`${workbench.url}/explore`);
  await settled();
  await page.getByLabel("Lowest, per cent of heads").fill("25");
  await page.getByText(/^16 heads(, \d KV groups?)? dropped$/).waitFor();
  await page.getByLabel("Save at least, per cent of bytes").fill("10");
  await expect
    .poll(async () => Number(await page.getByLabel("Save at least, per cent of bytes").inputValue()))
    .toBeGreaterThanOrEqual(10);
  const slider = page.getByRole("slider", { name: /Threshold/ });
  await slider.focus();
  await page.keyboard.press("Home");
  await page.getByText("Nothing is dropped yet.").waitFor();
  await page.keyboard.press("ArrowRight");
  await page.getByText("1 head dropped").waitFor();
  await settled();
});

test("a unit is explained: attention on your sentence, read by arrows; what it attends to, what breaks", async () => {
  await page.goto(`${workbench.url}/explore?at=L3.H4`);
  await settled();
  await page.getByRole("complementary", { name: "Layer 3, head 4 explained" }).waitFor();
  await page.getByLabel("Your sentence", { exact: true }).fill("Tom found the key. Tom found the");
  const map = page.getByRole("application", { name: /Attention of L3.H4/ });
  await map.waitFor({ timeout: 60_000 });
  const reading = await page.getByTestId("weight").textContent();
  await map.focus();
  await page.keyboard.press("Home");
  await expect.poll(() => page.getByTestId("weight").textContent()).not.toBe(reading);
  await page.getByText("Previous token").waitFor({ timeout: 60_000 });
  await page
    .getByText(/→ [\d.]+ \+[\d.]+ nats/)
    .first()
    .waitFor();
  await cell("L3.H4").focus();
  await page.keyboard.press("Escape");
  await page.getByRole("complementary").waitFor({ state: "detached" });
  await page.keyboard.press("e");
  await page.getByRole("complementary", { name: "Layer 3, head 4 explained" }).waitFor();
  await workbench.shot("explore-explained");
});

test("a head has a page: its worth, neighbours, reach, what breaks; by key and by link, and on to the next head", async () => {
  await page.goto(`${workbench.url}/explore?at=L3.H4`);
  await settled();
  const link = page.getByRole("link", { name: "Its own page" });
  await link.waitFor();
  expect(await link.getAttribute("href")).toBe("/models/starter/heads/3/4?text=starter-calibrate");
  await page.keyboard.press("Shift+E");
  await page.waitForURL("**/models/starter/heads/3/4?text=starter-calibrate");
  await page.getByRole("heading", { name: "What breaks without it" }).waitFor({ timeout: 60_000 });
  // Each metric with its interval and its rank.
  const rows = page.getByRole("region", { name: "What it is worth by every metric" }).getByRole("row");
  await expect.poll(() => rows.count(), { timeout: 60_000 }).toBe(4);
  expect(await rows.nth(1).textContent()).toMatch(/^Leave-one-out.*[+−][\d.]+± [\d.]+.*\d+ of 64/i);
  // Rounded to whole per cent.
  const shares = await page.getByTestId("distances").locator(".number").allTextContents();
  expect(shares.reduce((t, s) => t + Number.parseFloat(s), 0)).toBeGreaterThan(97);
  const around = page.getByRole("navigation", { name: "Heads around it" });
  expect(await around.getByRole("link").count()).toBe(40);
  expect(await around.locator("[aria-current=page]").getAttribute("aria-label")).toMatch(/^Layer 3, head 4, /);
  expect(await page.locator("main").count()).toBe(1);
  expect(await workbench.accessibility()).toEqual([]);
  await workbench.shot("head");
  await page.keyboard.press("j");
  await page.waitForURL("**/heads/3/5?text=starter-calibrate");
  await page.keyboard.press("]");
  await page.waitForURL("**/heads/4/5?text=starter-calibrate");
  await around.getByRole("link", { name: /^Layer 5, head 2,/ }).click();
  await page.waitForURL("**/heads/5/2?text=starter-calibrate");
  await page.getByRole("application", { name: /Attention of L5.H2/ }).waitFor({ timeout: 60_000 });
  await page.keyboard.press("e");
  await page.waitForURL("**/explore?model=starter&at=L5.H2&text=starter-calibrate");
  await page.goto(`${workbench.url}/models/starter/heads/3/8`);
  await page.getByText("starter has no head L3.H8").waitFor();
  await page.getByText("Layer 3 has the heads H0 to H7.").waitFor();
});

test("what is shown can be sent on: metric, kind, overlay, focus, selection are in the address", async () => {
  await page.goto(`${workbench.url}/explore?metric=taylor&overlay=leave-one-out&drop=L7.H0-1_3&at=L2.H1&goal=20`);
  await settled();
  expect(await cell("L7.H3").getAttribute("aria-selected")).toBe("true");
  expect(await cell("L7.H2").getAttribute("aria-selected")).toBe("false");
  expect(await cell("L2.H1").getAttribute("tabindex")).toBe("0");
  await page.getByRole("heading", { name: "Where the two metrics disagree" }).waitFor();
  expect(await page.getByRole("slider", { name: /Goal/ }).getAttribute("aria-valuenow")).toBe("20");
  await workbench.shot("explore-overlay");
  await page.keyboard.press("v");
  await page
    .getByRole("region", { name: /as table/ })
    .first()
    .waitFor();
  await page.getByRole("button", { name: "Layers" }).click();
  await expect.poll(() => page.url()).toContain("kind=layers");
  await page.goBack();
  await expect.poll(() => page.url()).not.toContain("kind=layers");
  expect(page.url()).toContain("drop=L7.H0-1_3");
});

test("text before and after, predicted with an interval, kept under a name, and sent to be pruned", async () => {
  await page.goto(`${workbench.url}/explore?drop=L7.H0-3,L6.H4-7`);
  await settled();
  await page.getByText(/greedy · \d+ of \d+ tokens differ, first at \d+/).waitFor({ timeout: 90_000 });
  await page.getByRole("group", { name: /Estimates.*predicted [+−][\d.]+/ }).waitFor({ timeout: 240_000 });
  await expect.poll(() => page.getByText("Questions right, %").count(), { timeout: 240_000 }).toBe(1);
  await page.keyboard.press("Control+s");
  await page.getByRole("form", { name: "Save the selection" }).getByLabel("Name").fill("two groups");
  await page.keyboard.press("Enter");
  await page.getByText("selection: two groups").waitFor();
  await page.keyboard.press("Control+Enter");
  const sheet = page.getByRole("form", { name: "Prune and distill" });
  await sheet.getByLabel("Steps").fill("5");
  await sheet.getByRole("button", { name: "Start both" }).click();
  await page.getByRole("link", { name: "starter-minus-8", exact: true }).waitFor();
  await page.getByRole("link", { name: "starter-minus-8, distilled" }).waitFor();
  await workbench.shot("explore");
});

test.each(["light", "dark"])("sound for assistive technology, %s", async (theme) => {
  await page.evaluate((t) => localStorage.setItem("theme", t), theme);
  const found: string[] = [];
  for (const path of [
    "/explore?drop=L7.H0-3&at=L5.H2",
    "/explore?overlay=taylor&drop=L6.H1",
    "/explore?kind=neurons",
  ]) {
    await page.goto(`${workbench.url}${path}`);
    await settled();
    await page.waitForTimeout(2500);
    found.push(...(await workbench.accessibility()).map((v) => `${path} ${v}`));
  }
  expect(found).toEqual([]);
});

test("nothing was said on the console", () => {
  expect(workbench.troubles).toEqual([]);
});
