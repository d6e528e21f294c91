/** Quantize and Trade-off in a real browser: a width map fills, a budget moves the allocation, the front is walked, a point exported. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { startWorkbench, type Workbench } from "./browser-session.ts";

let bench: Workbench;
beforeAll(async () => {
  bench = await startWorkbench();
});
afterAll(() => bench?.close());

/** Few sequences: what is tested is the page. */
const text = { text: "starter-select", separator: "<|endoftext|>", limit: 6 };

async function submit(kind: string, name: string, config: Record<string, unknown>): Promise<string> {
  const answer = (await bench.call("runs.submit", { kind, name, config })) as { result: { data: { id: string } } };
  return answer.result.data.id;
}

async function ended(id: string): Promise<void> {
  const input = encodeURIComponent(JSON.stringify({ id }));
  await expect
    .poll(
      async () => {
        const answer = (await (await fetch(`${bench.url}/api/trpc/runs.get?input=${input}`)).json()) as {
          result: { data: { state: string } };
        };
        return answer.result.data.state;
      },
      { timeout: 240_000, interval: 500 },
    )
    .toBe("succeeded");
}

test("before anything is measured the map waits, and says what would fill it", async () => {
  const { page, url } = bench;
  await page.goto(`${url}/quantize?limit=4`);
  await page.getByText("Nothing is measured yet with these settings").waitFor();
  await expect.poll(() => page.getByRole("gridcell").count(), { timeout: 30_000 }).toBe(57 * 5);
  expect(await page.locator("[data-measured]").count()).toBe(0);
  await page.goto(`${url}/tradeoff`);
  await page.getByText("No model has been compared with its base yet").waitFor();
});

test("a width map is started, its cells fill in while it runs, and the line follows", async () => {
  const { page, url } = bench;
  await page.goto(`${url}/quantize?limit=4`);
  await page.getByRole("button", { name: "Measure every tensor" }).click();
  await page.getByRole("progressbar", { name: "Cells measured" }).waitFor();
  await expect.poll(() => page.locator("[data-measured]").count(), { timeout: 120_000 }).toBeGreaterThan(3);
  const early = await page.locator("[data-measured]").count();
  expect(early).toBeLessThan(57 * 5);
  await page.locator("[data-allocation]").waitFor({ state: "attached" });
  await bench.shot("quantize-running");
  await expect.poll(() => page.locator("[data-measured]").count(), { timeout: 240_000 }).toBe(57 * 5);
  await page.getByText("succeeded").waitFor();
});

test("the map is walked by arrows and reads its cells out", async () => {
  const { page } = bench;
  const first = page.getByRole("gridcell").first();
  await first.focus();
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowDown");
  const cell = page.locator(":focus");
  expect(await cell.getAttribute("aria-label")).toMatch(/^L0 query, 6 bit, (plus|minus) [\d.]+ nats, standard error/);
  await page.keyboard.press("End");
  expect(await page.locator(":focus").getAttribute("aria-label")).toMatch(/^L7 down, 6 bit/);
  expect(await page.locator('[role="gridcell"][tabindex="0"]').count()).toBe(1);
});

test("the allocation moves with the budget, by keys and by hand, and the address keeps it", async () => {
  const { page } = bench;
  const slider = page.getByRole("slider", { name: "Budget" });
  const path = () => page.locator("[data-allocation]").getAttribute("data-allocation");
  const before = await path();
  const bytesBefore = Number(await slider.getAttribute("aria-valuenow"));
  await slider.focus();
  await page.keyboard.press("Shift+ArrowLeft");
  expect(Number(await slider.getAttribute("aria-valuenow"))).toBeCloseTo(bytesBefore * 1.01 ** -10, -3);
  expect(await path()).not.toBe(before);
  const box = await slider.locator("rect").boundingBox();
  if (!box) throw new Error("the slider has no grip");
  const stepped = await path();
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  await page.mouse.down();
  await page.mouse.move(box.x + 120, box.y + 6, { steps: 4 });
  await page.mouse.up();
  expect(await path()).not.toBe(stepped);
  // The address follows a moment after the hand.
  await expect
    .poll(async () => new URL(page.url()).searchParams.get("budget") === (await slider.getAttribute("aria-valuenow")))
    .toBe(true);
  const kept = await path();
  await page.reload();
  await expect.poll(path, { timeout: 30_000 }).toBe(kept);
  await bench.shot("quantize");
});

