/**
 * @file The gates that removing a unit closes in the block program of its layer, and the channels
 * that become 0 as a result.
 *
 * Removing a layer removes everything it adds to the stream. Its keys and values stay for the
 * layers that read them, and so does its scalar, which a model without the layer would fold into
 * the one before.
 */
import type { DecoderArchitecture } from "../../decoder/architecture.ts";
import type { GateKind } from "../../decoder/sequence-programs.ts";
import type { UnitKind } from "../../units.ts";
import { headsOfGroup } from "../prune/prune-selection.ts";

/** A unit, or the contribution of a layer's embeddings, which can be closed although it is not a
 * unit. */
export interface GateUnit {
  readonly kind: UnitKind | "perLayer";
  readonly layer: number;
  readonly index: number;
  /** 1 when left out. */
  readonly count?: number;
}

/** Gates `from` … `to` of one kind. */
export interface ClosedGates {
  readonly kind: GateKind;
  readonly from: number;
  readonly to: number;
}

/** The gates that a unit closes in its own layer. */
export function closedGates({ kind, index, count = 1 }: GateUnit, arch: DecoderArchitecture): ClosedGates[] {
  if (kind !== "layers") return [{ kind, from: index, to: index + count }];
  const whole: readonly GateKind[] = arch.perLayer ? ["attention", "mlp", "perLayer"] : ["attention", "mlp"];
  return whole.map((gate) => ({ kind: gate, from: 0, to: 1 }));
}

/** The gate kinds that removing a unit turns off. */
export const gateKindsOf = (unit: GateUnit, arch: DecoderArchitecture): GateKind[] =>
  closedGates(unit, arch).map((g) => g.kind);

export interface SilencedColumns {
  /** Whose input becomes 0: the output projection or the down projection. */
  readonly of: "output" | "down";
  /** Stretches of its columns. */
  readonly ranges: readonly (readonly [from: number, to: number])[];
}

/** The columns that a unit silences in its own layer: of a head, a KV group, neurons, or a whole half of a block. */
export function silencedColumns(unit: GateUnit, arch: DecoderArchitecture): SilencedColumns[] {
  const layer = arch.layers[unit.layer];
  if (!layer) return [];
  const { headDim } = layer;
  const heads = (list: readonly number[]) => list.map((h) => [h * headDim, (h + 1) * headDim] as const);
  return closedGates(unit, arch).flatMap(({ kind, from, to }): SilencedColumns[] => {
    if (kind === "heads") return [{ of: "output", ranges: heads([from]) }];
    if (kind === "groups") {
      const own = headsOfGroup(arch, unit.layer, from).filter((p) => p.layer === unit.layer);
      return [{ of: "output", ranges: heads(own.flatMap((p) => p.heads)) }];
    }
    if (kind === "attention") return [{ of: "output", ranges: [[0, layer.queryHeads * headDim]] }];
    if (kind === "neurons") return [{ of: "down", ranges: [[from, to]] }];
    return kind === "mlp" ? [{ of: "down", ranges: [[0, layer.neurons]] }] : [];
  });
}
