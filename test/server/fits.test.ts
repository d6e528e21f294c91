/** A phone's report moves the cost model, and what is modelled from then on; the placement it tells stands beside the modelled one. */
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { memoryStore, runExperiment } from "../../experiments/definition.ts";
import { exportConfig } from "../../experiments/kinds/export/config.ts";
import { exportExperiment } from "../../experiments/kinds/export/export.ts";
import { modelSession } from "../../experiments/model-session.ts";
import { deviceOfChip } from "../../lib/cost/devices.ts";
import { estimateProgram } from "../../lib/cost/estimate.ts";
import type { CostParameters } from "../../lib/cost/model.ts";
import { publishedParameters } from "../../lib/cost/parameters.ts";
import { type PackageProfile, profileProgram } from "../../lib/cost/program-profile.ts";
import { createOnnxRuntimeEngine } from "../../lib/engines/onnxruntime/onnxruntime-engine.ts";
import { hashPackage } from "../../lib/formats/coreml/package-hash.ts";
import { readPackage } from "../../lib/formats/coreml/package-reader.ts";
import type { Core } from "../../server/core.ts";
import { packageProfiles } from "../../server/db/schema.ts";
import { chipOf, reportedSpeed } from "../../server/packages/model-figures.ts";
import { modelledPackage, packageSpeeds, placementOf } from "../../server/packages/modelled.ts";
import { type Package, registerPackage } from "../../server/packages/packages.ts";
import { listChips, listDevices } from "../../server/reports/device-list.ts";
import { forgetFit, refitChip } from "../../server/reports/fits.ts";
import { figuresOfPackage, importReport } from "../../server/reports/reports.ts";
import { phoneReport } from "../fixtures/phone-report.ts";
import { openTestCore, testClock } from "./workbench-fixture.ts";

const starter = join(import.meta.dirname, "../../experiments/starter/model");
let core: Core;
let row: Package;
let profile: PackageProfile;
let hash: Awaited<ReturnType<typeof hashPackage>>;
let path: string;

beforeAll(async () => {
  const clock = testClock();
  core = await openTestCore("embedded", clock);
  const folder = join(await mkdtemp(join(tmpdir(), "espalier-fits-")), "package");
  const engine = await createOnnxRuntimeEngine({ threads: 1 });
  const models = modelSession(engine, async () => starter);
  const sizes = { contexts: [64, 128], prefill: [16], checkTokens: 16 };
  const config = exportConfig.parse({ model: "starter", out: folder, name: "Starter", ...sizes });
  await runExperiment(exportExperiment, config, { engine, models, store: memoryStore(), clock });
  await models.close();
  row = await registerPackage(core, folder, { modelId: "starter", runId: "run_test" });
  path = join(folder, "Starter.mlpackage");
  hash = await hashPackage(path);
  profile = profileProgram((await readPackage(path)).program, "cpuAndNeuralEngine");
}, 120_000);
afterAll(() => core.close());

const planted: CostParameters = { ...publishedParameters, callMs: 0.9, handOverMs: 0.4 };
const phone = (given: Partial<Parameters<typeof phoneReport>[0]> = {}) =>
  phoneReport({ package: { name: "Starter", ...hash }, profile, parameters: planted, ...given });
const speedOf = async (chip: string): Promise<number> => {
  const { devices } = await modelledPackage(core, row);
  return devices.find((d) => d.device === chip)?.decode[0]?.tokensPerSecond ?? 0;
};

test("a profile models what the whole program does", async () => {
  const whole = estimateProgram((await readPackage(path)).program, { weightBytes: 1 });
  expect((await modelledPackage(core, row)).devices.map(({ basis: _basis, ...d }) => d)).toEqual(whole.devices);
  // It is kept, and opened once.
  expect(await core.db.select().from(packageProfiles)).toHaveLength(1);
});

test("a chip is known by the name a probe gives it", () => {
  expect(["A17 Pro", "A18", "Apple M3 Max", "M4"].map((c) => deviceOfChip(c)?.id)).toEqual([
    "a17-pro",
    "a18",
    "m3",
    "m4",
  ]);
  expect([deviceOfChip("A15"), deviceOfChip(null), deviceOfChip("onnxruntime-node 1.30")]).toEqual([
    undefined,
    undefined,
    undefined,
  ]);
});

test("there is nothing to fit to before a phone reported, nor after a simulated one, a Debug build or a failed case", async () => {
  await expect(refitChip(core, "a17-pro")).rejects.toMatchObject({ code: "input/invalid", message: /none came/ });
  await expect(refitChip(core, "a16")).rejects.toMatchObject({ message: /knows no chip a16/ });
  const real = phone();
  const simulated = { ...real, device: { ...real.device, kind: "simulated" as const, identifier: "simulated" } };
  await importReport(core, JSON.stringify(simulated));
  expect(await listChips(core)).toEqual([]);
  await importReport(core, JSON.stringify({ ...real, tools: { ...real.tools, configuration: "debug" } }));
  await importReport(core, JSON.stringify(phone({ failsOn: "cpuAndNeuralEngine" })));
  const [chip] = await listChips(core);
  expect(chip?.calls).toBe(0);
  expect(chip?.unused.map((u) => u.why).sort()).toEqual([
    "a Debug build",
    "a simulated phone",
    "its golden vectors failed",
  ]);
  await expect(refitChip(core, "a17-pro")).rejects.toMatchObject({ message: /to fit to: .*a Debug build/ });
  const [iphone] = (await listDevices(core)).filter((d) => d.kind === "iphone");
  expect(iphone?.costChip?.id).toBe("a17-pro");
  const failed = iphone?.reports.flatMap((r) => r.runs).filter((r) => r.failedCases.length > 0);
  expect(failed?.map((r) => [r.computeUnits, r.passed])).toEqual([["cpuAndNeuralEngine", 0]]);
});

