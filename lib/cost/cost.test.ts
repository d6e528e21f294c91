import { expect, test } from "vitest";
import { denseWeight, engineProgram, paletteWeight, product } from "../../test/fixtures/neural-engine-program.ts";
import { rounded } from "../../test/fixtures/shipped-decoder.ts";
import { tinyConfigs, tinyModel } from "../../test/fixtures/tiny-model.ts";
import type { DecoderArchitecture } from "../decoder/architecture.ts";
import { architectureOf } from "../decoder/families/registry.ts";
import { neuralEngineProgram } from "../decoder/neural-engine/neural-engine-program.ts";
import { neuralEnginePlan } from "../decoder/neural-engine/plan.ts";
import { packageProgram } from "../decoder/plain-layout-program.ts";
import { weightList } from "../decoder/weights.ts";
import { EspalierError } from "../errors.ts";
import { attendedPositions, viewFunction } from "../mil/function-view.ts";
import type { MilFunction, Program, Value } from "../mil/program.ts";
import { createRng } from "../random.ts";
import type { CompressedWeight } from "../weights/weight.ts";
import { architectureWorkload, modelledTokensPerSecond } from "./architecture-workload.ts";
import { costPage } from "./cost-page.ts";
import { type Device, deviceById, devices } from "./devices.ts";
import { estimateProgram } from "./estimate.ts";
import { memoryUse } from "./memory.ts";
import { type CostParameters, callTime, parameterNames } from "./model.ts";
import { publishedFit, publishedParameters, startingParameters } from "./parameters.ts";
import { programWorkload } from "./program-workload.ts";
import { publishedFigures } from "./published.ts";
import { type Report, refit } from "./refit.ts";
import { speedRange } from "./speed-range.ts";
import { emptyWorkload, flops, type Workload, weightBytes } from "./workload.ts";

const device = (id: string): Device => deviceById(id) as Device;
const fn = (program: Program, name: string) =>
  viewFunction(program.functions.find((f) => f.name === name) as MilFunction);

test("the parameters are what the fit to the published figures gives", () => {
  const fitted = refit(
    publishedFigures.filter((f) => f.use === "fit"),
    publishedFit,
  );
  for (const name of parameterNames)
    expect(fitted.parameters[name] / publishedParameters[name], name).toBeCloseTo(1, 3);
});

/** Modelled over measured. */
const ratio = ({ workload, device: id, measuredMs }: Report): number =>
  callTime(workload, device(id), publishedParameters).totalMs / measuredMs;

test("held-out figures: within 2.8 times each, half of them within 1.25 times", () => {
  const held = publishedFigures.filter((f) => f.use === "check");
  expect(held.length).toBeGreaterThanOrEqual(12);
  const errors = held.map((f) => Math.abs(Math.log(ratio(f)))).sort((a, b) => a - b);
  expect(Math.exp(errors.at(-1) as number)).toBeLessThan(2.8);
  expect(Math.exp(errors[Math.floor(held.length / 2)] as number)).toBeLessThan(1.25);
  // The cliff of small palette groups is the best-known part.
  for (const f of held.filter((x) => x.id.startsWith("opt"))) expect(Math.abs(ratio(f) - 1)).toBeLessThan(0.05);
});

test("fixed costs follow the chip: a small model with a cache is slower on an older one", () => {
  // A decoder of 135 M weights at 6 bits, 30 layers of 3 KV groups of 64, 512 positions of cache.
  const small: Workload = {
    ...emptyWorkload,
    products: [{ scheme: "palette", weightBytes: (135e6 * 6) / 8, flops: 2 * 135e6 }],
    cacheBytes: 512 * 30 * 2 * 3 * 64 * 2,
  };
  const ms = (id: string) => callTime(small, device(id), publishedParameters);
  for (const [older, newer] of [
    ["a17-pro", "a18"],
    ["a18", "a19"],
    ["a19", "a19-pro"],
    ["m1", "m3"],
    ["m3", "m4"],
  ] as const) {
    expect(ms(older).totalMs, older).toBeGreaterThan(ms(newer).totalMs);
    const [a, b] = [device(older), device(newer)];
    expect(ms(older).cacheMs / ms(newer).cacheMs).toBeCloseTo(b.bandwidthGbps / a.bandwidthGbps, 9);
  }
  expect(ms("m4").cacheMs).toBeCloseTo(small.cacheBytes / (publishedParameters.cacheGbps * 1e6), 9);
  expect(ms("a17-pro").totalMs / ms("m4").totalMs).toBeGreaterThan(2);
});

