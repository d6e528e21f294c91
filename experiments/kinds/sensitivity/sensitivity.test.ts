import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { createOnnxRuntimeEngine } from "../../../lib/engines/onnxruntime/onnxruntime-engine.ts";
import { writeFileAtomic } from "../../../lib/files/atomic.ts";
import { temporaryFolder } from "../../../test/fixtures/tiny-model.ts";
import { memoryStore, runExperiment } from "../../definition.ts";
import { modelSession } from "../../model-session.ts";
import { heldOutDocuments, SEPARATOR } from "../../starter/corpus.ts";
import type { UnitName } from "../../unit-name.ts";
import { unitsByName } from "./model-units.ts";
import { layerPieces, sensitivity, sensitivityConfig, unitsOf } from "./sensitivity.ts";

const engine = await createOnnxRuntimeEngine({ threads: 1 });
const models = modelSession(engine, async (r) => r);
afterAll(() => models.close());
const model = join(import.meta.dirname, "../../starter/model");
const text = join(await temporaryFolder(), "text.txt");
await writeFileAtomic(text, heldOutDocuments("calibrate", 3).join(SEPARATOR));
const { arch } = (await models.open(model)).weights;

const measure = async (more: Record<string, unknown>) => {
  const kept = memoryStore();
  const names: UnitName[] = [];
  const config = sensitivityConfig.parse({ model, text, separator: SEPARATOR, limit: 3, context: 48, ...more });
  const store = {
    get: kept.get,
    put: (name: UnitName, value: unknown) => {
      names.push(name);
      return kept.put(name, value);
    },
  };
  const summary = await runExperiment(sensitivity, config, { engine, models, store, clock: { nowMs: () => 0 } });
  return { summary, names };
};

test("named units are measured alone, at what they are worth among all", async () => {
  const only = ["L7.H3", "L6.H0", "L2.N0-31", "L5"];
  const { summary, names } = await measure({ only });
  expect(summary.units.map((u) => u.unit)).toEqual(only);
  expect(names).toHaveLength(1);
  const all = await measure({ units: ["heads"] });
  for (const name of ["L7.H3", "L6.H0"]) {
    const worth = (s: typeof summary) => s.units.find((u) => u.unit === name)?.value ?? Number.NaN;
    expect(worth(summary)).toBeCloseTo(worth(all.summary), 6);
  }
  for (const name of ["L8", "L0.H8", "L0.N380-390", "L1.G2", "nonsense"])
    await expect(measure({ only: [name] })).rejects.toMatchObject({ code: "prune/unknown-unit" });
});

test("refining measures the units next to the border by leave-one-out, and says Taylor of all", async () => {
  const { summary } = await measure({ refine: 6, metric: ["taylor"] });
  const of = (metric: string) => summary.units.filter((u) => u.metric === metric);
  expect(of("taylor")).toHaveLength(64);
  expect(of("leave-one-out")).toHaveLength(6);
  const worth = of("leave-one-out")[0];
  const alone = await measure({ only: [worth?.unit] });
  expect(alone.summary.units[0]?.value).toBeCloseTo(worth?.value ?? Number.NaN, 6);
  // Those far from the border are left alone: the dearest by Taylor is not among them.
  const dearest = [...of("taylor")].sort((a, b) => (b.predicted ?? 0) - (a.predicted ?? 0))[0];
  expect(of("leave-one-out").map((u) => u.unit)).not.toContain(dearest?.unit);
});

test("a large model is measured a few layers at a time, each layer once, and a small one at once", () => {
  const heads = unitsOf(arch, ["heads"]);
  expect(layerPieces(arch, heads, 2_000)).toBeNull();
  const pieces = layerPieces(arch, heads, 5e5) ?? [];
  expect(pieces.length).toBeGreaterThan(1);
  const layers = pieces.flatMap(([from, to]) => Array.from({ length: to - from }, (_, i) => from + i));
  expect(layers.sort((a, b) => a - b)).toEqual(arch.layers.map((_, l) => l));
  expect(pieces[0]?.[1]).toBe(arch.layers.length);
});

test("units by name are those that lists of units give", () => {
  const all = unitsOf(arch, ["heads", "groups", "neurons", "attention", "mlp", "layers"]);
  expect(
    unitsByName(
      arch,
      all.map((u) => u.name),
    ),
  ).toEqual(all);
});
