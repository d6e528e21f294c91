/**
 * @file What each tensor loses at each width, as far as it is measured: for a run that is still at work as for one that is done.
 *
 * Of a run that is done its summary says it, of another the units that it has measured or found measured; so nothing has to be
 * told to the page but that there is news.
 */
import { and, eq } from "drizzle-orm";
import { z } from "zod";
import {
  fixedBytesOf,
  type SensitivityConfig,
  type SensitivitySummary,
  sensitivityConfig,
} from "../../experiments/kinds/sensitivity/sensitivity.ts";
import { tensorCell, type WidthMap, widthMapOf } from "../../experiments/kinds/sensitivity/width-map.ts";
import { openCheckpoint } from "../../lib/checkpoint/checkpoint.ts";
import { EspalierError } from "../../lib/errors.ts";
import type { Core } from "../core.ts";
import { models, runs } from "../db/schema.ts";
import { modelFolder } from "../models/model-registry.ts";
import { getRun, type Run } from "./lifecycle.ts";
import { resolveModelReference } from "./references.ts";
import { unitValues } from "./stored-units.ts";

export const widthMapInput = z.object({
  id: z.string().min(1).max(60).describe("Id of a sensitivity run of tensors"),
});

export interface RunWidthMap extends WidthMap {
  readonly runId: string;
  readonly state: string;
  /** The cell at work, as `L4.value palette3`; null when none is. */
  readonly measuring: string | null;
  readonly done: number;
  readonly total: number;
  /** Checkpoints that were made by a recipe from this model and then measured whole, with KL per token. */
  readonly finalists: {
    model: string;
    sizeBytes: number;
    recipe: Record<string, string>;
    kl: number;
    standardError: number;
  }[];
}

const withRecipe = z.object({ sizeBytes: z.number(), recipe: z.record(z.string(), z.string()) });
const withKl = z.object({ text: z.object({ kl: z.object({ mean: z.number(), standardError: z.number() }) }) });

/** Throws `input/invalid` for a run that makes no width map. */
export async function runWidthMap(core: Core, id: string): Promise<RunWidthMap> {
  const run = await getRun(core, id);
  const parsed = sensitivityConfig.safeParse(run.config);
  if (run.kind !== "sensitivity" || !parsed.success || !parsed.data.units.includes("tensors")) {
    throw new EspalierError("input/invalid", `${id} does not measure tensors`, {
      hint: "Give a sensitivity run whose units include tensors.",
    });
  }
  const config = parsed.data;
  const modelId = await resolveModelReference(core, config.model);
  const matrix = await measuredSoFar(core, run, config, modelId);
  return {
    ...matrix,
    runId: run.id,
    state: run.state,
    measuring: run.state === "running" ? (run.progress?.label ?? null) : null,
    done: matrix.cells.length,
    total: matrix.columns.length * matrix.widths.length,
    finalists: await finalistsOf(core, modelId, String(config.text)),
  };
}

async function measuredSoFar(core: Core, run: Run, config: SensitivityConfig, modelId: string): Promise<WidthMap> {
  // The summary is what the experiment of this kind wrote.
  const { tensors } = (run.summary as SensitivitySummary | null) ?? {};
  if (tensors) return tensors;
  const checkpoint = await openCheckpoint(await modelFolder(core, modelId));
  const arch = checkpoint.architecture;
  await checkpoint.close();
  const cells = (await unitValues(core, run.id)).flatMap((value) => {
    const cell = tensorCell.safeParse(value);
    return cell.success ? [cell.data] : [];
  });
  return widthMapOf(arch, fixedBytesOf(arch), config.widths, cells);
}

/** Quantized from this very model, and evaluated beside it on the same text. */
async function finalistsOf(core: Core, modelId: string, text: string): Promise<RunWidthMap["finalists"]> {
  const made = await core.db
    .select()
    .from(runs)
    .where(and(eq(runs.kind, "quantize"), eq(runs.state, "succeeded")));
  // Configs name a model by its id, or by the run that makes it.
  const isNamed = (reference: unknown, by: (typeof made)[number]): boolean =>
    reference === by.outputModelId || reference === `run:${by.id}`;
  const [origin] = await core.db.select({ runId: models.runId }).from(models).where(eq(models.id, modelId));
  const isOwn = (reference: unknown): boolean =>
    reference === modelId || (origin?.runId != null && reference === `run:${origin.runId}`);
  const own = made.filter((r) => isOwn(r.config.model) && r.outputModelId !== null);
  if (own.length === 0) return [];
  const measured = await core.db
    .select()
    .from(runs)
    .where(and(eq(runs.kind, "evaluate"), eq(runs.state, "succeeded")));
  return own.flatMap((r) => {
    const recipe = withRecipe.safeParse(r.summary);
    const by = measured.find(
      (m) => isNamed(m.config.model, r) && isOwn(m.config.base) && String(m.config.text) === text,
    );
    const kl = withKl.safeParse(by?.summary);
    if (!recipe.success || !kl.success || r.outputModelId === null) return [];
    return [
      {
        model: r.outputModelId,
        ...recipe.data,
        kl: kl.data.text.kl.mean,
        standardError: kl.data.text.kl.standardError,
      },
    ];
  });
}
