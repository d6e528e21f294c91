import { expect, test } from "vitest";
import { measuredFigures, neuralEngineShare } from "./measured-figures.ts";
import { parseReport, type Report, type ReportRun } from "./report.ts";
import { functionTimings } from "./timings.ts";

const times = { count: 3, mean: 2, median: 2, p5: 1, p95: 3 };
const passed = {
  case: "decode",
  positions: 4,
  maxLogitDifference: 0.01,
  tolerance: 0.1,
  topAgreement: 1,
  meanKl: 0,
  greedyTokens: 4,
  greedyIdentical: true,
  greedyFirstDifference: null,
  marginAtDifference: null,
  nonFinite: 0,
  passed: true,
};
const run = (given: Partial<ReportRun> = {}): ReportRun => ({
  computeUnits: "cpuAndNeuralEngine",
  loads: [{ function: "decode", compileMs: 10, firstMs: 900, warmMs: 50 }],
  parity: [passed],
  decode: [{ function: "decode", context: 64, filled: 8, perToken: times, hostPerToken: { ...times, median: 0.5 } }],
  prefill: [{ function: "prefill", context: 64, width: 16, perCall: times, tokensPerSecond: 8000 }],
  sustained: null,
  memory: null,
  placement: [],
  failures: [],
  ...given,
});
const report = (given: Partial<Report> = {}): Report => ({
  format: "espalier-report/1",
  package: { name: "P", sha256: "a".repeat(64), weightsSha256: null, sizeBytes: 1 },
  device: {
    kind: "iphone",
    identifier: "iPhone16,1",
    chip: "A17 Pro",
    system: "iOS",
    systemVersion: "18.6",
    systemBuild: null,
    memoryBytes: 8e9,
    lowPowerMode: false,
  },
  tools: { probe: "probe 1", configuration: "release", compiler: null, sdk: null },
  startedAt: "2026-01-01T00:00:00Z",
  durationSeconds: 1,
  runs: [run()],
  thermal: [],
  battery: null,
  notMeasured: [],
  ...given,
});
const received = (body: Report, id = "r1", receivedAtMs = 1) => ({ id, receivedAtMs, body });

test("what is absent and what is null mean the same, and a report survives the way through JSON", () => {
  const whole = report();
  const { battery: _battery, ...withoutNull } = whole;
  expect(parseReport(JSON.stringify(withoutNull))).toEqual(whole);
});

test("an error names the first field at fault", () => {
  const wrong = report({ runs: [run({ decode: [{ ...run().decode[0], context: -1 } as never] })] });
  expect(() => parseReport(JSON.stringify(wrong))).toThrow(/runs\.0\.decode\.0\.context/);
});

test("the newest report of a device and unit counts, whatever order they come in", () => {
  const old = received(report(), "old", 1);
  const young = received(report({ runs: [run({ memory: memory(7) })] }), "young", 2);
  for (const order of [
    [old, young],
    [young, old],
  ])
    expect(measuredFigures(order)).toMatchObject([{ reportId: "young", peakBytes: 7, replacesModelled: true }]);
});
const memory = (peakBytes: number) => ({ beforeBytes: 1, loadedBytes: 2, peakBytes, availableBytes: null });

test.each<[string, Partial<Report>]>([
  ["failed parity", { runs: [run({ parity: [{ ...passed, passed: false }] })] }],
  ["a failed stage", { runs: [run({ failures: [{ stage: "load", message: "no" }] })] }],
  ["no parity at all", { runs: [run({ parity: [] })] }],
  ["a debug build", { tools: { ...report().tools, configuration: "debug" } }],
  ["no phone", { device: { ...report().device, kind: "simulated" } }],
])("figures stand for nothing with %s", (_name, given) => {
  expect(measuredFigures([received(report(given))])[0]?.replacesModelled).toBe(false);
  expect(functionTimings([received(report(given))])).toEqual([]);
});

test("timings for the cost model leave the host's part out", () => {
  expect(functionTimings([received(report())])).toMatchObject([
    { function: "decode", role: "decode", width: 1, context: 64, filled: 8, callMs: 1.5, chip: "A17 Pro" },
    { function: "prefill", role: "prefill", width: 16, filled: null, callMs: 2 },
  ]);
  expect(functionTimings([received(report({ device: { ...report().device, lowPowerMode: true } }))])).toEqual([]);
});

test("the share on the Neural Engine is by cost, and constants do not count", () => {
  const operation = (preferred: "neuralEngine" | "cpu" | "unknown", cost: number | null) => ({
    output: "x",
    operator: "conv",
    preferred,
    supported: [preferred],
    cost,
  });
  const operations = [operation("neuralEngine", 0.6), operation("cpu", 0.2), operation("unknown", null)];
  expect(neuralEngineShare([{ function: "decode", operations }])).toBeCloseTo(0.75, 12);
  expect(neuralEngineShare([{ function: "decode", operations: [operation("unknown", null)] }])).toBeNull();
});
