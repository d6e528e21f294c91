/**
 * @file The colour of a change in loss: from neutral to brown where it hurts, to teal where it helps.
 *
 * Position on the scale is sign(v) · √(|v| / max), so that small differences stay visible; stops are interpolated in sRGB.
 */
export type Rgb = readonly [number, number, number];

export type Theme = "light" | "dark";

interface Stops {
  readonly hurts: readonly Rgb[];
  readonly helps: readonly Rgb[];
}

const scales: Record<Theme, Stops> = {
  light: {
    hurts: [
      [243, 243, 240],
      [251, 220, 184],
      [242, 167, 101],
      [210, 105, 30],
      [143, 52, 6],
      [92, 29, 2],
    ],
    helps: [
      [243, 243, 240],
      [196, 228, 223],
      [124, 192, 184],
      [47, 143, 136],
      [11, 90, 87],
      [5, 59, 58],
    ],
  },
  dark: {
    hurts: [
      [32, 35, 39],
      [74, 48, 24],
      [125, 71, 18],
      [184, 105, 28],
      [238, 156, 72],
      [255, 214, 160],
    ],
    helps: [
      [32, 35, 39],
      [22, 58, 58],
      [27, 95, 92],
      [47, 141, 134],
      [108, 199, 189],
      [189, 238, 230],
    ],
  },
};

/** Relative luminance as WCAG 2 defines it. */
function luminance(colour: Rgb): number {
  const [r, g, b] = colour.map((c) => {
    const s = c / 255;
    return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

/** The fill of a cell, and which of black and white contrasts more with it. */
export function divergingColour(
  value: number,
  max: number,
  theme: Theme = "light",
): { fill: Rgb; ink: "black" | "white" } {
  const stops = scales[theme][value >= 0 ? "hurts" : "helps"];
  const t = Math.min(1, Math.sqrt(Math.abs(value) / max)) * (stops.length - 1);
  const i = Math.min(stops.length - 2, Math.floor(t));
  const [from, to] = [stops[i] as Rgb, stops[i + 1] as Rgb];
  const mix = (c: 0 | 1 | 2): number => Math.round(from[c] + (to[c] - from[c]) * (t - i));
  const fill: Rgb = [mix(0), mix(1), mix(2)];
  const l = luminance(fill);
  return { fill, ink: (l + 0.05) / 0.05 > 1.05 / (l + 0.05) ? "black" : "white" };
}
