/** @file Models: checkpoints the workbench knows by id, kept as folders in the artifact store. */
import { join } from "node:path";
import { desc, eq } from "drizzle-orm";
import { shippedForms, storedSize } from "../../experiments/kinds/tradeoff/made-of.ts";
import { type Checkpoint, openCheckpoint } from "../../lib/checkpoint/checkpoint.ts";
import { requireUsable } from "../../lib/checkpoint/usable.ts";
import { parameterCount } from "../../lib/decoder/weights.ts";
import { EspalierError } from "../../lib/errors.ts";
import { materializeDirectory, putDirectory } from "../artifacts/directory.ts";
import { type Core, materializedFolder } from "../core.ts";
import { type ModelFacts, models, runs } from "../db/schema.ts";

export type Model = typeof models.$inferSelect;

const idPattern = /^[\w][\w.-]{0,79}$/;

function factsOf(checkpoint: Checkpoint): ModelFacts {
  const arch = checkpoint.architecture;
  const shipped = storedSize(shippedForms(checkpoint).values());
  const parameters = parameterCount(arch);
  return {
    family: arch.family,
    parameters,
    layers: arch.layers.length,
    hidden: arch.hidden,
    vocab: arch.vocab,
    maxPositions: arch.maxPositions,
    queryHeads: arch.layers.map((l) => l.queryHeads),
    kvGroups: arch.layers.map((l) => l.kvGroups),
    mlpWidths: arch.layers.map((l) => l.neurons),
    weightBytes: shipped.sizeBytes,
    bitsPerWeight: shipped.bitsPerWeight,
    storedBytes: checkpoint.sizeBytes,
  };
}

/** Throws `input/invalid` for a text that cannot be a model's id. */
export function modelId(id: string): string {
  if (!idPattern.test(id)) {
    throw new EspalierError("input/invalid", `"${id}" is not a valid id for a model`, {
      hint: "Use letters, digits, dots, dashes and underscores, 80 at most.",
    });
  }
  return id;
}

/** As `registerModel`, for what people bring: it can be worked with at once, or is refused. What is odd about it is noted. */
export async function importModel(
  core: Core,
  path: string,
  given: { id: string; note?: string; signal?: AbortSignal },
): Promise<Model> {
  const { id, note, signal } = given;
  modelId(id);
  const checkpoint = await openCheckpoint(path);
  let notes: string[];
  try {
    notes = await requireUsable(checkpoint, signal);
  } finally {
    await checkpoint.close();
  }
  const whole = [...(note === undefined ? [] : [note]), ...notes].join("; ");
  return registerModel(core, path, whole === "" ? { id } : { id, note: whole });
}

/** Checks a checkpoint, a folder or a .gguf file, and keeps it under `id`. Throws `store/exists` when another model has the id. */
export async function registerModel(
  core: Core,
  path: string,
  given: { id: string; parentId?: string | null; runId?: string | null; note?: string },
): Promise<Model> {
  modelId(given.id);
  const checkpoint = await openCheckpoint(path);
  // Of a cache, one snapshot; of a folder with a .gguf file, the file.
  const place = checkpoint.path;
  let hash: string;
  let facts: ModelFacts;
  try {
    hash = await checkpoint.hash();
    facts = factsOf(checkpoint);
  } finally {
    await checkpoint.close();
  }
  const { sha256: artifact, sizeBytes } = await putDirectory(core.artifacts, place);
  const [existing] = await core.db.select().from(models).where(eq(models.id, given.id));
  if (existing) {
    if (existing.hash === hash && existing.artifact === artifact) return existing;
    // An attempt that died after this had registered its own; nobody was told of that one.
    if (given.runId && existing.runId === given.runId) {
      const [replaced] = await core.db
        .update(models)
        .set({ hash, artifact, sizeBytes, facts })
        .where(eq(models.id, given.id))
        .returning();
      if (replaced) return replaced;
    }
    throw new EspalierError("store/exists", `another model is called "${given.id}"`, { hint: "Choose another id." });
  }
  const [model] = await core.db
    .insert(models)
    .values({ ...given, hash, artifact, sizeBytes, facts })
    .onConflictDoNothing()
    .returning();
  // Somebody took the id meanwhile; looking again says who.
  if (!model) return registerModel(core, path, given);
  await core.events.publish("models", { id: model.id });
  return model;
}

