/**
 * @file Compares where operations were expected to run with where Core ML prefers to run them, by
 * row of the decoder and layer.
 *
 * A cell holds several operations. Each side shows the unit of most of them; ties go to the unit
 * farther from the Neural Engine. If any operation is reported on a different unit from the
 * modelled one, the cell differs and the reported side shows the unit of those operations.
 * Operations that a plan does not name, or gives no unit for, are ignored.
 */
import { type Row, rows, type Unit } from "../cost/placement.ts";
import type { PlacedOperation } from "../cost/program-profile.ts";
import type { Report } from "./report.ts";

export type ReportedOperation = Report["runs"][number]["placement"][number]["operations"][number];

export interface PlacementCell {
  readonly layer: number | null;
  readonly modelled: Unit;
  /** Null where no report names any of its operations. */
  readonly reported: Unit | null;
  readonly operations: number;
  /** Operations that were reported on another unit than modelled. */
  readonly differing: readonly { readonly output: string; readonly operator: string; readonly reported: Unit }[];
}

export interface PlacementRow {
  readonly row: Row;
  readonly cells: readonly PlacementCell[];
}

const unitOf = { neuralEngine: "ANE", gpu: "GPU", cpu: "CPU", unknown: null } as const;

/** Rows in the order of a decoder, cells by layer, those outside layers first. `reported` null: nothing was. */
export function comparePlacement(
  modelled: readonly PlacedOperation[],
  reported: readonly ReportedOperation[] | null,
): PlacementRow[] {
  const found = new Map((reported ?? []).map((o) => [o.output, unitOf[o.preferred]]));
  return rows.flatMap((row) => {
    const byLayer = new Map<number | null, PlacedOperation[]>();
    for (const op of modelled) if (op.row === row) byLayer.set(op.layer, [...(byLayer.get(op.layer) ?? []), op]);
    if (byLayer.size === 0) return [];
    const cells = [...byLayer]
      .sort(([a], [b]) => (a ?? -1) - (b ?? -1))
      .map(([layer, operations]): PlacementCell => {
        const known = operations.flatMap((o) => {
          const unit = found.get(o.output);
          return unit ? [{ ...o, reported: unit }] : [];
        });
        const differing = known
          .filter((o) => o.reported !== o.unit)
          .map(({ output, operator, reported: unit }) => ({ output, operator, reported: unit }));
        const shown = differing.length > 0 ? differing : known;
        return {
          layer,
          modelled: mostly(operations.map((o) => o.unit)) ?? "ANE",
          reported: mostly(shown.map((o) => o.reported)),
          operations: operations.length,
          differing,
        };
      });
    return [{ row, cells }];
  });
}

function mostly(units: readonly Unit[]): Unit | null {
  const count = (unit: Unit): number => units.filter((u) => u === unit).length;
  const [first, ...others] = (["ANE", "GPU", "CPU"] as const).filter((u) => count(u) > 0);
  return first ? others.reduce<Unit>((best, u) => (count(u) >= count(best) ? u : best), first) : null;
}
