import { expect, test } from "vitest";
import type { Importance } from "../../server/what-if/measured-importance.ts";
import { agreement, measured, measuredCount } from "./unit-worth.ts";

test("units that are not measured are estimated, marked, as uncertain as estimates were where both are known", () => {
  const of = (metric: "taylor" | "leave-one-out", units: Record<string, number>, runId: string): Importance => ({
    runId,
    name: runId,
    state: "succeeded",
    text: "t",
    kinds: ["heads"],
    metrics: [metric],
    protocol: "",
    sequences: 8,
    context: null,
    units: Object.entries(units).map(([unit, value]) => ({
      unit,
      metric,
      value,
      standardError: 0.001,
      ...(metric === "taylor" ? { predicted: value, predictedError: 0.003 } : {}),
    })),
    agreement: null,
    agreements: [],
    progress: null,
  });
  const taylor = of("taylor", { "L0.H0": 0.01, "L0.H1": 0.02, "L0.H2": 0.03 }, "a");
  const few = of("leave-one-out", { "L0.H1": 0.024 }, "b");
  const all = of("leave-one-out", { "L0.H0": 0.1, "L0.H1": 0.2, "L0.H2": 0.3 }, "c");
  const { worth, source } = measured([few, taylor], "leave-one-out", "heads", "loss");
  expect(worth.get("L0.H1")).toEqual({ value: 0.024, standardError: 0.001 });
  expect(worth.get("L0.H2")).toEqual({ value: 0.03, standardError: expect.closeTo(0.005, 9), isEstimate: true });
  expect(source?.runId).toBe("b");
  expect(measuredCount(worth)).toBe(1);
  expect(agreement(worth, measured([taylor], "taylor", "heads", "loss").worth)).toBeNull();
  // A later run of a few units does not hide all of them.
  expect(measured([few, all, taylor], "leave-one-out", "heads", "loss").worth.get("L0.H1")?.value).toBe(0.2);
});
