/**
 * @file Accuracy against size, as a figure: the axis that the run chose by, points with 95 % intervals, the front.
 *
 * By accuracy, the share of questions answered right with its Wilson interval; by KL, the divergence from the base with
 * mean ± 1.96 SE on a logarithmic axis, where a point of 0, the base itself, has no place.
 */
import type { FigureOf } from "./figure.ts";

export interface PlottedPoint {
  readonly model: string;
  readonly label: string;
  readonly sizeBytes: number;
  readonly value: number;
  readonly low: number;
  readonly high: number;
  readonly onFront: boolean;
  readonly isWinner: boolean;
  /** The first of the run. */
  readonly isBase: boolean;
}

export interface TradeoffFigure {
  readonly measure: "accuracy" | "kl";
  /** Title of the axis, with its unit. */
  readonly title: string;
  /** By rising size. */
  readonly points: readonly PlottedPoint[];
  readonly front: readonly PlottedPoint[];
  readonly winner: PlottedPoint | null;
}

export function tradeoffFigure(data: Pick<FigureOf<"tradeoff">, "measure" | "points" | "winner">): TradeoffFigure {
  const measure = data.measure === "accuracy" && data.points.some((p) => p.accuracy) ? "accuracy" : "kl";
  const points = data.points
    .flatMap((p, i): PlottedPoint[] => {
      const value = measure === "accuracy" ? p.accuracy?.value : p.kl.mean;
      if (value === undefined || (measure === "kl" && value <= 0)) return [];
      const { low, high } =
        measure === "accuracy" && p.accuracy
          ? p.accuracy.interval
          : { low: Math.max(1e-9, value - 1.96 * p.kl.standardError), high: value + 1.96 * p.kl.standardError };
      const { model, label, sizeBytes, onFront } = p;
      return [{ model, label, sizeBytes, value, low, high, onFront, isWinner: model === data.winner, isBase: i === 0 }];
    })
    .sort((a, b) => a.sizeBytes - b.sizeBytes);
  return {
    measure,
    title: measure === "accuracy" ? "Questions right, %" : "KL to base, nats per token",
    points,
    front: points.filter((p) => p.onFront),
    winner: points.find((p) => p.isWinner) ?? null,
  };
}
