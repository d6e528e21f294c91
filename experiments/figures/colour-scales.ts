/**
 * @file The colours of cells: a difference in loss, a cost, a share. Stops are interpolated in OKLab (Ottosson, 2020).
 *
 *   diverging   t = sign(v) · √(|v| / max): brown where it hurts, teal where it helps, neutral at 0
 *   cost        log₁₀ of a divergence between two ends, on the brown side
 *   sequential  a share from 0 to 1, blue
 *
 * Text on a cell is black or white, whichever contrasts more: at least 4.5 : 1 on every step.
 */
import { itemAt } from "../../lib/elements.ts";
export type Rgb = readonly [number, number, number];

export type Theme = "light" | "dark";

export interface Shade {
  readonly fill: Rgb;
  readonly ink: "black" | "white";
}

const hex = (text: string): Rgb[] =>
  text.split(" ").map((c) => {
    const n = Number.parseInt(c, 16);
    return [n >> 16, (n >> 8) & 255, n & 255];
  });

const hurts: Record<Theme, Rgb[]> = {
  light: hex("f3f3f0 fbdcb8 f2a765 d2691e 8f3406 5c1d02"),
  dark: hex("202327 4a3018 7d4712 b8691c ee9c48 ffd6a0"),
};
const helps: Record<Theme, Rgb[]> = {
  light: hex("f3f3f0 c4e4df 7cc0b8 2f8f88 0b5a57 053b3a"),
  dark: hex("202327 163a3a 1b5f5c 2f8d86 6cc7bd bdeee6"),
};
const blues: Record<Theme, Rgb[]> = {
  light: hex("f5f6f7 cfdbe8 8fb1d2 4a82b5 1f548c 0c2f5c"),
  dark: hex("1a1d20 1c3048 26517c 3d7ab3 7db3e2 d3e9fb"),
};

const toLinear = (c: number): number => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
const fromLinear = (c: number): number =>
  Math.round(255 * Math.max(0, Math.min(1, c <= 0.0031308 ? 12.92 * c : 1.055 * c ** (1 / 2.4) - 0.055)));

function toOklab(colour: Rgb): [number, number, number] {
  const [r, g, b] = colour.map(toLinear) as [number, number, number];
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  return [
    0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
  ];
}

function fromOklab([L, a, b]: readonly [number, number, number]): Rgb {
  const l = (L + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (L - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (L - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    fromLinear(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s),
    fromLinear(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s),
    fromLinear(-0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s),
  ];
}

/** Relative luminance as WCAG 2 defines it. */
const luminance = ([r, g, b]: Rgb): number => 0.2126 * toLinear(r) + 0.7152 * toLinear(g) + 0.0722 * toLinear(b);

/** The colour at `t` from 0 to 1. */
function shade(stops: readonly Rgb[], t: number): Shade {
  const at = Math.max(0, Math.min(1, t)) * (stops.length - 1);
  const i = Math.min(stops.length - 2, Math.floor(at));
  const [from, to] = [toOklab(itemAt(stops, i)), toOklab(itemAt(stops, i + 1))];
  const mix = (c: 0 | 1 | 2): number => from[c] + (to[c] - from[c]) * (at - i);
  const fill = fromOklab([mix(0), mix(1), mix(2)]);
  const l = luminance(fill);
  return { fill, ink: (l + 0.05) / 0.05 > 1.05 / (l + 0.05) ? "black" : "white" };
}

/** A change in loss beside the largest there is. */
export const divergingColour = (value: number, max: number, theme: Theme = "light"): Shade =>
  shade((value >= 0 ? hurts : helps)[theme], Math.sqrt(Math.abs(value) / max));

/** A cost between `low` and `high`, both positive. */
export const costColour = (value: number, low: number, high: number, theme: Theme = "light"): Shade =>
  shade(hurts[theme], Math.log(Math.max(value, low) / low) / Math.log(high / low));

/** A share from 0 to 1. */
export const sequentialColour = (share: number, theme: Theme = "light"): Shade => shade(blues[theme], share);

/** Both themes in one CSS value; the page's `color-scheme` picks. */
export function cellStyle(of: (theme: Theme) => Shade): { background: string; color: string } {
  const [light, dark] = [of("light"), of("dark")];
  return {
    background: `light-dark(rgb(${light.fill.join(" ")}), rgb(${dark.fill.join(" ")}))`,
    color: `light-dark(${light.ink}, ${dark.ink})`,
  };
}