test("the range of a chip is what its held-out figures say, or all of them where it has few", () => {
  const held = (id: string) => publishedFigures.filter((f) => f.use === "check" && f.device === id).map(ratio);
  for (const id of ["a17-pro", "a19-pro", "m4"]) {
    expect(held(id).length).toBeGreaterThanOrEqual(3);
    const found = speedRange(id);
    expect(found).toEqual({
      low: Math.min(1, ...held(id)),
      high: Math.max(1, ...held(id)),
      figures: held(id).length,
      isOfChip: true,
    });
  }
  const all = publishedFigures.filter((f) => f.use === "check").map(ratio);
  for (const id of ["a18", "a18-pro", "a19", "m1", "m3"])
    expect(speedRange(id)).toEqual({
      low: Math.min(...all),
      high: Math.max(...all),
      figures: all.length,
      isOfChip: false,
    });
});

test("the documentation shows the figures and the parameters in use", async () => {
  await expect(costPage()).toMatchFileSnapshot("../../docs/methods/cost-model.md");
});

test("every figure names its source, and no figure is both fitted and held out", () => {
  expect(new Set(publishedFigures.map((f) => f.id)).size).toBe(publishedFigures.length);
  for (const f of publishedFigures) {
    expect(f.source.length).toBeGreaterThan(10);
    expect(f.note.length).toBeGreaterThan(5);
    expect(deviceById(f.device)).toBeDefined();
  }
});

const truth: CostParameters = {
  ...publishedParameters,
  paletteEfficiency: 0.61,
  fp16Efficiency: 0.42,
  cacheGbps: 9,
  callMs: 1.1,
  crowdedTableUs: 0.2,
};

function reports(noise: number): Report[] {
  const rng = createRng(11, "reports");
  const shapes: Partial<Workload>[] = [];
  for (const gb of [0.2, 0.5, 0.8])
    for (const cacheBytes of [0, 3e7, 2e8]) {
      for (const scheme of ["palette", "fp16"] as const)
        shapes.push({ products: [{ scheme, weightBytes: gb * 1e9, flops: gb * 4e9 }], cacheBytes });
      shapes.push({
        products: [{ scheme: "palette", weightBytes: gb * 1e9, flops: gb * 4e9 }],
        tables: gb * 4e5,
        crowdedTables: gb * 3e5,
        calls: 3,
      });
    }
  return shapes.map((parts, i) => {
    const workload = { ...emptyWorkload, ...parts };
    const ms = callTime(workload, device("a18-pro"), truth).totalMs;
    return { id: `r${i}`, device: "a18-pro", workload, measuredMs: ms * Math.exp(noise * rng.normal()) };
  });
}

test("refitting to reports finds what made them, and leaves alone what they say nothing of", () => {
  const { parameters, ratios } = refit(reports(0), { prior: publishedParameters, tau: 3, sigma: 0.02 });
  for (const name of ["paletteEfficiency", "fp16Efficiency", "cacheGbps", "callMs", "crowdedTableUs"] as const)
    expect(parameters[name] / truth[name], name).toBeCloseTo(1, 1);
  for (const name of ["gpuEfficiency", "macTflops", "handOverMs", "notchSlowdown"] as const)
    expect(parameters[name]).toBeCloseTo(publishedParameters[name], 6);
  for (const r of ratios.values()) expect(Math.abs(r - 1)).toBeLessThan(0.02);
});

test("noisy reports move parameters nearer the truth than the prior, in any order, and few of them not far", () => {
  const noisy = reports(0.1);
  const { parameters } = refit(noisy, { prior: publishedParameters });
  expect(refit([...noisy].reverse(), { prior: publishedParameters }).parameters).toEqual(parameters);
  for (const name of ["paletteEfficiency", "cacheGbps", "fp16Efficiency"] as const) {
    const distance = (p: CostParameters): number => Math.abs(Math.log(p[name] / truth[name]));
    expect(distance(parameters)).toBeLessThan(distance(publishedParameters));
  }
  expect(refit([], { prior: publishedParameters }).parameters.callMs).toBeCloseTo(publishedParameters.callMs, 9);
  const lone: Report = { id: "odd", device: "a19", workload: { ...emptyWorkload, cacheBytes: 1e8 }, measuredMs: 1e4 };
  const moved = refit([lone], { prior: startingParameters }).parameters;
  expect(moved.cacheGbps).toBeLessThan(startingParameters.cacheGbps);
  expect(moved.paletteEfficiency).toBeCloseTo(startingParameters.paletteEfficiency, 9);
});

