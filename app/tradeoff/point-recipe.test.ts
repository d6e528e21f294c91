import { expect, test } from "vitest";
import type { MadeOf } from "../../experiments/kinds/tradeoff/made-of.ts";
import type { Point } from "./measures.ts";
import { countLayers, differences, layersOf, nameOf, recipeOf, yaml } from "./point-recipe.ts";

const tensor = (name: string, bits: number) => ({
  tensor: name,
  kind: "palette",
  bits,
  bitsPerWeight: bits,
  sizeBytes: 8,
});
const base: MadeOf = {
  layers: [0, 1, 2].map((layer) => ({ layer, heads: [0, 1, 2, 3], headsOfBase: 4, neurons: 10, neuronsOfBase: 10 })),
  tensors: [],
};
/** Layer 1 is gone, layer 2 has lost heads 1 and 2: what was L2 is L1 of the model at hand. */
const made: MadeOf = {
  layers: [
    { layer: 0, heads: [0, 1, 2, 3], headsOfBase: 4, neurons: 10, neuronsOfBase: 10 },
    { layer: 2, heads: [0, 3], headsOfBase: 4, neurons: 8, neuronsOfBase: 10 },
  ],
  tensors: [tensor("embedding", 3), tensor("L0.query", 4), tensor("L1.query", 2), tensor("L1.down", 4)],
};
const step = (kind: string, config: Record<string, unknown> = {}) => ({
  runId: `run_${kind}`,
  kind,
  name: kind,
  seconds: 1,
  config,
});
const point = (more: Partial<Point>): Point => ({
  model: "m",
  hash: "h",
  isBase: false,
  sizeBytes: 100,
  parameters: 10,
  bitsPerWeight: 3,
  kl: { mean: 0.1, standardError: 0.01 },
  agreement: { mean: 0.9, standardError: 0.01 },
  nllPerToken: 1,
  perplexity: 3,
  accuracy: null,
  made,
  paired: null,
  package: null,
  madeBy: [step("prune"), step("distill"), step("quantize", { scheme: "palette" })],
  speed: null,
  reported: [],
  measuredBy: { runId: "run_e", kind: "evaluate", seconds: 1 },
  reference: null,
  ...more,
});

test("layers are those of the base, tensors those of the model at hand", () => {
  const layers = layersOf(made, base);
  expect(layers?.map((l) => l.isGone)).toEqual([false, true, false]);
  expect(layers?.[2]?.heads).toEqual([true, false, false, true]);
  expect(layers?.[2]?.bits).toEqual([
    { role: "query", bits: 2 },
    { role: "down", bits: 4 },
  ]);
  expect(countLayers(layers ?? [])).toEqual({ heads: [6, 12], neurons: [18, 30], layers: [2, 3] });
  expect(layersOf(null, base)).toBeNull();
});

test("a point is named by its steps, with how much and how fine", () => {
  expect(nameOf(point({}), base).replaceAll("\u2009", " ")).toBe(
    "prune 50 % heads, 40 % neurons → distill → mixed 3.00 bits",
  );
  expect(nameOf(point({ madeBy: [step("quantize", { scheme: "affine", bits: 8 })], made: null }), null)).toBe("int8");
  expect(nameOf(point({ isBase: true }), base)).toBe("fp16 base");
});

test("two points differ in units, named one by one", () => {
  const other = point({
    made: {
      ...made,
      tensors: [tensor("embedding", 4), tensor("L0.query", 4), tensor("L1.query", 2), tensor("L1.down", 3)],
    },
  });
  expect(differences(point({}), other, base)).toEqual([
    "L2.down: 4-bit here, 3-bit there",
    "embedding: 3-bit here, 4-bit there",
  ]);
  expect(differences(point({}), point({ made: null }), base)).toBeNull();
});

test("the recipe reads as YAML", () => {
  const text = yaml(
    recipeOf(point({ madeBy: [step("quantize", { scheme: "palette", bits: 2, separator: "<|end|>" })] }), {
      id: "starter",
      made: base,
    }),
  ).trimStart();
  expect(text).toContain(
    "base: starter\nmodel: m\nsizeBytes: 100\nsteps:\n  - kind: quantize\n    run: run_quantize\n    config:\n      scheme: palette\n      bits: 2\n",
  );
  expect(text).toContain('separator: "<|end|>"');
  expect(text).toContain("dropped: [L2.H1, L2.H2]");
  expect(yaml({ a: "yes", b: [], c: {}, d: null }).trimStart()).toBe('a: "yes"\nb: []\nc: {}\nd: null');
});