export async function getModel(core: Core, id: string): Promise<Model> {
  const [model] = await core.db.select().from(models).where(eq(models.id, id));
  if (!model)
    throw new EspalierError("model/missing-file", `there is no model "${id}"`, {
      hint: "See the list of models.",
    });
  return model;
}

export interface Ancestor {
  readonly id: string;
  readonly parentId: string | null;
  readonly runId: string | null;
  /** Of the run that made it. */
  readonly kind: string | null;
}

/** A model, what it was made from step by step, itself first, and what was made from it. */
export async function modelWithRelatives(
  core: Core,
  id: string,
): Promise<{ model: Model; ancestors: Ancestor[]; children: string[] }> {
  const model = await getModel(core, id);
  const all = await listModels(core);
  const ancestors: Ancestor[] = [];
  for (let at: Model | undefined = model; at && ancestors.length <= 50; ) {
    const { runId, parentId }: Model = at;
    const [made] = runId ? await core.db.select({ kind: runs.kind }).from(runs).where(eq(runs.id, runId)) : [];
    ancestors.push({ id: at.id, parentId, runId, kind: made?.kind ?? null });
    at = all.find((m) => m.id === parentId);
  }
  return { model, ancestors, children: all.filter((m) => m.parentId === id).map((m) => m.id) };
}

export async function updateModel(
  core: Core,
  id: string,
  set: { readonly note?: string | undefined; readonly archived?: boolean | undefined },
): Promise<Model> {
  await getModel(core, id);
  const given = Object.fromEntries(Object.entries(set).filter(([, v]) => v !== undefined));
  if (Object.keys(given).length > 0) await core.db.update(models).set(given).where(eq(models.id, id));
  await core.events.publish("models", { id });
  return getModel(core, id);
}

/** The model that this one was first made from, over however many runs, as far as it is known; itself when it was brought. */
export async function firstAncestor(core: Core, id: string): Promise<Model> {
  let model = await getModel(core, id);
  const seen = new Set([id]);
  while (model.parentId !== null && !seen.has(model.parentId)) {
    seen.add(model.parentId);
    const [parent] = await core.db.select().from(models).where(eq(models.id, model.parentId));
    if (!parent) break;
    model = parent;
  }
  return model;
}

export const listModels = (core: Core): Promise<Model[]> =>
  core.db.select().from(models).orderBy(desc(models.createdAt));

/** The checkpoint of a model on this machine: a folder that `openCheckpoint` takes. */
export async function modelFolder(core: Core, id: string): Promise<string> {
  const { artifact } = await getModel(core, id);
  // The last part of the path is what a curve or a table would call the model.
  const folder = join(materializedFolder(core, artifact), "checkpoint");
  await materializeDirectory(core.artifacts, artifact, folder);
  return folder;
}

/** A legible id that no other model has: from the name, with the end of the run's id where that is taken. */
export async function freeModelId(core: Core, name: string, runId: string): Promise<string> {
  const plain =
    name
      .normalize("NFKD")
      .replaceAll(/[^\w.-]+/g, "-")
      .replaceAll(/^[-.]+|-+$/g, "")
      .slice(0, 60) || "model";
  const [taken] = await core.db.select({ runId: models.runId }).from(models).where(eq(models.id, plain));
  return !taken || taken.runId === runId ? plain : `${plain}-${runId.slice(-4)}`;
}

/** Models that were registered when only their stored bytes were counted are counted again. */
export async function completeFacts(core: Core): Promise<void> {
  for (const { id, facts } of await core.db.select().from(models)) {
    if (facts.storedBytes !== undefined) continue;
    // One whose files are gone keeps what was known of it.
    const checkpoint = await modelFolder(core, id)
      .then(openCheckpoint)
      .catch(() => null);
    if (!checkpoint) continue;
    await core.db
      .update(models)
      .set({ facts: factsOf(checkpoint) })
      .where(eq(models.id, id));
    await checkpoint.close();
  }
}
