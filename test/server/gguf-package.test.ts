/** A GGUF file among the packages of a workbench: listed with its card and contents, without speeds that nobody modelled. */
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { parityLines } from "../../app/packages/card-lines.ts";
import { memoryStore, runExperiment } from "../../experiments/definition.ts";
import { cardSchema } from "../../experiments/kinds/export/card.ts";
import { exportConfig } from "../../experiments/kinds/export/config.ts";
import { exportExperiment } from "../../experiments/kinds/export/export.ts";
import { modelSession } from "../../experiments/model-session.ts";
import { createOnnxRuntimeEngine } from "../../lib/engines/onnxruntime/onnxruntime-engine.ts";
import { modelledPackage, packageSpeeds, placementOf } from "../../server/packages/modelled.ts";
import { listPackages, packageFolder, registerPackage } from "../../server/packages/packages.ts";
import { listReports } from "../../server/reports/reports.ts";
import { temporaryFolder } from "../fixtures/tiny-model.ts";
import { openTestCore, testClock } from "./workbench-fixture.ts";

const clock = testClock();
const core = await openTestCore("embedded", clock);
afterAll(() => core.close());

test("it is kept, listed and served like any package, and modelled for no device", async () => {
  const starter = join(import.meta.dirname, "../../experiments/starter/model");
  const engine = await createOnnxRuntimeEngine({ threads: 1 });
  const models = modelSession(engine, async () => starter);
  const folder = join(await temporaryFolder(), "package");
  const config = exportConfig.parse({ model: "starter", to: "gguf", out: folder, name: "Starter", checkTokens: 4 });
  await runExperiment(exportExperiment, config, { engine, models, store: memoryStore(), clock });
  const row = await registerPackage(core, folder, { modelId: "starter", runId: "run_gguf" });
  expect(row).toMatchObject({ name: "Starter", ready: true, packageSha256: expect.stringMatching(/^[0-9a-f]{64}$/) });
  expect(row.contents).toMatchObject({ opset: "GGUF", functions: [] });
  const listed = await listPackages(core);
  expect(listed.map((p) => p.id)).toEqual(["pkg_gguf"]);
  const names = listed.flatMap((p) => parityLines(cardSchema.parse(p.card), 0).map((l) => l.name));
  expect(names).toContain("Read back, bit for bit");
  // The file has no functions that could disagree.
  expect(names.filter((n) => n.startsWith("Prefill"))).toEqual([]);
  expect(await modelledPackage(core, row)).toEqual({ units: "all", devices: [] });
  expect(await placementOf(core, row, {})).toEqual([]);
  expect(await packageSpeeds(core)).toMatchObject([{ packageId: "pkg_gguf", modelled: [], measured: [] }]);
  expect(await listReports(core, row.id)).toEqual([]);
  expect(await packageFolder(core, row.id)).toContain("package");
}, 60_000);
