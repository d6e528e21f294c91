/** @file The units of a model, by kind or by name. */
import type { DecoderArchitecture, LayerArchitecture } from "../../../lib/decoder/architecture.ts";
import { EspalierError } from "../../../lib/errors.ts";
import { parseUnit, showUnit, type UnitId, type UnitKind } from "../../../lib/units.ts";

export interface NamedUnit extends UnitId {
  readonly name: string;
}

export const NEURON_BLOCK = 32;

const named = (unit: UnitId): NamedUnit => ({ ...unit, name: showUnit(unit) });

/** How many of a kind a layer has; attention, MLP and the layer are one. */
function countOf(kind: UnitKind, layer: LayerArchitecture): number {
  if (kind === "heads") return layer.queryHeads;
  if (kind === "groups") return layer.kvGroups;
  return kind === "neurons" ? layer.neurons : 1;
}

/** All units of the asked-for kinds; neurons in blocks, of which the last of a layer may be smaller. */
export function unitsOf(
  arch: DecoderArchitecture,
  kinds: readonly UnitKind[],
  neuronBlock: number = NEURON_BLOCK,
): NamedUnit[] {
  return arch.layers.flatMap((layer, l) =>
    kinds.flatMap((kind) => {
      const all = countOf(kind, layer);
      const size = kind === "neurons" ? neuronBlock : 1;
      return Array.from({ length: Math.ceil(all / size) }, (_, i) =>
        named({ kind, layer: l, index: i * size, count: Math.min(size, all - i * size) }),
      );
    }),
  );
}

/** Units by name. Throws `prune/unknown-unit` for what is no unit of this model. */
export function unitsByName(arch: DecoderArchitecture, names: readonly string[]): NamedUnit[] {
  return [...new Set(names)].map((text) => {
    const unit = parseUnit(text);
    const layer = arch.layers[unit.layer];
    if (!layer || unit.index + unit.count > countOf(unit.kind, layer))
      throw new EspalierError("prune/unknown-unit", `the model has no ${text}`, {
        hint: layer
          ? `Layer ${unit.layer} has ${layer.queryHeads} heads, ${layer.kvGroups} KV groups and ${layer.neurons} neurons, counted from 0.`
          : `Layers are L0 to L${arch.layers.length - 1}.`,
      });
    return named(unit);
  });
}