test("a report moves the model of its chip to what was measured, until it is taken back", async () => {
  const before = await speedOf("a17-pro");
  const [other] = [await speedOf("a18")];
  await importReport(core, JSON.stringify(phone()));
  expect(await speedOf("a17-pro")).toBe(before);
  const fit = await refitChip(core, "a17-pro");
  expect(fit.points.length).toBe(profile.functions.length);
  expect(fit.publishedFactor).toBeGreaterThan(1.5);
  expect(fit.factor).toBeLessThan(1.05);
  // The parameter behind most of the time is found; what no call depends on stays where it was.
  expect(fit.parameters.callMs / planted.callMs).toBeCloseTo(1, 1);
  expect(fit.parameters.gpuEfficiency).toBeCloseTo(publishedParameters.gpuEfficiency, 9);
  const measured = fit.points.find((p) => p.role === "decode" && p.context === 64)?.measuredMs ?? 0;
  expect((await speedOf("a17-pro")) / (1000 / measured)).toBeCloseTo(1, 1);
  expect(await speedOf("a18")).toBe(other);
  const { devices } = await modelledPackage(core, row);
  expect(devices.map((d) => d.basis.kind).slice(0, 2)).toEqual(["refitted", "published"]);
  expect((await listChips(core))[0]).toMatchObject({ calls: fit.points.length, isBehind: false });

  await importReport(core, JSON.stringify(phone({ hostMs: 0.5 })));
  expect((await listChips(core))[0]).toMatchObject({ calls: 2 * fit.points.length, isBehind: true });
  await forgetFit(core, "a17-pro");
  expect(await speedOf("a17-pro")).toBe(before);
});

test("the trade-off finds measured speeds by model, with simulated and failed ones told apart", async () => {
  const [speeds] = await packageSpeeds(core);
  expect(speeds).toMatchObject({ modelId: "starter", packageId: row.id, ready: true });
  expect(speeds?.modelled[0]).toMatchObject({ chip: "a17-pro", basis: "published" });
  const figures = (speeds?.measured ?? []).map((m) => [m.device, m.computeUnits, m.replacesModelled]);
  expect(figures).toContainEqual(["iPhone16,1", "cpuAndNeuralEngine", true]);
  expect(figures).toContainEqual(["simulated", "cpuAndNeuralEngine", false]);
});

test("a point of the trade-off has the speed a phone measured, and other points are modelled for that phone's chip", async () => {
  const figures = await figuresOfPackage(core, row);
  const chip = chipOf([figures, []]);
  expect(chip.id).toBe("a17-pro");
  const speed = reportedSpeed(figures, chip, 256);
  const measured = figures.find((f) => f.replacesModelled && f.computeUnits === "cpuAndNeuralEngine");
  // The larger of two contexts is nearer to 256.
  const own = measured?.decode.find((d) => d.context === 128)?.perToken.median ?? 0;
  expect(speed).toEqual({
    chip: chip.id,
    device: chip.name,
    context: 128,
    tokensPerSecond: 1000 / own,
    kind: "reported",
  });
  const simulated = figures.filter((f) => !f.replacesModelled);
  expect(simulated.length).toBeGreaterThan(0);
  expect(reportedSpeed(simulated, chip, 256)).toBeNull();
  expect(chipOf([simulated]).id).toBe("a17-pro");
  const elsewhere = figures.map((f) => ({ ...f, chip: "A18 Pro" }));
  expect(chipOf([elsewhere, []]).id).toBe("a18-pro");
  expect(reportedSpeed(elsewhere, chip, 256)).toBeNull();
});

test("placement: every cell modelled, reported beside it, and what differs named", async () => {
  const [alone] = await placementOf(core, row, {});
  expect([alone?.reported, alone?.differing]).toEqual([0, 0]);
  const decode = profile.functions.find((f) => f.function === alone?.function);
  const moved = decode?.operations.find((o) => o.row === "cache" && o.layer === 3)?.output ?? "";
  const { report } = await importReport(core, JSON.stringify(phone({ onCpu: [moved], hostMs: 0.3 })));
  const placed = await placementOf(core, row, { report: report.id, units: "cpuAndNeuralEngine" });
  const own = placed.find((f) => f.function === decode?.function);
  const cells = own?.rows.flatMap((r) => r.cells.map((c) => ({ row: r.row, ...c }))) ?? [];
  expect(own?.reported).toBe(cells.length);
  const differing = cells.filter((c) => c.differing.length > 0);
  expect(differing.map((c) => [c.row, c.layer, c.modelled, c.reported])).toEqual([["cache", 3, "ANE", "CPU"]]);
  expect(differing[0]?.differing.map((d) => d.output)).toEqual([moved]);
});
