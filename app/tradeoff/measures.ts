/** @file The axes of the trade-off: five ways to be accurate, five ways to be small, each with its unit and error. */

import { mcnemar } from "../../lib/stats/mcnemar.ts";
import { twoSidedP } from "../../lib/stats/normal.ts";
import { pairedDifference } from "../../lib/stats/paired-difference.ts";
import { z95 } from "../../lib/stats/proportion.ts";
import { ratioAndError } from "../../lib/stats/ratio.ts";
import type { EvaluatedPoint } from "../../server/tradeoff/evaluated.ts";
import { bytes, count, fixed, percent, signed, small } from "../parts/format.ts";

export type Point = EvaluatedPoint;

/** A difference of two points on one measure, candidate less other, by pairs. */
export interface Paired {
  readonly difference: number;
  /** Null where the test has none (McNemar's). */
  readonly standardError: number | null;
  readonly p: number;
}

export interface Measure {
  readonly name: string;
  readonly axis: string;
  readonly logarithmic: boolean;
  readonly lowIsBetter: boolean;
  /** Null where it was not measured. */
  of(p: Point): number | null;
  /** Of 95 %; null where sequences were not kept. */
  interval(p: Point): { low: number; high: number } | null;
  text(p: Point): string;
  error(p: Point): string;
  difference(d: number): string;
  /** Null without the losses of both by sequence. */
  paired(a: Point, b: Point): Paired | null;
}

const around = (mean: number, standardError: number): { low: number; high: number } | null =>
  Number.isFinite(standardError) ? { low: mean - z95 * standardError, high: mean + z95 * standardError } : null;

/** Differences of sums over sequences, in the unit of the sums per token. */
function bySequence(a: Point, b: Point, which: "kl" | "nll" | "agreed"): Paired | null {
  const [x, y] = [b.paired, a.paired];
  if (!x || !y || x.tokens.length !== y.tokens.length || x.tokens.some((t, i) => t !== y.tokens[i])) return null;
  const { mean, standardError, z } = pairedDifference(x[which], y[which], { weights: x.tokens });
  return { difference: mean, standardError, p: mean === 0 ? 1 : twoSidedP(z) };
}

const nllOf = (p: Point): { mean: number; standardError: number } | null =>
  p.paired ? ratioAndError(p.paired.nll, p.paired.tokens) : null;

export const measures = {
  kl: {
    name: "KL to base",
    axis: "KL to base, nats per token",
    logarithmic: true,
    lowIsBetter: true,
    of: (p) => p.kl.mean,
    interval: (p) => around(p.kl.mean, p.kl.standardError),
    text: (p) => (p.kl.mean < 0.001 ? small(p.kl.mean) : fixed(p.kl.mean, 4)),
    error: (p) =>
      p.isBase ? "exact" : `± ${p.kl.mean < 0.001 ? small(p.kl.standardError, 1) : fixed(p.kl.standardError, 4)}`,
    difference: (d) => `KL ${signed(d, Math.abs(d) < 0.01 ? 4 : 3)}`,
    paired: (a, b) => bySequence(a, b, "kl"),
  },
  perplexity: {
    name: "Perplexity",
    axis: "perplexity",
    logarithmic: false,
    lowIsBetter: true,
    of: (p) => p.perplexity,
    interval(p) {
      const nll = nllOf(p);
      const found = nll ? around(nll.mean, nll.standardError) : null;
      return found ? { low: Math.exp(found.low), high: Math.exp(found.high) } : null;
    },
    text: (p) => fixed(p.perplexity, 3),
    error(p) {
      const nll = nllOf(p);
      return nll ? `± ${fixed(p.perplexity * nll.standardError, 3)}` : "error not kept";
    },
    difference: (d) => `nats per token ${signed(d, 4)}`,
    paired: (a, b) => bySequence(a, b, "nll"),
  },
  accuracy: {
    name: "Questions right",
    axis: "questions right, %",
    logarithmic: false,
    lowIsBetter: false,
    of: (p) => (p.accuracy ? 100 * p.accuracy.value : null),
    interval: (p) => (p.accuracy ? { low: 100 * p.accuracy.low, high: 100 * p.accuracy.high } : null),
    text: (p) => (p.accuracy ? percent(p.accuracy.value) : "not asked"),
    error: (p) => (p.accuracy ? `${percent(p.accuracy.low)} to ${percent(p.accuracy.high)}` : ""),
    difference: (d) => `questions ${signed(100 * d, 1)} points`,
    paired(a, b) {
      const [x, y] = [b.paired?.right, a.paired?.right];
      if (!x || !y || x.length !== y.length || x.length === 0) return null;
      const { difference, p } = mcnemar(x, y);
      return { difference, standardError: null, p };
    },
  },
  agreement: {
    name: "Same top token",
    axis: "same top token, %",
    logarithmic: false,
    lowIsBetter: false,
    of: (p) => 100 * p.agreement.mean,
    interval: (p) => around(100 * p.agreement.mean, 100 * p.agreement.standardError),
    text: (p) => percent(p.agreement.mean),
    error: (p) => (p.isBase ? "exact" : `± ${fixed(100 * p.agreement.standardError, 1)}`),
    difference: (d) => `same token ${signed(100 * d, 1)} points`,
    paired: (a, b) => bySequence(a, b, "agreed"),
  },
} as const satisfies Record<string, Measure>;
export type MeasureId = keyof typeof measures;
export const measureIds = Object.keys(measures) as MeasureId[];

