/** @file The parameters of the cost model in words, with their units. */
import type { CostParameters } from "../../lib/cost/model.ts";

export const parameterWords: Record<keyof CostParameters, string> = {
  fp16Efficiency: "fp16 weights, share of the bandwidth",
  int8Efficiency: "int8 weights, share of the bandwidth",
  paletteEfficiency: "palettes, share of the bandwidth",
  gpuEfficiency: "GPU, share of the bandwidth",
  cpuEfficiency: "CPU, share of the bandwidth",
  macBandwidthShare: "Mac engine, share of the bandwidth",
  iphoneTflops: "iPhone engine, TFLOP/s",
  macTflops: "Mac engine, TFLOP/s",
  tableUs: "a palette table, µs",
  crowdedTableUs: "a crowded palette table, µs more",
  cacheGbps: "reading the cache on an M4, GB/s",
  notchSlowdown: "weights in the DMA notch, times slower",
  handOverMs: "a hand-over between units, ms",
  operationUs: "an operation, µs",
  callMs: "a prediction on an iPhone, ms",
  macCallMs: "a prediction on a Mac, ms",
};
