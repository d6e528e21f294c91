/** @file The units a sensitivity run takes away, by kind: their names and the gates that close them. */
import type { GateUnit } from "../../lib/compress/importance/leave-one-out.ts";
import type { DecoderArchitecture } from "../../lib/decoder/architecture.ts";
import { showUnit } from "../../lib/ids.ts";

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
