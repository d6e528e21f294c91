import { expect, test } from "vitest";
import { labelPlaces } from "./label-places.ts";

const boxOf = (p: { x: number; y: number; anchor: string }, name: string) => {
  const width = 5.8 * name.length;
  const left = p.anchor === "start" ? p.x : p.x - width;
  return { left, right: left + width, top: p.y - 9, bottom: p.y + 2 };
};

test("names of crowded points lie neither on each other nor outside", () => {
  const points = Array.from({ length: 8 }, (_, i) => ({ x: 200 + 9 * i, y: 100 + (i % 3), name: `mixed-${i}` }));
  const boxes = labelPlaces(points, 40, 600).map((p, i) => boxOf(p, points[i]?.name ?? ""));
  for (const [i, a] of boxes.entries()) {
    expect(a.left).toBeGreaterThanOrEqual(40);
    expect(a.right).toBeLessThanOrEqual(600);
    for (const b of boxes.slice(i + 1))
      expect(a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top).toBe(true);
  }
});

test("one alone stands above and to the right; at the edge to the left", () => {
  expect(labelPlaces([{ x: 100, y: 50, name: "base" }], 0, 400)).toEqual([{ x: 109, y: 44, anchor: "start" }]);
  expect(labelPlaces([{ x: 390, y: 50, name: "base" }], 0, 400)).toEqual([{ x: 381, y: 44, anchor: "end" }]);
});