/** Less is better for every one. */
export interface Size {
  readonly name: string;
  axis(points: readonly Point[]): string;
  of(p: Point): number;
  /** What less of it is called, and more, and least. */
  readonly words: readonly [less: string, more: string, least: string];
  /** Points that have none are left out. */
  has(p: Point): boolean;
  /** A value on this axis, with its unit. */
  text(value: number): string;
}

export const sizes = {
  bytes: {
    name: "Weights",
    axis: () => "Weights, MB",
    of: (p) => p.sizeBytes / 1e6,
    words: ["smaller", "larger", "smallest"],
    has: () => true,
    text: (v) => bytes(Math.round(v * 1e6)),
  },
  package: {
    name: "Package",
    axis: () => "Package, every file of it, MB",
    of: (p) => (p.package?.packageBytes ?? Number.NaN) / 1e6,
    words: ["smaller", "larger", "smallest"],
    has: (p) => typeof p.package?.packageBytes === "number",
    text: (v) => bytes(Math.round(v * 1e6)),
  },
  bits: {
    name: "Bits per weight",
    axis: () => "Bits per weight",
    of: (p) => p.bitsPerWeight,
    words: ["smaller", "larger", "smallest"],
    has: () => true,
    text: (v) => `${fixed(v, 2)} bits`,
  },
  parameters: {
    name: "Parameters",
    axis: () => "Parameters, millions",
    of: (p) => p.parameters / 1e6,
    words: ["smaller", "larger", "smallest"],
    has: () => true,
    text: (v) => `${count(v * 1e6)} parameters`,
  },
  speed: {
    name: "Speed on a phone",
    axis(points) {
      const speeds = points.flatMap((p) => p.speed ?? []);
      const reported = speeds.filter((s) => s.kind === "reported").length;
      const how =
        reported === 0 ? "modelled" : reported === speeds.length ? "reported" : "reported where a phone is drawn";
      return `Time per token on an ${speeds[0]?.device ?? "iPhone"}, ms, ${how}`;
    },
    of: (p) => (p.speed ? 1000 / p.speed.tokensPerSecond : Number.NaN),
    words: ["faster", "slower", "fastest"],
    has: (p) => p.speed !== null,
    text: (v) => `${fixed(v, 2)} ms per token`,
  },
} as const satisfies Record<string, Size>;
export type SizeId = keyof typeof sizes;
export const sizeIds = Object.keys(sizes) as SizeId[];

/** Where less is better, also of what is better when it is more; null where it was not measured. */
export function lossOf(measure: Measure, p: Point): number | null {
  const value = measure.of(p);
  return value === null ? null : measure.lowIsBetter ? value : -value;
}
