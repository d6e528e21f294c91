/** @file The channels of a unit, and what their inputs were. */
import type { ChannelStatistics } from "../../../../lib/compress/importance/activation-inputs.ts";
import { type SilencedColumns, silencedColumns } from "../../../../lib/compress/importance/gates.ts";
import { EspalierError } from "../../../../lib/errors.ts";
import { showUnit, type UnitId } from "../../../../lib/units.ts";
import type { LayerInputs } from "./metric.ts";

/** Statistics by sequence, of the input of the projection that reads the unit. */
export function channelsOf(
  unit: UnitId,
  { arch, layer }: LayerInputs,
): SilencedColumns & { readonly statistics: readonly ChannelStatistics[] } {
  const [silenced, more] = silencedColumns(unit, arch);
  if (!silenced || more)
    throw new EspalierError("internal/invariant", `internal: ${showUnit(unit)} is not read by one projection`);
  const { inner, attended } = layer(unit.layer);
  return { ...silenced, statistics: silenced.of === "down" ? inner : attended };
}
