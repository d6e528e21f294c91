import { expect, test } from "vitest";
import { row } from "../../test/fixtures/run-row.ts";
import { brushed, brushesText, candidateAxes, chosenAxes, parseBrushes, position, valueAt } from "./parallel-axes.ts";

const runs = [1e-4, 1e-3, 1e-2].map((learningRate, i) =>
  row({
    id: `run_${i}`,
    config: {
      learningRate,
      scheme: i === 0 ? "affine" : "palette",
      model: "starter",
      ...(i === 2 ? {} : { bits: i + 2 }),
    },
    numbers: { KL: 0.1 + i / 10, "KL ±": 0.01 },
  }),
);

test("axes are the fields that vary; a wide positive one is logarithmic, words are ordinal, the value comes last", () => {
  const axes = candidateAxes(runs, "KL");
  expect(axes.map((a) => [a.id, a.scale])).toEqual([
    ["config.learningRate", "logarithmic"],
    ["config.scheme", "ordinal"],
    ["config.bits", "linear"],
    ["numbers.KL", "linear"],
  ]);
  expect(axes[2]?.values).toEqual([2, 3, null]);
  expect(chosenAxes(axes, "KL").at(-1)?.id).toBe("numbers.KL");
  const [rate] = axes;
  if (!rate) throw new Error("no axis");
  expect(position(rate, 1e-3)).toBeCloseTo(0.5, 9);
  expect(valueAt(rate, 0.5)).toBeCloseTo(1e-3, 12);
});

test("however much varies, six axes are chosen and the value is the last", () => {
  const many = [0, 1].map((i) =>
    row({
      id: `run_${i}`,
      config: Object.fromEntries(["a", "b", "c", "d"].map((k) => [k, i])),
      numbers: { KL: i, agreement: i, accuracy: i, MB: i, "bits per weight": i },
    }),
  );
  const chosen = chosenAxes(candidateAxes(many, "KL"), "KL").map((a) => a.id);
  expect(chosen).toHaveLength(6);
  expect(chosen.at(-1)).toBe("numbers.KL");
});

test("brushes leave what lies in all of them, and none without a value", () => {
  const axes = candidateAxes(runs, "KL");
  const of = (text: string) => [...brushed(axes, parseBrushes(text))];
  expect(of("")).toEqual([0, 1, 2]);
  expect(of("numbers.KL:0.15..0.35")).toEqual([1, 2]);
  expect(of("numbers.KL:0.15..0.35;config.bits:2..4")).toEqual([1]);
});

test("brushes survive an address", () => {
  const text = "numbers.KL:0.01..0.05;config.learningRate:0.0001..0.001;numbers.mean-shift:-2..-1";
  expect(brushesText(parseBrushes(text))).toBe(text);
  expect(parseBrushes("nonsense;a:1..x").size).toBe(0);
});
