/**
 * @file Export: write a package, read it back, run it here, compare it with the model it came from.
 *
 * Everything specific to a target is in its exporter (`exporter.ts`), nothing here. A package is
 * ready when it is faithful (it computes the same as its model) and good (its model still predicts
 * what the original predicts, `quality.ts`). One that could not be run here is `unexecuted`, never
 * ready. The card records all of it.
 */
import type { Maker } from "../../definition.ts";
import type { ExportCard } from "./card.ts";
import { type ExportConfig, exportConfig } from "./config.ts";
import { coremlExporter } from "./coreml-exporter.ts";
import { type ExportRequest, exportTo } from "./exporter.ts";
import { exporterOf } from "./exporters.ts";
import { ggufExporter } from "./gguf-exporter.ts";
import { mlxExporter } from "./mlx-exporter.ts";

export type { ExportCard } from "./card.ts";

export interface ExportSummary {
  readonly card: ExportCard;
  readonly out: string;
}

export const exportExperiment: Maker<"export", ExportConfig, ExportSummary> = {
  kind: "export",
  makes: "package",
  doing: "exporting",
  version: 3,
  title: "A checked package",
  step: { name: "Package", what: "Check it, then try a phone." },
  figure: null,
  config: exportConfig,
  check: async (config, { modelShape }) => exporterOf(config.to).check(config, await modelShape(config.model)),
  async make(config, context, folder) {
    const model = await context.models.files(config.model);
    return { card: await exported({ config, model, context }, folder), out: folder.path };
  },
  headline: ({ card }) => ({
    bytes: card.sizeBytes,
    "bits per weight": card.bitsPerWeight,
    "parity KL": card.parity.meanKl,
    ready: card.ready ? 1 : 0,
  }),
};

function exported(
  request: Omit<ExportRequest, "folder" | "provenance">,
  output: { path: string; replace: boolean },
): Promise<ExportCard> {
  const { to } = request.config;
  switch (to) {
    case "coreml":
      return exportTo(coremlExporter, request, output);
    case "gguf":
      return exportTo(ggufExporter, request, output);
    case "mlx":
      return exportTo(mlxExporter, request, output);
  }
}
