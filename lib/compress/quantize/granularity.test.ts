import fc from "fast-check";
import { expect, test } from "vitest";
import { createRng } from "../../random.ts";
import { type Granularity, granularityFor } from "./granularity.ts";
import { storeAs } from "./width.ts";

const wanted: Granularity = { rowsPerTable: 16, groupSize: 32, asymmetric: false, keepExtremes: false };

test("what divides is left as it is, without a note", () => {
  expect(granularityFor([64, 96], wanted)).toEqual({ granularity: wanted, note: null });
  const whole = { ...wanted, rowsPerTable: null, groupSize: null };
  expect(granularityFor([7, 5], whole)).toEqual({ granularity: whole, note: null });
});

test.each([
  [172, 8, 4],
  [172, 16, 43],
  [50257, 16, 29],
  [48, 32, 24],
  [173, 16, null],
  [6, 16, null],
] as const)("%i rows with tables of %i take %s", (rows, rowsPerTable, found) => {
  const { granularity, note } = granularityFor([rows, 64], { ...wanted, rowsPerTable }, "palette");
  expect(granularity.rowsPerTable).toBe(found);
  expect(note).toBe(`${rowsPerTable} rows a table do not divide ${rows} rows: ${found ?? rows} instead`);
});

test("columns take the nearest group; the note is about what the kind of weight has", () => {
  const shape = [172, 172];
  const both = granularityFor(shape, wanted);
  expect(both.granularity).toMatchObject({ rowsPerTable: 43, groupSize: 43 });
  expect(both.note).toMatch(/43 instead; groups of 32 do not divide 172 columns: 43 instead/);
  expect(granularityFor(shape, wanted, "affine").note).toBe("groups of 32 do not divide 172 columns: 43 instead");
});

test("every shape is stored without a refusal", () => {
  const size = fc.integer({ min: 1, max: 70 });
  fc.assert(
    fc.property(size, size, fc.constantFrom(1, 4, 8, 16, 32), (rows, columns, group) => {
      const values = Float32Array.from({ length: rows * columns }, () => rng.normal());
      const { granularity } = granularityFor([rows, columns], { ...wanted, rowsPerTable: group, groupSize: group });
      for (const width of ["palette4", "affine4"] as const)
        expect(storeAs(width, values, [rows, columns], granularity).shape).toEqual([rows, columns]);
    }),
    { numRuns: 60 },
  );
});

const rng = createRng(1, "granularity");
