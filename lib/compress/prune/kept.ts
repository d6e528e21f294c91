/**
 * @file Which parts of the original model a pruned model still has. The record is written into its
 * config and carried along when the model is pruned again, distilled or quantized.
 *
 * One entry per layer: its original index, and the heads and neurons of it that remain, as runs
 * (`0-3,6`).
 */
import { z } from "zod";
import type { DecoderArchitecture } from "../../decoder/architecture.ts";
import { EspalierError } from "../../errors.ts";
import { parseRuns, showRuns } from "../../units.ts";
import type { PruneSelection } from "./prune-selection.ts";

const keptSchema = z.looseObject({
  kept: z.array(z.object({ layer: z.number().int().nonnegative(), heads: z.string(), neurons: z.string() })).optional(),
});

export interface KeptLayer {
  /** In the model it began as. */
  readonly layer: number;
  readonly heads: readonly number[];
  readonly neurons: readonly number[];
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

/** From the config of a checkpoint; everything if it was never pruned. Throws `model/config`. */
export function keptOf(config: Readonly<Record<string, unknown>>, arch: DecoderArchitecture): KeptLayer[] {
  const parsed = keptSchema.safeParse(config.espalier ?? {});
  if (!parsed.success)
    throw new EspalierError("model/config", `config.json: espalier.kept: ${parsed.error.issues[0]?.message}`);
  const found = parsed.data.kept?.map((k) => ({
    layer: k.layer,
    heads: parseRuns(k.heads),
    neurons: parseRuns(k.neurons),
  }));
  if (!found) return arch.layers.map((l, layer) => ({ layer, heads: upTo(l.queryHeads), neurons: upTo(l.neurons) }));
  const fits =
    found.length === arch.layers.length &&
    arch.layers.every((l, i) => l.queryHeads === found[i]?.heads.length && l.neurons === found[i]?.neurons.length);
  if (!fits) throw new EspalierError("model/config", "config.json: espalier.kept does not fit the model's layers");
  return found;
}

/** After removing `drop`, which is in the numbering of the current model. */
export const keptAfter = (kept: readonly KeptLayer[], drop: PruneSelection): KeptLayer[] =>
  kept.flatMap((k, l) =>
    drop.layers.includes(l)
      ? []
      : [
          {
            layer: k.layer,
            heads: k.heads.filter((_, h) => !drop.heads[l]?.includes(h)),
            neurons: k.neurons.filter((_, n) => !drop.neurons[l]?.includes(n)),
          },
        ],
  );

/** As it stands in a config. */
export const keptForConfig = (kept: readonly KeptLayer[]): { layer: number; heads: string; neurons: string }[] =>
  kept.map((k) => ({ layer: k.layer, heads: showRuns(k.heads), neurons: showRuns(k.neurons) }));
