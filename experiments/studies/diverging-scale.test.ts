import { expect, test } from "vitest";
import { divergingColour, type Rgb } from "./diverging-scale.ts";

const channel = (c: number): number => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
const luminance = ([r, g, b]: Rgb): number => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);

test.each(["light", "dark"] as const)("text on every step of the %s scale has a contrast of at least 4.5", (theme) => {
  for (let v = -1; v <= 1; v += 0.01) {
    const { fill, ink } = divergingColour(v, 1, theme);
    const l = luminance(fill);
    expect(ink === "black" ? (l + 0.05) / 0.05 : 1.05 / (l + 0.05)).toBeGreaterThanOrEqual(4.5);
  }
});

test("zero is neutral and both ends are the strongest", () => {
  expect(divergingColour(0, 1).fill).toEqual([243, 243, 240]);
  expect(divergingColour(1, 1).fill).toEqual([92, 29, 2]);
  expect(divergingColour(-2, 1).fill).toEqual([5, 59, 58]);
});
