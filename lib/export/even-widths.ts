/**
 * @file Makes the layers of an unevenly pruned decoder equal by filling missing heads and neurons
 * with zeros.
 *
 * A GGUF architecture such as `llama` has one number of heads, groups and neurons for all layers. With K the most groups and r the most
 * heads that read one group in any layer, every layer gets K groups of r heads, head i of group g at r g + i. A head that was added
 * has zeros in the output projection, a neuron zeros in all three matrices: the model computes the
 * same, and every layer is as large as the widest one. Neurons are rounded up to blocks of 32, so
 * that the down projection can be quantized.
 */
import type { DecoderArchitecture, LayerArchitecture } from "../decoder/architecture.ts";
import { standardHeadToGroup } from "../decoder/families/family.ts";
import type { WeightEntry } from "../decoder/weights.ts";
import { EspalierError } from "../errors.ts";

const BLOCK = 32;

/** Throws `export/unsupported` where heads differ in width, which zeros cannot even out. */
export function evenWidths(arch: DecoderArchitecture): DecoderArchitecture {
  const headDims = new Set(arch.layers.map((l) => l.headDim));
  if (headDims.size > 1)
    throw new EspalierError("export/unsupported", `heads of ${[...headDims].join(" and ")} channels in one model`, {
      hint: "A GGUF architecture has one width of heads; export to Core ML.",
    });
  const most = (of: (l: LayerArchitecture) => number): number => Math.max(...arch.layers.map(of));
  const kvGroups = most((l) => l.kvGroups);
  const perGroup = most((l) => Math.max(...headsByGroup(l).map((heads) => heads.length)));
  const queryHeads = kvGroups * perGroup;
  const even = new Set(arch.layers.map((l) => l.neurons)).size === 1;
  const neurons = even ? most((l) => l.neurons) : Math.ceil(most((l) => l.neurons) / BLOCK) * BLOCK;
  const headToGroup = standardHeadToGroup(queryHeads, kvGroups);
  return { ...arch, layers: arch.layers.map((l) => ({ ...l, queryHeads, kvGroups, headToGroup, neurons })) };
}

/** For each place of the even weight the row and the column that it comes from, −1 for zeros; null
 * where nothing changes. */
export interface Places {
  readonly rows: Int32Array | null;
  readonly columns: Int32Array | null;
}

export function placesOf(arch: DecoderArchitecture, even: DecoderArchitecture, { layer, role }: WeightEntry): Places {
  const [from, to] = layer === null ? [] : [arch.layers[layer], even.layers[layer]];
  if (!from || !to) return { rows: null, columns: null };
  const heads = (): Int32Array | null => blocks(headPlaces(from, to), from.headDim, from.queryHeads);
  const groups = (): Int32Array | null => blocks(firstOf(from.kvGroups, to.kvGroups), from.headDim, from.kvGroups);
  const neurons = (): Int32Array | null => blocks(firstOf(from.neurons, to.neurons), 1, from.neurons);
  if (role === "query" || role === "queryBias") return { rows: heads(), columns: null };
  if (["key", "value", "keyBias", "valueBias"].includes(role)) return { rows: groups(), columns: null };
  if (role === "output") return { rows: null, columns: heads() };
  if (["gate", "up", "gateBias", "upBias"].includes(role)) return { rows: neurons(), columns: null };
  if (role === "down") return { rows: null, columns: neurons() };
  return { rows: null, columns: null };
}

const firstOf = (count: number, places: number): number[] =>
  Array.from({ length: places }, (_, i) => (i < count ? i : -1));

const headsByGroup = (l: LayerArchitecture): number[][] =>
  Array.from({ length: l.kvGroups }, (_, g) => l.headToGroup.flatMap((of, h) => (of === g ? [h] : [])));

function headPlaces(from: LayerArchitecture, to: LayerArchitecture): number[] {
  const perGroup = to.queryHeads / to.kvGroups;
  const byGroup = headsByGroup(from);
  return Array.from({ length: to.queryHeads }, (_, h) => byGroup[Math.floor(h / perGroup)]?.[h % perGroup] ?? -1);
}

function blocks(sources: readonly number[], width: number, count: number): Int32Array | null {
  if (sources.length === count && sources.every((s, i) => s === i)) return null;
  return Int32Array.from({ length: sources.length * width }, (_, i) => {
    const source = sources[Math.floor(i / width)] ?? -1;
    return source < 0 ? -1 : source * width + (i % width);
  });
}
