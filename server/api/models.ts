/** @file Models, texts and packages over the API. */
import { eq } from "drizzle-orm";
import { z } from "zod";
import { openCheckpoint } from "../../lib/checkpoint/checkpoint.ts";
import { weightList } from "../../lib/decoder/weights.ts";
import { EspalierError } from "../../lib/errors.ts";
import type { PackageSummary } from "../../lib/export/coreml/inspect.ts";
import { elementCount } from "../../lib/mil/types.ts";
import { computeUnits } from "../../lib/report/report.ts";
import { models, runs } from "../db/schema.ts";
import type { HubImports } from "../models/hub-import.ts";
import { getModel, importModel, listModels, modelFolder } from "../models/models.ts";
import { modelledPackage, packageSpeeds, placementOf } from "../packages/modelled.ts";
import { getPackage, listPackages, packageFolder } from "../packages/packages.ts";
import type { KeptCard } from "../packages/profile.ts";
import { figuresOfPackage, listReports } from "../reports/reports.ts";
import { addText, getText, listTexts } from "../texts/texts.ts";
import { type ApiContext, procedure, router } from "./trpc.ts";

const id = z.object({ id: z.string().min(1).max(120) });

const hubSource = z.object({
  repository: z.string().min(1).max(200).describe("Id of a Hugging Face repository"),
  revision: z.string().min(1).max(120).default("main").describe("Branch, tag or commit"),
});

function hubImports(ctx: ApiContext): HubImports {
  if (ctx.hubImports) return ctx.hubImports;
  throw new EspalierError("input/invalid", "nothing can be downloaded here", { hint: "Ask a running server." });
}

/** What a package says without its card's and contents' types lost. */
const typedPackage = (row: Awaited<ReturnType<typeof getPackage>>) => ({
  ...row,
  card: row.card as KeptCard,
  contents: row.contents as PackageSummary,
});

export const modelsRouter = router({
  list: procedure.query(async ({ ctx }) => (await listModels(ctx.core)).filter((m) => !m.archived)),

  get: procedure.input(id).query(async ({ ctx, input }) => {
    const model = await getModel(ctx.core, input.id);
    const all = await listModels(ctx.core);
    const ancestors: { id: string; parentId: string | null; runId: string | null; kind: string | null }[] = [];
    for (let at: typeof model | undefined = model; at; ) {
      const made = at.runId
        ? await ctx.core.db.select({ kind: runs.kind }).from(runs).where(eq(runs.id, at.runId))
        : [];
      ancestors.push({ id: at.id, parentId: at.parentId, runId: at.runId, kind: made[0]?.kind ?? null });
      const parent: string | null = at.parentId;
      at = ancestors.length > 50 ? undefined : all.find((m) => m.id === parent);
    }
    return { model, ancestors, children: all.filter((m) => m.parentId === model.id).map((m) => m.id) };
  }),

  /** Where the bytes are, and what each layer is made of. */
  anatomy: procedure.input(id).query(async ({ ctx, input }) => {
    const checkpoint = await openCheckpoint(await modelFolder(ctx.core, input.id));
    try {
      const arch = checkpoint.architecture;
      const tensors = [];
      for (const { name, shape, layer, role } of weightList(arch)) {
        const { type, sizeBytes } = checkpoint.stored(name);
        tensors.push({
          name,
          layer,
          role: String(role),
          shape: [...shape],
          elements: elementCount(shape),
          type,
          sizeBytes,
        });
      }
      const layers = arch.layers.map((l) => ({
        queryHeads: l.queryHeads,
        kvGroups: l.kvGroups,
        kvSource: l.kvSource,
        headDim: l.headDim,
        headToGroup: [...l.headToGroup],
        neurons: l.neurons,
        window: l.window,
      }));
      return { tensors, layers, hidden: arch.hidden, vocab: arch.vocab, maxPositions: arch.maxPositions };
    } finally {
      await checkpoint.close();
    }
  }),

  /** A checkpoint folder or .gguf file on the server's machine, or the files of an upload by its batch. */
  import: procedure
    .input(
      z.object({
        source: z.string().min(1).max(4096).describe("A checkpoint folder, a .gguf file, or upload:BATCH"),
        as: z.string().min(1).max(80).describe("The id to keep it under"),
      }),
    )
    .mutation(async ({ ctx, input }) => {
      const batch = /^upload:([\w-]+)$/.exec(input.source)?.[1];
      if (batch !== undefined && ctx.uploads) {
        const model = await importModel(ctx.core, await ctx.uploads.finishUpload(batch), { id: input.as });
        await ctx.uploads.discardUpload(batch);
        return model;
      }
      return importModel(ctx.core, input.source, { id: input.as });
    }),

  /** What a download from the hub would fetch. */
  hubSize: procedure.input(hubSource).query(({ ctx, input }) => hubImports(ctx).size(input.repository, input.revision)),

  /** Begins a download; `imports` follows it. */
  importFromHub: procedure
    .input(hubSource.extend({ as: z.string().min(1).max(80).describe("The id to keep it under") }))
    .mutation(({ ctx, input }) => hubImports(ctx).start(input.repository, input.revision, input.as)),

  imports: procedure.query(({ ctx }) => ctx.hubImports?.list() ?? []),

  cancelImport: procedure
    .input(z.object({ as: z.string().min(1).max(80).describe("The id it was to be kept under") }))
    .mutation(({ ctx, input }) => ({ cancelled: hubImports(ctx).cancel(input.as) })),

  /** The checkpoint as a folder on the server's machine. */
  folder: procedure.input(id).query(async ({ ctx, input }) => ({ folder: await modelFolder(ctx.core, input.id) })),

  update: procedure
    .input(id.extend({ note: z.string().max(10_000).optional(), archived: z.boolean().optional() }))
    .mutation(async ({ ctx, input: { id: modelId, ...set } }) => {
      await getModel(ctx.core, modelId);
      const given = Object.fromEntries(Object.entries(set).filter(([, v]) => v !== undefined));
      if (Object.keys(given).length > 0) await ctx.core.db.update(models).set(given).where(eq(models.id, modelId));
      await ctx.core.events.publish("models", { id: modelId });
      return getModel(ctx.core, modelId);
    }),
});

