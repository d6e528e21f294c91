import { expect, test } from "vitest";
import { smallAnatomy } from "../../test/fixtures/small-anatomy.ts";
import { gridLayout } from "./grid-layout.ts";
import { type Anatomy, unitGrid } from "./grid-units.ts";

const shaped = (layers: number, heads: number, perGroup: number): Anatomy => ({
  ...smallAnatomy(layers),
  layers: smallAnatomy(layers).layers.map((l) => ({
    ...l,
    queryHeads: heads,
    kvGroups: heads / perGroup,
    headToGroup: Array.from({ length: heads }, (_, h) => Math.floor(h / perGroup)),
  })),
});

test.each([
  [8, 8, 4, 664, "numbers"],
  [26, 16, 4, 664, "marks"],
  [80, 64, 8, 664, "dense"],
] as const)("%i layers of %i heads are drawn as %s", (layers, heads, perGroup, width, mode) => {
  const grid = unitGrid(shaped(layers, heads, perGroup), "heads");
  const layout = gridLayout(grid, width);
  expect(layout.mode).toBe(mode);
  expect(layout.right).toBeLessThanOrEqual(width - 200);
  expect(layout.bottom).toBeLessThan(720);
  // Every cell is found by its middle, and no two overlap.
  for (const row of grid.rows)
    for (const u of row) {
      const [x, y] = [layout.x(u.layer, u.column), layout.y(u.layer)];
      expect(layout.at(x + layout.cellWidth / 2, y + layout.cellHeight / 2)).toEqual({
        layer: u.layer,
        column: u.column,
      });
      if (u.column > 0) expect(x).toBeGreaterThanOrEqual(layout.x(u.layer, u.column - 1) + layout.cellWidth);
    }
  expect(layout.at(2, layout.top + 2)).toBeNull();
  expect(layout.at(layout.left + 1, layout.bottom + 40)).toBeNull();
});
