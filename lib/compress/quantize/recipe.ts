/**
 * @file A recipe: the width at which each matrix of a model is stored.
 *
 * Rules go from general to specific; the more specific one wins:
 *
 *   default  <  attention, mlp, embedding  <  roles (`down`)  <  layers (`3`)  <  tensors (`L3.down`, `embedding`)
 *
 * `embedding` also covers a separate head and the table of per-layer embeddings; matrices after the
 * MLP count as part of it. A recipe is plain data, so a page can build one and a config can store
 * it.
 */
import { z } from "zod";
import type { DecoderArchitecture } from "../../decoder/architecture.ts";
import { partOfRole } from "../../decoder/sequence-programs.ts";
import { type WeightEntry, weightList } from "../../decoder/weights.ts";
import { EspalierError } from "../../errors.ts";
import { tensorUnit } from "../../units.ts";
import { type Width, widths } from "./width.ts";

const width = z.enum(widths);
const matrixRoles = [
  "embedding",
  "head",
  "query",
  "key",
  "value",
  "output",
  "gate",
  "up",
  "down",
  "perLayerEmbedding",
  "perLayerContext",
  "perLayerGate",
  "perLayerProjection",
] as const;

export const quantizationRecipe = z.strictObject({
  default: width.optional(),
  embedding: width.optional(),
  attention: width.optional(),
  mlp: width.optional(),
  roles: z.partialRecord(z.enum(matrixRoles), width).optional(),
  layers: z.record(z.string().regex(/^\d+$/, "layers are numbers"), width).optional(),
  tensors: z.record(z.string(), width).optional(),
});
export type QuantizationRecipe = z.infer<typeof quantizationRecipe>;

/** The width of one matrix; `fallback` where the recipe does not mention it. */
export function widthOf(recipe: QuantizationRecipe, entry: WeightEntry, fallback: Width): Width {
  const { layer, role } = entry;
  const kind = layer !== null ? recipe[partOfRole(role)] : role === "perLayerContext" ? undefined : recipe.embedding;
  const byRole = recipe.roles?.[role as (typeof matrixRoles)[number]];
  const byLayer = layer === null ? undefined : recipe.layers?.[String(layer)];
  return recipe.tensors?.[tensorUnit(entry.name)] ?? byLayer ?? byRole ?? kind ?? recipe.default ?? fallback;
}

/** The width of every matrix by its name as a unit. Throws `input/invalid` when the recipe names a
 * tensor or layer that does not exist. */
export function widthsOf(
  recipe: QuantizationRecipe,
  arch: DecoderArchitecture,
  fallback: Width,
): Record<string, Width> {
  const entries = weightList(arch).filter((w) => w.shape.length > 1);
  const names = new Set(entries.map((e) => tensorUnit(e.name)));
  const unknown = Object.keys(recipe.tensors ?? {}).find((name) => !names.has(name));
  if (unknown !== undefined) {
    throw new EspalierError("input/invalid", `the recipe names ${unknown}, but the model has no such tensor`, {
      hint: `Tensors are ${[...names].slice(0, 3).join(", ")}, … ${[...names].at(-1)}.`,
    });
  }
  const beyond = Object.keys(recipe.layers ?? {}).find((l) => Number(l) >= arch.layers.length);
  if (beyond !== undefined) {
    throw new EspalierError("input/invalid", `the recipe names layer ${beyond}, the model has ${arch.layers.length}`, {
      hint: `Layers are 0 to ${arch.layers.length - 1}.`,
    });
  }
  return Object.fromEntries(entries.map((e) => [tensorUnit(e.name), widthOf(recipe, e, fallback)]));
}