export const textsRouter = router({
  list: procedure.query(({ ctx }) => listTexts(ctx.core)),
  get: procedure.input(id).query(({ ctx, input }) => getText(ctx.core, input.id)),
  add: procedure
    .input(
      z.object({
        id: z.string().min(1).max(80).describe("The id to keep it under"),
        kind: z.enum(["text", "tasks"]).default("text").describe("Running text, or questions as JSONL"),
        content: z.string().max(64_000_000).describe("The text itself"),
        separator: z.string().max(80).optional().describe("Documents are split at this string"),
        split: z.enum(["train", "calibrate", "select", "report"]).optional().describe("What it is for"),
        note: z.string().max(1000).default(""),
      }),
    )
    .mutation(({ ctx, input }) =>
      addText(ctx.core, { ...input, separator: input.separator ?? null, split: input.split ?? null }),
    ),
});

export const packagesRouter = router({
  list: procedure.query(async ({ ctx }) => (await listPackages(ctx.core)).map(typedPackage)),
  /** With the reports on this very package and the figures that devices measured. */
  get: procedure.input(id).query(async ({ ctx, input }) => {
    const row = await getPackage(ctx.core, input.id);
    return {
      ...typedPackage(row),
      reports: await listReports(ctx.core, row.id),
      measured: await figuresOfPackage(ctx.core, row),
    };
  }),
  /** Speed by chip and context with the parameters in use now, which reports may have moved. */
  modelled: procedure
    .input(id)
    .query(async ({ ctx, input }) => modelledPackage(ctx.core, await getPackage(ctx.core, input.id))),
  /** Where operations run, by function, row of the decoder and layer: modelled, and as a report says. */
  placement: procedure
    .input(
      id.extend({
        report: z.string().min(1).max(60).optional().describe("A report on this package"),
        units: z.enum(computeUnits).optional().describe("Which of its runs; default: the first"),
      }),
    )
    .query(async ({ ctx, input }) => placementOf(ctx.core, await getPackage(ctx.core, input.id), input)),
  /** Tokens per second of every package by model: measured where a phone reported, and modelled. */
  speeds: procedure.query(({ ctx }) => packageSpeeds(ctx.core)),
  /** The package, its card and tokenizer as a folder on the server's machine. */
  folder: procedure.input(id).query(async ({ ctx, input }) => ({ folder: await packageFolder(ctx.core, input.id) })),
});
