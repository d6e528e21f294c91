/** @file The targets that can be exported to, by the name that `--to` takes. */
import type { ExportCard } from "./card.ts";
import type { ExportConfig, targets } from "./config.ts";
import { coremlExporter } from "./coreml-exporter.ts";
import type { Exporter } from "./exporter.ts";
import { ggufExporter } from "./gguf-exporter.ts";
import { mlxExporter } from "./mlx-exporter.ts";

/** The facts about a target that need no package. */
type AnyExporter = Pick<Exporter<{ path: string }, unknown, ExportCard>, "id" | "check" | "contents" | "hash">;

const exporters: Readonly<Record<(typeof targets)[number], AnyExporter>> = {
  coreml: coremlExporter,
  gguf: ggufExporter,
  mlx: mlxExporter,
};

export const exporterOf = (to: ExportConfig["to"]): AnyExporter => exporters[to];
