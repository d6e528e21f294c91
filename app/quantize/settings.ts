/**
 * @file What a width map is asked for: how tensors are stored, on which text; as a page's address and as a run's config. Pure.
 */
import type { Weighting } from "../../experiments/statistics.ts";
import type { Width } from "../../lib/compress/quantize/width.ts";

export const schemes = {
  palette: { name: "Palettes", weighting: "none", isPalette: true },
  "palette-activation": { name: "Palettes, activation-weighted", weighting: "activation", isPalette: true },
  "palette-fisher": { name: "Palettes, Fisher-weighted", weighting: "fisher", isPalette: true },
  affine: { name: "Integers", weighting: "none", isPalette: false },
  "affine-activation": { name: "Integers, activation-weighted", weighting: "activation", isPalette: false },
} as const satisfies Record<string, { name: string; weighting: Weighting; isPalette: boolean }>;
export type SchemeId = keyof typeof schemes;
export const schemeIds = Object.keys(schemes) as SchemeId[];

/** Output channels a palette serves; input channels a scale serves, 0 for the whole row. */
export const groupChoices = (scheme: SchemeId): readonly number[] =>
  schemes[scheme].isPalette ? [8, 16, 32] : [32, 64, 128, 0];

export interface Settings {
  readonly model: string;
  readonly scheme: SchemeId;
  readonly group: number;
  readonly text: string;
  readonly separator: string | null;
  readonly limit: number;
}

const paletteWidths: readonly Width[] = ["palette8", "palette6", "palette4", "palette3", "palette2"];
const affineWidths: readonly Width[] = ["affine8", "affine4"];

export const widthsOf = (scheme: SchemeId): readonly Width[] =>
  schemes[scheme].isPalette ? paletteWidths : affineWidths;

/** How tensors are stored, for the width map and for the checkpoint that is made from it. */
export const storageFor = ({ scheme, group }: Pick<Settings, "scheme" | "group">): Record<string, unknown> => ({
  weighting: schemes[scheme].weighting,
  ...(schemes[scheme].isPalette ? { rowsPerTable: group } : group > 0 ? { groupSize: group } : {}),
});

export const textFor = ({
  text,
  separator,
  limit,
}: Pick<Settings, "text" | "separator" | "limit">): Record<string, unknown> => ({
  text,
  ...(separator ? { separator } : {}),
  limit,
});

export const widthMapConfig = (settings: Settings): Record<string, unknown> => ({
  model: settings.model,
  units: ["tensors"],
  widths: [...widthsOf(settings.scheme)],
  ...storageFor(settings),
  ...textFor(settings),
});

/** A run's config as the pickers would say it; null when it measures no tensors or they cannot say it. */
export function settingsOf(config: Readonly<Record<string, unknown>>): Settings | null {
  const {
    model,
    text,
    units,
    widths,
    weighting = "activation",
    rowsPerTable = 16,
    groupSize,
    separator,
    limit,
  } = config;
  if (typeof model !== "string" || typeof text !== "string") return null;
  if (!Array.isArray(units) || !units.includes("tensors") || !Array.isArray(widths)) return null;
  const isPalette = widths.some((w) => String(w).startsWith("palette"));
  const scheme = schemeIds.find((s) => schemes[s].isPalette === isPalette && schemes[s].weighting === weighting);
  if (!scheme) return null;
  return {
    model,
    scheme,
    group: isPalette ? Number(rowsPerTable) : Number(groupSize ?? 0),
    text,
    separator: typeof separator === "string" ? separator : null,
    limit: typeof limit === "number" ? limit : 0,
  };
}

/** The same tensors stored the same way, measured on any text. */
export const isStoredAlike = (a: Settings, b: Settings): boolean =>
  a.model === b.model && a.scheme === b.scheme && a.group === b.group;
