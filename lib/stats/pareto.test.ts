import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { paretoFront } from "./pareto.ts";

const points = fc.array(
  fc.record({ sizeBytes: fc.integer({ min: 1, max: 12 }), loss: fc.integer({ min: 0, max: 12 }) }),
  { maxLength: 30 },
);
type Point = { sizeBytes: number; loss: number };
const beats = (q: Point, p: Point): boolean =>
  q.sizeBytes <= p.sizeBytes && q.loss <= p.loss && (q.sizeBytes < p.sizeBytes || q.loss < p.loss);
const key = (p: Point): string => `${p.sizeBytes} ${p.loss}`;

describe("Pareto front", () => {
  it("equals the brute-force definition", () => {
    fc.assert(
      fc.property(points, (all) => {
        const expected = new Set(all.filter((p) => !all.some((q) => beats(q, p))).map(key));
        const front = paretoFront(all);
        expect(new Set(front.map(key))).toEqual(expected);
        expect(front.length).toBe(expected.size);
        for (let i = 1; i < front.length; i++) {
          expect(front[i]!.sizeBytes).toBeGreaterThan(front[i - 1]!.sizeBytes);
          expect(front[i]!.loss).toBeLessThan(front[i - 1]!.loss);
        }
      }),
    );
  });

  it("refuses a point without a finite loss", () => {
    expect(() => paretoFront([{ sizeBytes: 1, loss: Number.NaN }])).toThrow(/point 0/);
  });
});
