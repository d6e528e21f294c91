/** Packages and devices in a real browser: checks, pairing, a simulated phone's report arriving live, a phone's file, a refit, the zip. */
import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parsePairingUrl, sendReport } from "../../experiments/probe/send.ts";
import { simulatePhone } from "../../experiments/probe/simulate.ts";
import { publishedParameters } from "../../lib/cost/parameters.ts";
import { profileProgram } from "../../lib/cost/program-profile.ts";
import { createOnnxRuntimeEngine } from "../../lib/engines/onnxruntime/onnxruntime-engine.ts";
import { hashPackage } from "../../lib/formats/coreml/package-hash.ts";
import { readPackage } from "../../lib/formats/coreml/package-reader.ts";
import { type Client, httpClient } from "../../server/api/client.ts";
import { phoneReport } from "../fixtures/phone-report.ts";
import { temporaryFolder } from "../fixtures/tiny-model.ts";
import { startWorkbench, type Workbench } from "./browser-session.ts";

let bench: Workbench;
let client: Client;
let packageId = "";
let folder = "";

beforeAll(async () => {
  bench = await startWorkbench();
  client = httpClient(bench.url, null);
  const { id } = await client.runs.submit.mutate({
    kind: "export",
    name: "small package",
    config: { model: "starter", name: "Small", contexts: [64, 128], prefill: [16], checkTokens: 16 },
  });
  for (let state = "queued"; state !== "succeeded"; { state } = await client.runs.get.query({ id })) {
    if (/failed|cancelled|lost/.test(state)) throw new Error(`the export is ${state}`);
    await new Promise((wake) => setTimeout(wake, 1000));
  }
  packageId = (await client.packages.list.query())[0]?.id ?? "";
  ({ folder } = await client.packages.folder.query({ id: packageId }));
});
afterAll(() => bench?.close());

test("the list leads to the package, which shows what was checked and what is modelled", async () => {
  const { page, url } = bench;
  await page.goto(`${url}/packages`);
  const row = page.getByRole("row", { name: /Small/ });
  await row.getByText("modelled").waitFor({ timeout: 30_000 });
  expect(await row.textContent()).toMatch(/ready.*Neural Engine layout.*64 · 128.*none/);
  await row.getByRole("link", { name: "Small" }).click();
  await page.getByRole("heading", { name: "Checked at export" }).waitFor();
  const lines = await page.locator(".package-lines").first().textContent();
  expect(lines).toMatch(/passed: Read back and type-checked\d\s?\d+ ops/);
  expect(lines).toMatch(/passed: Greedy text, 16 tokensidentical/);
  expect(lines).toMatch(/passed: fp16 headroom, tightest L\d×/);
  await page.getByRole("article", { name: /^Warning: No lookups by run-time index/ }).waitFor();
  await page.getByRole("img", { name: /right halves stay blank/ }).waitFor();
  // Where a token's time goes follows context and chip, which the address keeps.
  await page.getByLabel("at", { exact: true }).selectOption("64");
  await page.getByLabel("on", { exact: true }).selectOption("a19-pro");
  await expect.poll(() => page.url()).toMatch(/context=64.*chip=a19-pro/);
  await page.getByRole("button", { name: "View “Where each operation runs” as table" }).click();
  await page.getByRole("cell", { name: "softmax" }).first().waitFor();
  await page.getByRole("button", { name: "View “Where each operation runs” as a drawing" }).click();
  await bench.shot("package-before");
});

test("before any report there is only pairing: a QR code and a code that runs down; a simulated phone's report arrives live", async () => {
  const { page } = bench;
  const code = page.getByTestId("pairing-code");
  await code.waitFor();
  expect(await code.textContent()).toMatch(/^[2-9A-Z]{4}-[2-9A-Z]{4}$/);
  const qr = page.getByAltText("QR code that pairs the probe with this package");
  expect(await qr.evaluate((image) => (image instanceof HTMLImageElement ? image.naturalWidth : 0))).toBeGreaterThan(
    50,
  );
  const before = await page.getByTestId("pairing-left").textContent();
  await expect.poll(() => page.getByTestId("pairing-left").textContent()).not.toBe(before);
  await page.getByText("A phone cannot reach this server").waitFor();
  await page.getByText("Unattended, from a Mac with Xcode").click();
  const link = /--link '([^']+)'/.exec((await page.locator(".package-script pre").textContent()) ?? "")?.[1] ?? "";
  const report = await simulatePhone(folder, {
    engine: await createOnnxRuntimeEngine({ threads: 1 }),
    clock: { nowMs: () => performance.timeOrigin + performance.now() },
    timedTokens: 6,
    timedCalls: 1,
    memoryBytes: () => process.memoryUsage().rss,
  });
  await sendReport(parsePairingUrl(link), report);
  await page.getByRole("heading", { name: "Simulated phone" }).waitFor({ timeout: 15_000 });
  await page.getByText("Simulated, no phone").waitFor();
  await page.getByText("golden vectors match").waitFor();
  // It replaces nothing: the number of the head stays modelled.
  expect(await page.locator(".package-number .tag").textContent()).toContain("modelled");
  await page.getByText(/^Not measured: no device/).waitFor();
});

