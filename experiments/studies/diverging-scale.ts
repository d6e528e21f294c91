/**
 * @file The colour of a change in loss: from neutral to brown where it hurts, to teal where it helps.
 *
 * Position on the scale is sign(v) · √(|v| / max), so that small differences stay visible; stops are interpolated in sRGB.
 */
export type Rgb = readonly [number, number, number];

const hurts: readonly Rgb[] = [
  [243, 243, 240],
  [251, 220, 184],
  [242, 167, 101],
  [210, 105, 30],
  [143, 52, 6],
  [92, 29, 2],
];
const helps: readonly Rgb[] = [
  [243, 243, 240],
  [196, 228, 223],
  [124, 192, 184],
  [47, 143, 136],
  [11, 90, 87],
  [5, 59, 58],
];

/** The fill of a cell, and whether black or white is legible on it. */
export function divergingColour(value: number, max: number): { fill: Rgb; ink: "black" | "white" } {
  const stops = value >= 0 ? hurts : helps;
  const t = Math.min(1, Math.sqrt(Math.abs(value) / max)) * (stops.length - 1);
  const i = Math.min(stops.length - 2, Math.floor(t));
  const [from, to] = [stops[i] ?? stops[0], stops[i + 1] ?? stops[0]];
  const mix = (c: 0 | 1 | 2): number => Math.round((from?.[c] ?? 0) + ((to?.[c] ?? 0) - (from?.[c] ?? 0)) * (t - i));
  const fill: Rgb = [mix(0), mix(1), mix(2)];
  const luminance = (0.299 * fill[0] + 0.587 * fill[1] + 0.114 * fill[2]) / 255;
  return { fill, ink: luminance > 0.55 ? "black" : "white" };
}
