import { expect, test } from "vitest";
import { createRng } from "../../random.ts";
import { inTurns } from "./steps.ts";
import { storeAs, storeSteps, type Width } from "./width.ts";

const granularity = { rowsPerTable: 16, groupSize: 32, asymmetric: false, keepExtremes: false };
const shape = [256, 512];
const rng = createRng(1, "steps");
const values = Float32Array.from({ length: 256 * 512 }, () => rng.normal());

test.each(["palette4", "affine4"] as Width[])(
  "%s in turns is the same weight, and the thread is free in between",
  async (width) => {
    let turns = 0;
    const count = setInterval(() => turns++, 0);
    const found = await inTurns(storeSteps(width, values, shape, granularity));
    clearInterval(count);
    expect(found).toEqual(storeAs(width, values, shape, granularity));
    expect(turns).toBeGreaterThan(1);
  },
);

test("a cancellation is seen between two steps", async () => {
  const cancel = new AbortController();
  setImmediate(() => cancel.abort());
  await expect(inTurns(storeSteps("palette4", values, shape, granularity), cancel.signal)).rejects.toThrow(/cancelled/);
});
