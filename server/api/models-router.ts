/** @file Models over the API. */
import { z } from "zod";
import { exportConfig } from "../../experiments/kinds/export/config.ts";
import { EspalierError } from "../../lib/errors.ts";
import { anatomyOf } from "../models/anatomy.ts";
import type { HubImports } from "../models/hub-import.ts";
import { importModel, listModels, modelFolder, modelWithRelatives, updateModel } from "../models/model-registry.ts";
import { modelFigures } from "../packages/model-figures.ts";
import { type ApiContext, procedure, router } from "./trpc.ts";

const id = z.object({ id: z.string().min(1).max(120) });

const { target, contexts, layout, name } = exportConfig.shape;
const figuresOptions = { target: target.unwrap().optional(), contexts, layout, name: name.unwrap().optional() };

const hubSource = z.object({
  repository: z.string().min(1).max(200).describe("Id of a Hugging Face repository"),
  revision: z.string().min(1).max(120).default("main").describe("Branch, tag or commit"),
});

function hubImports(ctx: ApiContext): HubImports {
  if (ctx.hubImports) return ctx.hubImports;
  throw new EspalierError("input/invalid", "this process cannot download models", {
    hint: "Ask a running server: start one with `espalier start`.",
  });
}

export const modelsRouter = router({
  list: procedure.query(async ({ ctx }) => (await listModels(ctx.core)).filter((m) => !m.archived)),

  get: procedure.input(id).query(({ ctx, input }) => modelWithRelatives(ctx.core, input.id)),

  /** Bytes of its weights and of its package, and how fast it decodes on a phone, as it would be exported with these options. */
  figures: procedure
    .input(id.extend(figuresOptions))
    .query(({ ctx, input: { id: modelId, ...options } }) => modelFigures(ctx.core, modelId, options)),

  /** Where the bytes are, and what each layer is made of. */
  anatomy: procedure.input(id).query(({ ctx, input }) => anatomyOf(ctx.core, input.id)),

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
    .input(z.object({ as: z.string().min(1).max(80).describe("The id it was being imported under") }))
    .mutation(({ ctx, input }) => ({ cancelled: hubImports(ctx).cancel(input.as) })),

  /** The checkpoint as a folder on the server's machine. */
  folder: procedure.input(id).query(async ({ ctx, input }) => ({ folder: await modelFolder(ctx.core, input.id) })),

  update: procedure
    .input(id.extend({ note: z.string().max(10_000).optional(), archived: z.boolean().optional() }))
    .mutation(({ ctx, input: { id: modelId, ...set } }) => updateModel(ctx.core, modelId, set)),
});