test("reports that cannot be are refused by name", () => {
  const bad = (r: Partial<Report>): (() => unknown) => {
    const report: Report = { id: "r1", device: "a19", workload: emptyWorkload, measuredMs: 1, ...r };
    return () => refit([report], { prior: publishedParameters });
  };
  expect(bad({ measuredMs: 0 })).toThrow(EspalierError);
  expect(bad({ measuredMs: Number.NaN })).toThrow(/r1 says NaN ms/);
  expect(bad({ device: "a99" })).toThrow(/unknown device a99/);
});

test("a program's workload is the sum over its operations, counted by hand", () => {
  const decode = fn(engineProgram(), "decode");
  const { workload, placement } = programWorkload(decode, "cpuAndNeuralEngine");
  // Per layer: query 128 × 64, key and value 64 × 64 each, output 64 × 128, gate and up 128 × 64, down 64 × 128; head 96 × 64.
  const perLayer = 128 * 64 + 2 * 64 * 64 + 64 * 128 + 3 * 128 * 64;
  const elements = 3 * perLayer + 96 * 64;
  const tables = 3 * (8 + 4 + 4 + 4 + 8 + 8 + 4) + 6;
  expect(weightBytes(workload)).toBe(elements / 2 + tables * 16 * 2);
  expect(workload.tables).toBe(tables);
  // Scores and values: 4 heads, 64 positions, 32 dimensions.
  expect(flops(workload)).toBe(2 * elements + 3 * 2 * (2 * 4 * 64 * 32));
  expect(workload.cacheBytes).toBe(3 * 2 * 2 * 64 * 32 * 2);
  expect(workload.handOvers).toBe(0);
  expect(new Set(placement.values())).toEqual(new Set(["ANE"]));
  const chunk = programWorkload(fn(engineProgram(), "prefill_32"), "cpuAndNeuralEngine").workload;
  expect(chunk.positions).toBe(32);
  expect(weightBytes(chunk)).toBe(weightBytes(workload));
  expect(flops(chunk)).toBe(32 * flops(workload));
});

function plain(arch: DecoderArchitecture, blocks: boolean): Program {
  const shipped = new Map(
    weightList(arch).map(({ name, shape }): [string, CompressedWeight] => {
      const count = product(shape);
      if (shape.length === 1 || !blocks)
        return [name, { kind: "dense", dtype: "fp16", shape, values: new Float32Array(count).fill(0.01) }];
      const scaleShape = [shape[0] as number, (shape[1] as number) / 8];
      return [
        name,
        {
          kind: "affine",
          bits: 4,
          shape,
          codes: new Int8Array(count),
          scales: new Float32Array(product(scaleShape)).fill(0.01),
          scaleShape,
          offsets: null,
        },
      ];
    }),
  );
  return packageProgram(arch, shipped, { context: 32, prefillLength: 8 });
}

test("the plain layout hands over for lookups and masks, and to another unit for blocks", () => {
  const arch = architectureOf(tinyConfigs.llama);
  const dense = programWorkload(fn(plain(arch, false), "decode"), "cpuAndNeuralEngine");
  expect(dense.workload.handOvers).toBe(1);
  const on = (type: string) => [...dense.placement].filter(([op]) => op.type === type).map(([, unit]) => unit);
  expect(new Set(on("gather"))).toEqual(new Set(["CPU"]));
  expect(new Set(on("less_equal"))).toEqual(new Set(["CPU"]));
  expect(new Set(on("linear"))).toEqual(new Set(["ANE"]));
  const blocks = programWorkload(fn(plain(arch, true), "decode"), "all");
  expect(blocks.workload.elsewhereBytes).toBeGreaterThan(0);
  expect(weightBytes({ ...blocks.workload, elsewhereBytes: 0 })).toBe(0);
  expect(blocks.workload.handOvers).toBeGreaterThan(10);
  expect(programWorkload(fn(plain(arch, true), "decode"), "cpuAndGPU").workload.handOvers).toBe(0);
});

