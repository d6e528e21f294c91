/**
 * @file The workload of a decoder without building it: from its architecture, bits per weight and
 * context.
 *
 * For what-ifs in a browser: the counts of `programWorkload` on the Neural Engine layout, without a program. Rows of embeddings
 * come from the host; norms, rotations and masks count as 0; layers that share a cache each read
 * it. Not included: weights the engine refuses.
 */
import type { LayerArchitecture, PerLayerInput } from "../decoder/architecture.ts";
import type { Device } from "./devices.ts";
import { type CostParameters, callTime, tokensPerSecond } from "./model.ts";
import { publishedParameters } from "./parameters.ts";
import type { Product, Scheme, Workload } from "./workload.ts";

/** The parts of an architecture that decide its workload. */
export interface WorkloadShape {
  readonly hidden: number;
  readonly vocab: number;
  /** Gemma 4's: absent for models without. */
  readonly perLayer?: Pick<PerLayerInput, "width"> | null;
  readonly layers: readonly LayerShape[];
}

type LayerShape = Pick<LayerArchitecture, "queryHeads" | "kvGroups" | "headDim" | "neurons" | "window"> &
  Partial<Pick<LayerArchitecture, "kvSource" | "valueIsKey">>;

export interface ArchitectureChoice {
  /** Stored, all counted. */
  readonly bitsPerWeight: number;
  readonly scheme: Scheme;
  /** Output channels a palette table serves; null for one table a weight. */
  readonly channelsPerTable?: number | null;
  readonly context: number;
  /** New positions of a call. */
  readonly positions?: number;
  /** Sliding layers keep a ring of their window. */
  readonly rings?: boolean;
  readonly calls?: number;
}

/** Operations of one layer in the Neural Engine layout, counted on a built program. */
const OPERATIONS_PER_LAYER = 70;

/** (out, in) of every matrix of a layer. */
function matrices({ hidden, perLayer }: WorkloadShape, l: LayerShape): [number, number][] {
  const [q, kv] = [l.queryHeads * l.headDim, l.kvGroups * l.headDim];
  const ownKv = (l.kvSource ?? null) === null ? (l.valueIsKey ? 1 : 2) : 0;
  const p = perLayer?.width ?? null;
  return [
    [q, hidden],
    ...Array.from({ length: ownKv }, (): [number, number] => [kv, hidden]),
    [hidden, q],
    [l.neurons, hidden],
    [l.neurons, hidden],
    [hidden, l.neurons],
    ...(p === null
      ? []
      : ([
          [p, hidden],
          [hidden, p],
        ] satisfies [number, number][])),
  ];
}

export function architectureWorkload(arch: WorkloadShape, choice: ArchitectureChoice): Workload {
  const { positions = 1, rings = true, calls = 1, channelsPerTable = null, context, scheme } = choice;
  const products: Product[] = [];
  let [tables, crowdedTables, cacheBytes] = [0, 0, 0];
  const weight = ([rows, columns]: [number, number], at: number): void => {
    products.push({
      scheme,
      weightBytes: (rows * columns * choice.bitsPerWeight) / 8,
      flops: 2 * rows * columns * at,
    });
    if (scheme !== "palette" || channelsPerTable === null) return;
    tables += rows / channelsPerTable;
    crowdedTables += Math.max(0, rows / channelsPerTable - rows / 4);
  };
  for (const l of arch.layers) {
    for (const m of matrices(arch, l)) weight(m, positions);
    const seen = rings && l.window !== null ? Math.min(context, l.window) : context;
    products.push({ scheme: "fp16", weightBytes: 0, flops: 4 * positions * seen * l.queryHeads * l.headDim });
    cacheBytes += 2 * 2 * seen * l.kvGroups * l.headDim;
  }
  // The projection to per-layer vectors; the host looks up the embedding rows added to it.
  if (arch.perLayer) weight([arch.layers.length * arch.perLayer.width, arch.hidden], positions);
  // Prefill returns the last position's logits at most.
  weight([arch.vocab, arch.hidden], 1);
  return {
    positions,
    products,
    tables,
    crowdedTables,
    notchBytes: 0,
    cacheBytes,
    operations: OPERATIONS_PER_LAYER * arch.layers.length,
    handOvers: 0,
    elsewhereBytes: 0,
    elsewhere: "CPU",
    calls,
  };
}

/** Modelled tokens per second of a decoder that was not built. */
export function modelledTokensPerSecond(
  arch: WorkloadShape,
  choice: ArchitectureChoice,
  device: Device,
  parameters: CostParameters = publishedParameters,
): number {
  const workload = architectureWorkload(arch, choice);
  return tokensPerSecond(workload, callTime(workload, device, parameters));
}
