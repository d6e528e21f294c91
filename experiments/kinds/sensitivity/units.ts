/** @file The units a sensitivity run takes away, by kind: their names and the gates that close them. */
import type { GateUnit } from "../../../lib/compress/importance/leave-one-out.ts";
import type { DecoderArchitecture } from "../../../lib/decoder/architecture.ts";
import { EspalierError } from "../../../lib/errors.ts";
import { parseUnit, showUnit, type UnitKind } from "../../../lib/ids.ts";

export const gateUnitKinds = ["heads", "groups", "neurons", "attention", "mlp", "layers"] as const;
export type GateUnitKind = (typeof gateUnitKinds)[number];

export interface NamedUnit {
  readonly name: string;
  readonly gate: GateUnit;
}

export const NEURON_BLOCK = 32;

/** All gate units of the asked-for kinds; neurons in blocks, of which the last of a layer may be smaller. */
export function unitsOf(
  arch: DecoderArchitecture,
  kinds: readonly GateUnitKind[],
  neuronBlock: number = NEURON_BLOCK,
): NamedUnit[] {
  return arch.layers.flatMap((layer, l) =>
    kinds.flatMap((kind): NamedUnit[] => {
      const named = (unit: "head" | "group" | "neuron", gate: GateUnit): NamedUnit => ({
        name: showUnit({ kind: unit, layer: l, index: gate.index, count: gate.count ?? 1 }),
        gate,
      });
      if (kind === "heads" || kind === "groups") {
        const count = kind === "heads" ? layer.queryHeads : layer.kvGroups;
        return Array.from({ length: count }, (_, index) =>
          named(kind === "heads" ? "head" : "group", { layer: l, kind, index }),
        );
      }
      if (kind === "neurons") {
        return Array.from({ length: Math.ceil(layer.neurons / neuronBlock) }, (_, b) => {
          const index = b * neuronBlock;
          const count = Math.min(neuronBlock, layer.neurons - index);
          return named("neuron", { layer: l, kind, index, count });
        });
      }
      if (kind === "layers") return [{ name: `L${l}`, gate: { layer: l, kind: "layer", index: 0 } }];
      return [{ name: `L${l}.${kind === "attention" ? "attn" : "mlp"}`, gate: { layer: l, kind, index: 0 } }];
    }),
  );
}

const gateKinds: Record<UnitKind, GateUnitKind> = {
  head: "heads",
  group: "groups",
  neuron: "neurons",
  attention: "attention",
  mlp: "mlp",
  layer: "layers",
};

export const gateKindOf = (kind: UnitKind): GateUnitKind => gateKinds[kind];

function widthOf(kind: UnitKind, layer: DecoderArchitecture["layers"][number]): number {
  if (kind === "head") return layer.queryHeads;
  if (kind === "group") return layer.kvGroups;
  return kind === "neuron" ? layer.neurons : 1;
}

/** Units by name. Throws `prune/unknown-unit` for what is no unit of this model. */
export function unitsByName(arch: DecoderArchitecture, names: readonly string[]): (NamedUnit & { of: GateUnitKind })[] {
  return [...new Set(names)].map((text) => {
    const { kind, layer: l, index, count } = parseUnit(text);
    const layer = arch.layers[l];
    const width = layer ? widthOf(kind, layer) : 0;
    if (!layer || index + count > width)
      throw new EspalierError("prune/unknown-unit", `the model has no ${text}`, {
        hint: layer
          ? `Layer ${l} has ${layer.queryHeads} heads, ${layer.kvGroups} KV groups and ${layer.neurons} neurons, counted from 0.`
          : `Layers are L0 to L${arch.layers.length - 1}.`,
      });
    const of = gateKinds[kind];
    return {
      name: showUnit({ kind, layer: l, index, count }),
      gate: { layer: l, kind: of === "layers" ? "layer" : of, index, ...(kind === "neuron" ? { count } : {}) },
      of,
    };
  });
}
