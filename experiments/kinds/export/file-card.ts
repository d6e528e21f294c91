/**
 * @file Tells a file or folder that another program runs (llama.cpp, mlx-lm) from a package for Apple's runtime, which alone has
 * functions, modelled devices and reports of phones. For pages too, so without the cards' schemas.
 */
import type { ExportCard } from "./card.ts";

export type FileTarget = Exclude<ExportCard["to"], "coreml">;

/** Cards from before there were other targets name none. */
export const isFileCard = <C extends { readonly to?: ExportCard["to"] | undefined }>(
  card: C,
): card is Extract<C, { to: FileTarget }> => (card.to ?? "coreml") !== "coreml";
