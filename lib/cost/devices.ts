/**
 * @file The devices the cost model knows: published figures of their memory and Neural Engine.
 *
 * Bandwidth is the chip's memory bandwidth. On Macs with wide memory the Neural Engine's own
 * streaming rate is far below it, so a published streaming rate replaces it there. `engineScale` is
 * the engine's arithmetic relative to the family's reference device. Not included: chips without
 * published results for a language model.
 */
export interface Device {
  readonly id: string;
  readonly name: string;
  readonly family: "iPhone" | "Mac";
  readonly memoryGb: number;
  /** The highest rate at which the Neural Engine can read, GB/s. */
  readonly bandwidthGbps: number;
  readonly engineScale: number;
  /** Power of the engine while it decodes, W; null where not published. */
  readonly engineW: number | null;
  readonly source: string;
}

export const devices: readonly Device[] = [
  {
    id: "a17-pro",
    name: "A17 Pro (iPhone 15 Pro)",
    family: "iPhone",
    memoryGb: 8,
    bandwidthGbps: 51.2,
    engineScale: 1,
    engineW: null,
    source: "64-bit LPDDR5-6400; Apple claims 35 TOPS",
  },
  {
    id: "a18",
    name: "A18 (iPhone 16)",
    family: "iPhone",
    memoryGb: 8,
    bandwidthGbps: 60,
    engineScale: 1,
    engineW: null,
    source: "LPDDR5X-7500; Apple claims 35 TOPS, as for A17 Pro",
  },
  {
    id: "a18-pro",
    name: "A18 Pro (iPhone 16 Pro)",
    family: "iPhone",
    memoryGb: 8,
    bandwidthGbps: 60,
    engineScale: 1,
    engineW: null,
    source: "trymirai.com iPhone hardware table; Apple claims 35 TOPS",
  },
  {
    id: "a19",
    name: "A19 (iPhone 17)",
    family: "iPhone",
    memoryGb: 8,
    bandwidthGbps: 68.3,
    engineScale: 1.25,
    engineW: null,
    source: "LPDDR5X-8533 (press); engine as A19 Pro (not published)",
  },
  {
    id: "a19-pro",
    name: "A19 Pro (iPhone 17 Pro)",
    family: "iPhone",
    memoryGb: 12,
    bandwidthGbps: 76.8,
    engineScale: 1.25,
    engineW: null,
    source: "LPDDR5X-9600; Argmax measured the engine 25 % above the iPhone 16 Pro's",
  },
  {
    id: "m1",
    name: "M1 family",
    family: "Mac",
    memoryGb: 16,
    bandwidthGbps: 68.3,
    engineScale: 0.61,
    engineW: 4.2,
    source: "M1's LPDDR4X; Apple claims 11 TOPS, 18 for M3; smpanaro/coreml-llm-cli (M1 Max: 7.0 tokens/s at 4.2 W)",
  },
  {
    id: "m3",
    name: "M3 family",
    family: "Mac",
    memoryGb: 16,
    bandwidthGbps: 102.4,
    engineScale: 1,
    engineW: 8,
    source: "M3's LPDDR5; smpanaro/coreml-llm-cli (M3 Max: 13.9 tokens/s at 8 W)",
  },
  {
    id: "m4",
    name: "M4 family",
    family: "Mac",
    memoryGb: 16,
    bandwidthGbps: 120,
    engineScale: 1.09,
    engineW: null,
    source: "M4's LPDDR5X-7500; engine 9 % above M3's in smpanaro/coreml-llm-cli (first version)",
  },
];

/** Only to read one published figure: Apple's Llama 3.1 on the GPU of an M1 Max. */
const m1MaxGpu: Device = {
  id: "m1-max-gpu",
  name: "M1 Max (GPU)",
  family: "Mac",
  memoryGb: 64,
  bandwidthGbps: 400,
  engineScale: 1,
  engineW: null,
  source: "512-bit LPDDR5-6400",
};

export const deviceById = (id: string): Device | undefined => [...devices, m1MaxGpu].find((d) => d.id === id);

/** The device of the table with the chip a report names, as `A17 Pro` or `Apple M3 Max`; undefined
 * for a chip without published results. */
export function deviceOfChip(chip: string | null): Device | undefined {
  const name = (chip ?? "").toLowerCase().replace(/^apple /, "");
  const family = /^m\d+/.exec(name)?.[0];
  return devices.find((d) => d.id === (family ?? name.replaceAll(" ", "-")));
}
