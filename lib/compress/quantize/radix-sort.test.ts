import fc from "fast-check";
import { expect, test } from "vitest";
import { sortedOrder, sortedValues } from "./radix-sort.ts";

const numbers = fc.oneof(
  fc.array(fc.float({ noNaN: true })),
  fc.array(fc.integer({ min: -3, max: 3 })), // many equal
  fc.array(fc.float({ noNaN: true }), { minLength: 300, maxLength: 600 }),
);

test("values and order are those of the language's own stable sort", () => {
  fc.assert(
    fc.property(numbers, (list) => {
      // In a larger buffer, so that an offset is not forgotten.
      const values = new Float32Array([0, ...list]).subarray(1);
      const before = values.slice();
      expect([...sortedValues(values)]).toEqual([...values.slice().sort()]);
      const order = (a: number, b: number): number => {
        const [x, y] = [values[a] as number, values[b] as number];
        return x < y ? -1 : x > y ? 1 : Object.is(x, y) ? 0 : Object.is(x, -0) ? -1 : 1;
      };
      expect([...sortedOrder(values)]).toEqual(Array.from(values, (_, i) => i).sort(order));
      expect(values).toEqual(before);
    }),
    { numRuns: 300 },
  );
});