test("a phone's file fills the right halves, rings what differs and replaces the modelled number", async () => {
  const { page } = bench;
  const path = join(folder, "Small.mlpackage");
  const profile = profileProgram((await readPackage(path)).program, "cpuAndNeuralEngine");
  const onCpu = profile.functions
    .filter((f) => f.function === "decode_128")
    .flatMap((f) => f.operations.filter((o) => o.row === "cache" && o.layer === 3).slice(0, 1))
    .map((o) => o.output);
  const report = phoneReport({
    package: { name: "Small", ...(await hashPackage(path)) },
    profile,
    parameters: { ...publishedParameters, callMs: 1.2 },
    onCpu,
    failsOn: "cpuOnly",
  });
  const file = join(await temporaryFolder(), "report.json");
  await writeFile(file, JSON.stringify(report));
  await page.getByLabel("A report of the probe").setInputFiles(file);
  await page.getByRole("heading", { name: "iPhone 15 Pro" }).waitFor();
  await page.getByLabel("at", { exact: true }).selectOption("128");
  await page.getByRole("img", { name: /reported by iPhone 15 Pro. 1 of \d+ differ/ }).waitFor();
  expect(await page.locator(".package-number .tag").textContent()).toContain("reported");
  await page.getByRole("list", { name: "Thermal state over time" }).getByText("serious").waitFor();
  await bench.shot("package");
  await page.getByRole("button", { name: "CPU only" }).click();
  await page.getByText(/Wrong results on CPU only/).waitFor();
  // A file that is no report is refused with the field at fault.
  await writeFile(file, JSON.stringify({ ...report, runs: [] }));
  await page.getByLabel("A report of the probe").setInputFiles(file);
  await page.getByText(/this is no report of a probe: runs/).waitFor();
  const refused = bench.troubles.filter((t) => t.includes("reports.import"));
  for (const t of refused) bench.troubles.splice(bench.troubles.indexOf(t), 1);
  expect(refused.length).toBeGreaterThan(0);
});

test("Devices lists what reported, flags the unit that failed, and refits the cost model", async () => {
  const { page, url } = bench;
  const before = (await client.packages.modelled.query({ id: packageId })).devices[0]?.decode[0]?.tokensPerSecond ?? 0;
  await page.goto(`${url}/devices`);
  await page
    .getByRole("row", { name: /iPhone 15 Pro iPhone16,1/ })
    .getByText("CPU only: 1 of 1 wrong")
    .waitFor();
  await page.getByRole("button", { name: "Simulated phone" }).click();
  await page.getByText(/Nothing here replaces a modelled figure/).waitFor();
  await page.getByRole("button", { name: /^Refit to \d+ calls$/ }).click();
  await page.getByText(/^fitted to \d+ calls/).waitFor();
  await page.getByRole("row", { name: /a prediction on an iPhone, ms 2\.39/ }).waitFor();
  await bench.shot("devices");
  const after = (await client.packages.modelled.query({ id: packageId })).devices[0];
  expect(after?.basis.kind).toBe("refitted");
  expect(after?.decode[0]?.tokensPerSecond).toBeGreaterThan(1.3 * before);
});

test("the zip comes by its key, and has the package and the probe in it", async () => {
  const { page, url } = bench;
  await page.goto(`${url}/packages/${packageId}`);
  await page.getByRole("heading", { name: "Checked at export" }).waitFor();
  await page.getByRole("button", { name: "Xcode project" }).click();
  await page.getByRole("heading", { name: "The Xcode project comes with the zip" }).waitFor();
  await page.keyboard.press("Escape");
  const [download] = await Promise.all([page.waitForEvent("download"), page.keyboard.press("d")]);
  const file = await download.path();
  expect((await stat(file)).size).toBeGreaterThan(400_000);
  const bytes = (await readFile(file)).toString("latin1");
  expect(bytes.startsWith("PK")).toBe(true);
  for (const name of ["Small.mlpackage/Manifest.json", "Probe/probe.sh", "Probe/Probe.xcodeproj/project.pbxproj"])
    expect(bytes).toContain(name);
});

test.each(["light", "dark"])("the pages are sound for assistive technology, %s", async (theme) => {
  const { page, url } = bench;
  await page.evaluate((t) => localStorage.setItem("theme", t), theme);
  const found: string[] = [];
  for (const path of ["/packages", `/packages/${packageId}`, `/packages/${packageId}?units=cpuOnly`, "/devices"]) {
    await page.goto(`${url}${path}`);
    await page.locator("table").first().waitFor();
    await page.waitForTimeout(1200);
    found.push(...(await bench.accessibility()).map((v) => `${path} ${v}`));
  }
  expect(found).toEqual([]);
});

test("nothing was said on the console", () => {
  expect(bench.troubles).toEqual([]);
});
