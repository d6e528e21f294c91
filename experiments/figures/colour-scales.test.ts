import { expect, test } from "vitest";
import { costColour, divergingColour, type Rgb, sequentialColour } from "./colour-scales.ts";

const channel = (c: number): number => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
const luminance = ([r, g, b]: Rgb): number => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);

test.each(["light", "dark"] as const)("text on every step of the %s scales has a contrast of at least 4.5", (theme) => {
  for (let v = -1; v <= 1; v += 0.01)
    for (const { fill, ink } of [
      divergingColour(v, 1, theme),
      costColour(10 ** (2 * v), 0.01, 100, theme),
      sequentialColour((v + 1) / 2, theme),
    ]) {
      const l = luminance(fill);
      expect(ink === "black" ? (l + 0.05) / 0.05 : 1.05 / (l + 0.05)).toBeGreaterThanOrEqual(4.5);
    }
});

test("zero is neutral and both ends are the strongest", () => {
  expect(divergingColour(0, 1).fill).toEqual([243, 243, 240]);
  expect(divergingColour(1, 1).fill).toEqual([92, 29, 2]);
  expect(divergingColour(-2, 1).fill).toEqual([5, 59, 58]);
  expect(costColour(0.001, 0.01, 100).fill).toEqual([243, 243, 240]);
  expect(sequentialColour(1).fill).toEqual([12, 47, 92]);
});

test("a step between two stops is their mean in OKLab, as published", () => {
  // https://bottosson.github.io/posts/oklab: white is L = 1, a = b = 0; greys stay grey.
  const { fill } = sequentialColour(0.5);
  expect(fill[0]).toBeLessThan(fill[2]);
  expect(divergingColour(0.04, 1).fill).toEqual([251, 220, 184]);
});