test("an architecture's workload is its program's", () => {
  const arch: DecoderArchitecture = {
    ...architectureOf(tinyConfigs.llama),
    hidden: 64,
    vocab: 96,
    layers: [0, 1, 2].map(() => ({
      ...(architectureOf(tinyConfigs.llama).layers[0] as DecoderArchitecture["layers"][number]),
      queryHeads: 4,
      kvGroups: 2,
      headDim: 32,
      neurons: 128,
    })),
  };
  const dense = engineProgram({ weight: denseWeight });
  for (const [name, positions] of [
    ["decode", 1],
    ["prefill_32", 32],
  ] as const) {
    const built = programWorkload(fn(dense, name), "cpuAndNeuralEngine").workload;
    const drawn = architectureWorkload(arch, { bitsPerWeight: 16, scheme: "fp16", context: 64, positions });
    expect(weightBytes(drawn)).toBe(weightBytes(built));
    expect(drawn.cacheBytes).toBe(built.cacheBytes);
    // The fixture's prefill gives logits of every position, the drawn one of the last.
    expect(flops(drawn)).toBe(flops(built) - 2 * 96 * 64 * (positions - 1));
    for (const d of devices) {
      const [a, b] = [callTime(built, d, publishedParameters), callTime(drawn, d, publishedParameters)];
      expect(Math.abs(a.totalMs / b.totalMs - 1)).toBeLessThan(0.05);
    }
  }
  const built = programWorkload(fn(engineProgram(), "decode"), "cpuAndNeuralEngine").workload;
  const drawn = architectureWorkload(arch, {
    bitsPerWeight: (8 * weightBytes(built)) / (weightBytes(programWorkload(fn(dense, "decode"), "all").workload) / 2),
    scheme: "palette",
    channelsPerTable: 16,
    context: 64,
  });
  expect(weightBytes(drawn)).toBeCloseTo(weightBytes(built), 6);
  expect(drawn.tables).toBe(built.tables);
});

test("a Gemma 4 streams no keys for layers that have none, and its table of per-layer rows not at all", async () => {
  const { shipped, exact } = await rounded(tinyModel("gemma4"));
  const arch = { ...exact.arch, maxPositions: 128 };
  const plan = neuralEnginePlan(arch, {
    contexts: [64],
    prefill: [],
    embedding: "host",
    cacheForm: "state",
    prefillLogits: "last",
    beginToken: null,
    stopTokens: [],
  });
  const program = neuralEngineProgram(arch, shipped, plan);
  const built = programWorkload(fn(program, "decode_64"), "cpuAndNeuralEngine").workload;
  const drawn = architectureWorkload(arch, { bitsPerWeight: 16, scheme: "fp16", context: 64 });
  expect(weightBytes(drawn)).toBe(weightBytes(built));
  // Layers 3 to 5 of 6 have no key and value projection: 4 · 8 · 32 weights fewer for a sliding one, 4 · 16 · 32 for the full one.
  const own = { ...arch, layers: arch.layers.map((l) => ({ ...l, kvSource: null })) };
  const more = weightBytes(architectureWorkload(own, { bitsPerWeight: 16, scheme: "fp16", context: 64 }));
  expect(more - weightBytes(drawn)).toBe(2 * (2 * 4 * 8 * 32 + 4 * 16 * 32));
});

test("what-ifs rank as they should: fewer bits, shorter caches, faster phones", () => {
  const small = architectureOf(tinyConfigs.gemma3);
  const layer = small.layers[2] as DecoderArchitecture["layers"][number];
  const wide = { ...layer, queryHeads: 16, kvGroups: 4, headDim: 128, neurons: 8192 };
  const arch = { ...small, hidden: 2048, vocab: 32_000, layers: Array.from({ length: 16 }, () => wide) };
  const at = (bitsPerWeight: number, context: number, id: string): number =>
    modelledTokensPerSecond(arch, { bitsPerWeight, scheme: "palette", context }, device(id));
  expect(at(4, 1024, "a17-pro")).toBeGreaterThan(at(8, 1024, "a17-pro"));
  expect(at(4, 512, "a17-pro")).toBeGreaterThan(at(4, 2048, "a17-pro"));
  expect(at(4, 1024, "a19-pro")).toBeGreaterThan(at(4, 1024, "a17-pro"));
  const ringed = { ...arch, layers: arch.layers.map((l) => ({ ...l, window: 256 })) };
  const choice = { bitsPerWeight: 4, scheme: "palette", context: 4096 } as const;
  const [ring, none] = [true, false].map((rings) =>
    modelledTokensPerSecond(ringed, { ...choice, rings }, device("a18")),
  );
  expect(ring).toBeGreaterThan(none as number);
});

