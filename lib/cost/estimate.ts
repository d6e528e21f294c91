/**
 * @file Modelled behaviour of a package on each device: speed over contexts, where the time goes,
 * memory, placement.
 *
 * Every number is modelled until a phone's report replaces it, and the result says so. Energy is given where the power of a
 * device's engine was published; a sustained speed only for iPhones, from the one published
 * ten-minute run.
 */
import type { PackageUnits } from "../formats/coreml/compute-units.ts";
import { attendedPositions, viewFunction } from "../mil/function-view.ts";
import type { Program } from "../mil/program.ts";
import { devices as allDevices, type Device } from "./devices.ts";
import { memoryUse } from "./memory.ts";
import { type CallTime, type CostParameters, callTime, tokensPerSecond } from "./model.ts";
import { publishedParameters, SUSTAINED_SHARE } from "./parameters.ts";
import { layerOf, type Row, rowOf, rows, type Unit } from "./placement.ts";
import { programWorkload } from "./program-workload.ts";
import { flops, type Workload, weightBytes } from "./workload.ts";

export interface ModelledCall {
  readonly function: string;
  readonly context: number;
  readonly positions: number;
  readonly tokensPerSecond: number;
  readonly ms: CallTime;
  /** For decode on iPhones: after ten minutes. */
  readonly sustainedTokensPerSecond: number | null;
  /** For decode, where the engine's power is published. */
  readonly millijoulesPerToken: number | null;
}

export interface ModelledDevice {
  readonly device: string;
  readonly name: string;
  readonly decode: readonly ModelledCall[];
  readonly prefill: readonly ModelledCall[];
}

export interface ModelledPlacement {
  readonly row: Row;
  /** Operations per unit, over all layers. */
  readonly operations: Readonly<Record<Unit, number>>;
  /** The unit of most of its operations, by layer; null outside layers. */
  readonly layers: readonly { layer: number | null; unit: Unit }[];
}

export interface ModelledFunction {
  readonly function: string;
  readonly weightBytes: number;
  readonly cacheBytes: number;
  readonly multiplyAdds: number;
  readonly handOvers: number;
  readonly placement: readonly ModelledPlacement[];
}

export interface Modelled {
  /** Always; a report says `measured`. */
  readonly kind: "modelled";
  readonly units: PackageUnits;
  readonly devices: readonly ModelledDevice[];
  readonly functions: readonly ModelledFunction[];
  /** Weights, states and peak activations of the function that needs the most memory. */
  readonly peakMemoryBytes: number;
}

export interface EstimateOptions {
  readonly units?: PackageUnits;
  readonly weightBytes: number;
  readonly parameters?: CostParameters;
  readonly devices?: readonly Device[];
  /** Packages a step goes through. */
  readonly calls?: number;
}

export function estimateProgram(program: Program, options: EstimateOptions): Modelled {
  const { units = "cpuAndNeuralEngine", parameters = publishedParameters, devices = allDevices, calls = 1 } = options;
  const built = [...program.functions]
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map((fn) => {
      const view = viewFunction(fn);
      return { view, context: attendedPositions(view), ...programWorkload(view, units, calls) };
    });
  const functions = built.map(({ view, context, workload }) => ({ function: view.fn.name, context, workload }));
  return {
    kind: "modelled",
    units,
    devices: modelDevices(functions, () => parameters, devices),
    functions: built.map((b) => describe(b)),
    peakMemoryBytes:
      options.weightBytes +
      Math.max(
        0,
        ...built.map(({ view }) => {
          const { stateBytes, activationBytes } = memoryUse(view);
          return stateBytes + activationBytes;
        }),
      ),
  };
}

/** The parts of a function that decide its speed. */
export interface TimedFunction {
  readonly function: string;
  readonly context: number;
  readonly workload: Workload;
}

/** Speed of functions on each device, with parameters that may differ by device. */
export function modelDevices(
  functions: readonly TimedFunction[],
  parametersOf: (device: Device) => CostParameters = () => publishedParameters,
  devices: readonly Device[] = allDevices,
): ModelledDevice[] {
  const call = (device: Device, fn: TimedFunction): ModelledCall => {
    const ms = callTime(fn.workload, device, parametersOf(device));
    const speed = tokensPerSecond(fn.workload, ms);
    const decode = fn.workload.positions === 1;
    return {
      function: fn.function,
      context: fn.context,
      positions: fn.workload.positions,
      tokensPerSecond: speed,
      ms,
      sustainedTokensPerSecond: decode && device.family === "iPhone" ? speed * SUSTAINED_SHARE : null,
      millijoulesPerToken: decode && device.engineW !== null ? device.engineW * ms.totalMs : null,
    };
  };
  const byContext = (a: ModelledCall, b: ModelledCall): number => a.context - b.context || a.positions - b.positions;
  const on = (device: Device, which: (f: TimedFunction) => boolean): ModelledCall[] =>
    functions
      .filter(which)
      .map((f) => call(device, f))
      .sort(byContext);
  return devices.map((device) => ({
    device: device.id,
    name: device.name,
    decode: on(device, (f) => f.workload.positions === 1),
    prefill: on(device, (f) => f.workload.positions > 1),
  }));
}

function describe(b: {
  view: ReturnType<typeof viewFunction>;
  workload: Workload;
  placement: ReturnType<typeof programWorkload>["placement"];
}): ModelledFunction {
  const byRow = new Map<Row, Map<number | null, Record<Unit, number>>>();
  for (const [op, unit] of b.placement) {
    const row = rowOf(op, b.view);
    const layers = byRow.get(row) ?? new Map<number | null, Record<Unit, number>>();
    byRow.set(row, layers);
    const layer = layerOf(op);
    const counts = layers.get(layer) ?? { ANE: 0, GPU: 0, CPU: 0 };
    layers.set(layer, counts);
    counts[unit]++;
  }
  return {
    function: b.view.fn.name,
    weightBytes: weightBytes(b.workload),
    cacheBytes: b.workload.cacheBytes,
    multiplyAdds: flops(b.workload) / 2,
    handOvers: b.workload.handOvers,
    placement: rows.flatMap((row) => {
      const layers = byRow.get(row);
      if (!layers) return [];
      const sum = (unit: Unit): number => [...layers.values()].reduce((n, c) => n + c[unit], 0);
      return [
        {
          row,
          operations: { ANE: sum("ANE"), GPU: sum("GPU"), CPU: sum("CPU") },
          layers: [...layers]
            .map(([layer, c]) => ({ layer, unit: mostly(c) }))
            .sort((x, y) => (x.layer ?? -1) - (y.layer ?? -1)),
        },
      ];
    }),
  };
}

const mostly = (c: Record<Unit, number>): Unit =>
  (["ANE", "GPU", "CPU"] as const).reduce((best, unit) => (c[unit] > c[best] ? unit : best), "ANE");
