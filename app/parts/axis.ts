/** @file Scales and ticks for the drawings that are ours; d3-scale behind the few names they need. */
import { scaleLinear, scaleLog } from "d3-scale";

export interface Axis {
  (value: number): number;
  readonly ticks: readonly number[];
  invert(pixel: number): number;
}

export function linearAxis(domain: readonly [number, number], range: readonly [number, number], count = 5): Axis {
  const scale = scaleLinear().domain(domain).range(range);
  return Object.assign((v: number) => scale(v), { ticks: scale.ticks(count), invert: (p: number) => scale.invert(p) });
}

/** 1, 2 and 5 times powers of ten, thinned to about `count`. The domain must be positive. */
export function logAxis(domain: readonly [number, number], range: readonly [number, number], count = 5): Axis {
  const scale = scaleLog().domain(domain).range(range);
  return Object.assign((v: number) => scale(v), {
    ticks: logTicks(domain[0], domain[1], count),
    invert: (p: number) => scale.invert(p),
  });
}

export function logTicks(low: number, high: number, count = 6): number[] {
  for (const steps of [[1, 2, 5], [1, 3], [1]]) {
    const ticks: number[] = [];
    for (let p = Math.floor(Math.log10(low)); p <= Math.ceil(Math.log10(high)); p++)
      for (const m of steps) {
        const t = Number((m * 10 ** p).toPrecision(3));
        if (t >= low * (1 - 1e-9) && t <= high * (1 + 1e-9)) ticks.push(t);
      }
    if (ticks.length <= count + 1 || steps.length === 1) return ticks;
  }
  return [];
}

/** Ticks of a short logarithmic stretch, as of sizes: finer than 1, 2, 5 where there is room. */
export function fineLogTicks(low: number, high: number, count = 8): number[] {
  for (const steps of [
    [1, 1.5, 2, 3, 4, 5, 7.5],
    [1, 2, 3, 5, 7],
  ]) {
    const ticks: number[] = [];
    for (let p = Math.floor(Math.log10(low)); p <= Math.ceil(Math.log10(high)); p++)
      for (const m of steps) {
        const t = Number((m * 10 ** p).toPrecision(3));
        if (t >= low && t <= high) ticks.push(t);
      }
    if (ticks.length < 3) return scaleLinear().domain([low, high]).ticks(5);
    if (ticks.length <= count) return ticks;
  }
  return logTicks(low, high, count);
}

/** sign(v) · √(|v| / max) on a linear stretch: small effects stay visible, zero keeps its place. */
export function signedRootAxis(domain: readonly [number, number], range: readonly [number, number], count = 6): Axis {
  const root = (v: number): number => Math.sign(v) * Math.sqrt(Math.abs(v));
  const inner = linearAxis([root(domain[0]), root(domain[1])], range);
  const nice = (max: number, n: number): number[] => {
    if (max <= 0) return [];
    const all = logTicks(max / 50, max, 12);
    return all.filter((_, i) => (all.length - 1 - i) % Math.max(1, Math.round(all.length / n)) === 0);
  };
  const ticks = [
    ...nice(-domain[0], Math.ceil(count / 3))
      .map((t) => -t)
      .reverse(),
    0,
    ...nice(domain[1], count),
  ];
  return Object.assign((v: number) => inner(root(v)), {
    ticks,
    invert: (p: number) => {
      const r = inner.invert(p);
      return Math.sign(r) * r * r;
    },
  });
}

/** The ticks whose names do not run into each other, the first ones kept. */
export function ticksApart(axis: Axis, pixels: number): number[] {
  const kept: number[] = [];
  // Zero keeps its name before all others.
  for (const t of [...axis.ticks].sort((a, b) => Number(b === 0) - Number(a === 0)))
    if (kept.every((k) => Math.abs(axis(k) - axis(t)) >= pixels)) kept.push(t);
  return kept.sort((a, b) => a - b);
}
