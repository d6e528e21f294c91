/**
 * @file The modelled time of a call: a roofline per product, plus what tables, cache, hand-overs and calls add.
 *
 *   t = Σ_p max( bytes_p / (η_scheme · BW),  flops_p / (R · scale) )
 *     + κ₁ · tables + κ₂ · tables beyond one per four channels
 *     + cache bytes / (C · BW / BW of the M4)  +  elsewhere bytes / (η_gpu|cpu · BW)
 *     + hand-overs · h  +  operations · o  +  calls · c_family
 *
 * BW from the device table; η, R, κ, C, h, o, c are `CostParameters`, fitted to published figures or to a phone's reports.
 * Every figure is modelled until a report replaces it. Not included: throttling within a call,
 * overlap of host and engine.
 */
import type { Device } from "./devices.ts";
import type { Scheme, Workload } from "./workload.ts";

/** All positive; fitted on a log scale. */
export interface CostParameters {
  /** Share of the bandwidth a scheme streams at. */
  readonly fp16Efficiency: number;
  readonly int8Efficiency: number;
  readonly paletteEfficiency: number;
  /** Core ML's share on the GPU and on the CPU. */
  readonly gpuEfficiency: number;
  readonly cpuEfficiency: number;
  /** Streaming rate of the Neural Engine in a Mac over an iPhone's share. */
  readonly macBandwidthShare: number;
  /** TFLOP/s of the reference iPhone's engine (A17 Pro), of the reference Mac's (M3, M4). */
  readonly iphoneTflops: number;
  readonly macTflops: number;
  /** µs a palette table costs, and the extra cost of each table above one per four channels. */
  readonly tableUs: number;
  readonly crowdedTableUs: number;
  /** GB/s at which attention reads a cache kept as state, on an M4; on other chips in proportion to their memory bandwidth. */
  readonly cacheGbps: number;
  /** How many times slower a weight in the DMA notch streams. Seen on M4; applied to Macs. */
  readonly notchSlowdown: number;
  readonly handOverMs: number;
  readonly operationUs: number;
  /** A prediction from an app: queueing, buffers, synchronisation. On an iPhone, and on a Mac. */
  readonly callMs: number;
  readonly macCallMs: number;
}

export const parameterNames = [
  "fp16Efficiency",
  "int8Efficiency",
  "paletteEfficiency",
  "gpuEfficiency",
  "cpuEfficiency",
  "macBandwidthShare",
  "iphoneTflops",
  "macTflops",
  "tableUs",
  "crowdedTableUs",
  "cacheGbps",
  "notchSlowdown",
  "handOverMs",
  "operationUs",
  "callMs",
  "macCallMs",
] as const satisfies readonly (keyof CostParameters)[];

export interface CallTime {
  readonly totalMs: number;
  /** Products bound by their weights, and by arithmetic. */
  readonly weightsMs: number;
  readonly arithmeticMs: number;
  readonly tablesMs: number;
  readonly cacheMs: number;
  readonly elsewhereMs: number;
  readonly handOversMs: number;
  readonly callsMs: number;
}

const efficiencyOf = (p: CostParameters): Record<Scheme, number> => ({
  fp16: p.fp16Efficiency,
  int8: p.int8Efficiency,
  palette: p.paletteEfficiency,
  // A mask and fp16 values: no rate of their own is published.
  sparse: p.fp16Efficiency,
});

/** Memory bandwidth of the M4. */
const CACHE_REFERENCE_GBPS = 120;

export function callTime(w: Workload, device: Device, p: CostParameters): CallTime {
  const mac = device.family === "Mac";
  // GB/s is 10⁶ bytes per ms.
  const bandwidth = device.bandwidthGbps * 1e6 * (mac ? p.macBandwidthShare : 1);
  // The chip whose cache figures were published.
  const relative = device.bandwidthGbps / CACHE_REFERENCE_GBPS;
  const flopsPerMs = (mac ? p.macTflops : p.iphoneTflops) * device.engineScale * 1e9;
  const efficiency = efficiencyOf(p);
  let weightsMs = 0;
  let arithmeticMs = 0;
  for (const product of w.products) {
    const stream = product.weightBytes / (efficiency[product.scheme] * bandwidth);
    const compute = product.flops / flopsPerMs;
    if (stream >= compute) weightsMs += stream;
    else arithmeticMs += compute;
  }
  if (mac) weightsMs += ((p.notchSlowdown - 1) * w.notchBytes) / (p.fp16Efficiency * bandwidth);
  const share = w.elsewhere === "GPU" ? p.gpuEfficiency : p.cpuEfficiency;
  const parts = {
    weightsMs,
    arithmeticMs,
    tablesMs: (w.tables * p.tableUs + w.crowdedTables * p.crowdedTableUs) / 1000,
    cacheMs: w.cacheBytes / (p.cacheGbps * relative * 1e6),
    elsewhereMs: w.elsewhereBytes / (share * device.bandwidthGbps * 1e6),
    handOversMs: w.handOvers * p.handOverMs,
    callsMs: w.calls * (mac ? p.macCallMs : p.callMs) + (w.operations * p.operationUs) / 1000,
  };
  return { totalMs: Object.values(parts).reduce((n, ms) => n + ms, 0), ...parts };
}

/** Tokens per second of a call that makes `positions` of them. */
export const tokensPerSecond = (w: Workload, time: CallTime): number => (1000 * w.positions) / time.totalMs;
