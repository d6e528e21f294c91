import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { writeSyntheticCheckpoint } from "../../../bench/synthetic-checkpoint.ts";
import { createOnnxRuntimeEngine } from "../../../lib/engines/onnxruntime/onnxruntime-engine.ts";
import { parseUnit, type UnitKind, unitKinds } from "../../../lib/units.ts";
import { temporaryFolder, tinyConfigs } from "../../../test/fixtures/tiny-model.ts";
import { memoryStore, runExperiment } from "../../definition.ts";
import { modelSession } from "../../model-session.ts";
import { heldOutDocuments } from "../../starter/corpus.ts";
import { metricIds, metrics, metricsFor } from "./metrics.ts";
import { sensitivity, sensitivityConfig } from "./sensitivity.ts";

const engine = await createOnnxRuntimeEngine({ threads: 1 });
const folder = await temporaryFolder();
const [model, text] = [join(folder, "model"), join(folder, "text.txt")];
await writeSyntheticCheckpoint(model, { ...tinyConfigs.llama, vocab_size: 384 });
await writeFile(text, heldOutDocuments("calibrate", 1).join(""));

test("every metric measures the kinds of units it is defined for, and no other", async () => {
  const config = sensitivityConfig.parse({
    model,
    text,
    context: 24,
    limit: 2,
    units: [...unitKinds],
    metric: [...metricIds],
    neuronBlock: 16,
  });
  const { units } = await runExperiment(sensitivity, config, {
    engine,
    models: modelSession(engine, async (reference) => reference),
    store: memoryStore(),
    clock: { nowMs: () => 0 },
  });
  for (const metric of metrics) {
    const own = units.filter((u) => u.metric === metric.id);
    const kinds = new Set(own.map((u) => parseUnit(u.unit).kind));
    expect([...kinds].sort()).toEqual([...metric.units].sort());
    expect(own.some((u) => u.value !== 0)).toBe(true);
    for (const kind of kinds) expect(metricsFor(kind)).toContain(metric.id);
  }
  // Sizes of activations say nothing of layers, and how far a layer turns the stream nothing of its parts.
  expect(metricsFor("layers")).toEqual(["leave-one-out", "taylor", "fisher", "block-influence"]);
  for (const kind of ["heads", "neurons"] satisfies UnitKind[])
    expect(metricsFor(kind)).toEqual(["leave-one-out", "taylor", "fisher", "activation", "wanda"]);
});
