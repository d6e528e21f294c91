/** MLX's own codes, scales and biases of random rows (test/oracles/make_mlx.py): read as it reads them, packed as it packs them. */
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { openSafetensors } from "../safetensors.ts";
import { decodeGroups, mlxBits, packCodes, quantizeGroups, unpackCodes } from "./affine-groups.ts";

const GROUP = 32;
const golden = await openSafetensors(join(import.meta.dirname, "../../../test/golden/mlx/groups.safetensors"));
afterAll(() => golden.close());
const rows = await golden.readFloat32("rows"); // (3, 64)

test.each(mlxBits)("%i bits of MLX: the same values, and the same bytes when packed again", async (bits) => {
  const packed = await golden.readBytes(`${bits}.codes`);
  const [scales, biases] = [await golden.readFloat32(`${bits}.scales`), await golden.readFloat32(`${bits}.biases`)];
  const codes = unpackCodes(packed, bits);
  expect(Math.max(...codes)).toBe(2 ** bits - 1);
  const expected = await golden.readFloat32(`${bits}.values`);
  for (const [i, v] of decodeGroups({ codes, scales, biases }, GROUP).entries())
    expect(Math.abs(v - (expected[i] ?? Number.NaN))).toBeLessThanOrEqual(1e-6 * Math.abs(v) + 1e-7);
  expect(packCodes(codes, bits)).toEqual(packed);
});

/** Σ a (x − w)², the error that fitting makes small: a = √(σ² + x²), σ² = 2 mean x² of the group. */
function weightedError(decoded: Float32Array): number {
  let total = 0;
  for (let from = 0; from < rows.length; from += GROUP) {
    const group = rows.subarray(from, from + GROUP);
    const variance = (2 * group.reduce((n, x) => n + x * x, 0)) / GROUP;
    for (const [i, x] of group.entries())
      total += Math.sqrt(variance + x * x) * (x - (decoded[from + i] ?? Number.NaN)) ** 2;
  }
  return total;
}

test.each(mlxBits)("%i bits fitted here lose no more than those of MLX", async (bits) => {
  const own = decodeGroups(quantizeGroups(rows, { bits, groupSize: GROUP }, null), GROUP);
  expect(weightedError(own)).toBeLessThanOrEqual(weightedError(await golden.readFloat32(`${bits}.values`)));
});