test("the allocation shown is measured: a checkpoint by its recipe, evaluated beside the model", async () => {
  const { page } = bench;
  await page.keyboard.press("Control+Enter");
  await page.getByText("are on their way").waitFor();
  const runs = (await (await fetch(`${bench.url}/api/trpc/runs.list`)).json()) as {
    result: { data: { id: string; kind: string; config: Record<string, unknown> }[] };
  };
  const quantize = runs.result.data.find((r) => r.kind === "quantize");
  const evaluations = runs.result.data.filter((r) => r.config.model === `run:${quantize?.id}`);
  const evaluate = evaluations.find((r) => r.config.text === "starter-calibrate");
  expect(evaluate?.config).toMatchObject({ base: "starter", limit: 4 });
  // And for the trade-off, on a text that nothing was chosen on.
  expect(evaluations.map((r) => r.config.text).sort()).toEqual(["starter-calibrate", "starter-select"]);
  const recipe = quantize?.config.recipe as { tensors: object } | undefined;
  expect(Object.keys(recipe?.tensors ?? {})).toHaveLength(57);
  await ended(evaluate?.id ?? "");
  await page.getByText("Measured:").waitFor({ timeout: 30_000 });
});

test("everything evaluated is on the trade-off; its front is walked and its budget moved", async () => {
  const { page, url } = bench;
  const models = await Promise.all(
    [2, 3, 4, 8].map((bits) => submit("quantize", `uniform ${bits}`, { model: "starter", bits })),
  );
  await ended(
    await submit("tradeoff", "small trade-off", { base: "starter", models: models.map((m) => `run:${m}`), ...text }),
  );
  await page.goto(`${url}/tradeoff`);
  await page.getByRole("heading", { name: "How small before it shows" }).waitFor();
  await page.getByText("fp16 base", { exact: false }).first().waitFor();
  const title = page.locator(".tradeoff-panel h2");
  await title.waitFor();
  await page.keyboard.press("k");
  await page.keyboard.press("k");
  await page.keyboard.press("k");
  await page.keyboard.press("k");
  await expect.poll(() => title.textContent()).toBe("2-bit palettes");
  await page.keyboard.press("j");
  await expect.poll(() => title.textContent()).toBe("3-bit palettes");
  expect(new URL(page.url()).searchParams.get("point")).toBe("uniform-3");
  await page.getByRole("img", { name: /^L0: 8 of 8 heads.*query 3/ }).waitFor();

  const slider = page.getByRole("slider", { name: "Budget" });
  await slider.focus();
  await page.keyboard.press("End");
  await expect.poll(() => title.textContent()).toBe("8-bit palettes");
  const most = Number(await slider.getAttribute("aria-valuenow"));
  const box = await slider.locator("rect").boundingBox();
  if (!box) throw new Error("the slider has no grip");
  await page.mouse.move(box.x + 7, box.y + 13);
  await page.mouse.down();
  await page.mouse.move(box.x - 420, box.y + 13, { steps: 5 });
  await page.mouse.up();
  expect(Number(await slider.getAttribute("aria-valuenow"))).toBeLessThan(most / 1.5);
  await expect.poll(() => title.textContent()).not.toBe("8-bit palettes");
  await page.locator(".tradeoff-panel h2").click();
  await page.keyboard.press("ArrowLeft");
  await expect.poll(() => new URL(page.url()).searchParams.get("budget")).not.toBeNull();
  await page.keyboard.press("p");
  await expect.poll(() => new URL(page.url()).searchParams.get("pin")).not.toBeNull();
  await page.keyboard.press("d");
  await expect.poll(() => new URL(page.url()).searchParams.get("dominated")).toBe("off");
  await bench.shot("tradeoff");
});

test("the winner is exported from its point", async () => {
  const { page } = bench;
  // The sheet says what will be written before anything runs, in the figures of the point.
  const shown = new Map<string, string | null>();
  for (const figure of ["weights", "package"])
    shown.set(figure, await page.locator(`.tradeoff-panel [data-figure="${figure}"]`).textContent());
  await page.keyboard.press("e");
  const sheet = page.getByRole("dialog", { name: /^Export/ });
  await sheet.locator("[data-figure=package]").waitFor();
  for (const [figure, text] of shown) expect(await sheet.locator(`[data-figure="${figure}"]`).textContent()).toBe(text);
  await sheet.getByRole("button", { name: "Export", exact: true }).click();
  const link = page.getByRole("link", { name: /^The export of/ });
  await link.waitFor();
  expect(await link.getAttribute("href")).toMatch(/^\/runs\/run_/);
});

test.each(["light", "dark"] as const)("both pages are sound for assistive technology, %s", async (theme) => {
  const { page, url } = bench;
  await page.evaluate((t) => localStorage.setItem("theme", t), theme);
  const found: string[] = [];
  for (const path of ["/quantize", "/tradeoff"]) {
    await page.goto(`${url}${path}`);
    await page.getByRole("slider", { name: "Budget" }).waitFor();
    found.push(...(await bench.accessibility()).map((v) => `${path} ${v}`));
    await bench.shot(`${path.slice(1)}-${theme}`);
  }
  expect(found).toEqual([]);
});

test("nothing was said on the console", () => {
  // The navigation names a page that this test does not open.
  expect(bench.troubles.filter((t) => !t.includes("/devices?_rsc"))).toEqual([]);
});