test("small groups, long caches and more packages cost what the parameters say", () => {
  const groups = (rowsPerTable: number) =>
    programWorkload(
      fn(engineProgram({ weight: (b, n, s) => paletteWeight(b, n, s, rowsPerTable) }), "decode"),
      "cpuAndNeuralEngine",
    ).workload;
  expect(groups(2).crowdedTables).toBe(groups(2).tables / 2);
  expect(groups(4).crowdedTables).toBe(0);
  expect(groups(128).tables).toBe(0);
  const long = programWorkload(
    fn(engineProgram({ sizes: { context: 4096 } }), "decode"),
    "cpuAndNeuralEngine",
  ).workload;
  expect(long.cacheBytes).toBe(
    64 * programWorkload(fn(engineProgram(), "decode"), "cpuAndNeuralEngine").workload.cacheBytes,
  );
  const time = (calls: number): number => callTime({ ...long, calls }, device("a19-pro"), publishedParameters).totalMs;
  expect(time(3) - time(1)).toBeCloseTo(2 * publishedParameters.callMs, 9);
});

test("an estimate is labelled, ordered, and its parts add up", () => {
  const modelled = estimateProgram(engineProgram(), { weightBytes: 60_000 });
  expect(modelled.kind).toBe("modelled");
  expect(modelled.devices.map((d) => d.device)).toEqual(devices.map((d) => d.id));
  for (const d of modelled.devices) {
    expect([d.decode.length, d.prefill.length]).toEqual([1, 1]);
    for (const { ms, positions, tokensPerSecond, context } of [...d.decode, ...d.prefill]) {
      const { totalMs, ...parts } = ms;
      expect(Object.values(parts).reduce((n, v) => n + v, 0)).toBeCloseTo(totalMs, 9);
      expect(tokensPerSecond).toBeCloseTo((1000 * positions) / totalMs, 9);
      expect(context).toBe(64);
    }
    const mac = device(d.device).family === "Mac";
    expect(d.decode[0]?.sustainedTokensPerSecond === null).toBe(mac);
    expect(d.decode[0]?.millijoulesPerToken === null).toBe(device(d.device).engineW === null);
  }
  const decode = modelled.functions.find((f) => f.function === "decode");
  const row = (name: string) => decode?.placement.find((p) => p.row === name);
  expect(row("query, key, value")?.layers.map((l) => l.layer)).toEqual([0, 1, 2]);
  for (const name of ["norms", "rotary", "cache", "scores", "softmax", "values", "output", "gate, up", "down", "head"])
    expect(row(name)?.operations.ANE, name).toBeGreaterThan(0);
});

test("memory: states once, and the most that is alive at one time", () => {
  const view = fn(engineProgram(), "decode");
  const { stateBytes, activationBytes } = memoryUse(view);
  expect(stateBytes).toBe(6 * 2 * 64 * 32 * 2);
  // By hand: liveness recomputed the slow way.
  let most = 0;
  const held = (v: Value): boolean => v.type.kind === "tensor";
  const size = (v: Value): number => (v.type.kind === "tensor" ? 2 * product(v.type.shape) : 0);
  const inPlace = (v: Value): boolean => ["read_state", "slice_update"].includes(v.producer?.type ?? "");
  const values = [...view.fn.inputs, ...view.computed.flatMap((op) => op.outputs)].filter(held);
  const bytes = (v: Value): number => (v.type.kind === "tensor" && v.type.dtype === "int32" ? 2 * size(v) : size(v));
  for (const op of view.computed) {
    let alive = 0;
    for (const v of values) {
      if (inPlace(v)) continue;
      const born = v.producer === null || (view.position.get(v.producer) ?? 0) <= (view.position.get(op) ?? 0);
      const readLater = view.consumers(v).some((u) => (view.position.get(u) ?? 0) >= (view.position.get(op) ?? 0));
      const never = v.producer === op && view.consumers(v).length === 0;
      if (born && (readLater || view.fn.outputs.includes(v) || never || v.producer === op)) alive += bytes(v);
    }
    most = Math.max(most, alive);
  }
  expect(activationBytes).toBe(most);
  expect(attendedPositions(view)).toBe(64);
});
