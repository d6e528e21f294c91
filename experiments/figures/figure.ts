/**
 * @file The figures of notebooks, reports and pages: what each holds, and the same as a table.
 *
 * A figure is data alone. Pages draw it with components, reports as static SVG and HTML (`static-*.ts`); both take from here, and
 * from the files beside it, what is drawn: which metric, which axes, what counts as noise.
 */
import type { SensitivitySummary } from "../kinds/sensitivity/sensitivity.ts";
import type { TradeoffPoint, TradeoffSummary } from "../kinds/tradeoff/tradeoff.ts";

export const figureKinds = ["importance", "curves", "tradeoff", "numbers"] as const;
export type FigureKind = (typeof figureKinds)[number];

export interface FigureCurve {
  readonly name: string;
  /** Points measured; those here may be fewer. */
  readonly count: number;
  readonly steps: readonly number[];
  /** Null where a value was not finite. */
  readonly values: readonly (number | null)[];
  readonly smoothed: readonly number[];
}

/** What is drawn of a model: its sizes and scores, without what it is made of. */
export type DrawnPoint = Pick<
  TradeoffPoint,
  "model" | "label" | "sizeBytes" | "bitsPerWeight" | "kl" | "agreement" | "accuracy" | "onFront"
>;

export type FigureData =
  | ({ figure: "importance"; runId: string } & Pick<SensitivitySummary, "protocol" | "sequences" | "units">)
  | { figure: "curves"; series: { runId: string; name: string; curves: FigureCurve[] }[] }
  | ({ figure: "tradeoff"; runId: string; points: readonly DrawnPoint[] } & Pick<
      TradeoffSummary,
      "protocol" | "measure" | "fp16Bytes" | "winner"
    >)
  | {
      figure: "numbers";
      columns: string[];
      rows: { runId: string; name: string; kind: string; numbers: (number | null)[] }[];
    };

export type FigureOf<K extends FigureKind> = Extract<FigureData, { figure: K }>;

export interface FigureTable {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly (string | number | null)[])[];
}

/** What a figure shows, as a table; numbers as they are, null where there is none. */
export function figureTable(data: FigureData): FigureTable {
  switch (data.figure) {
    case "importance":
      return {
        columns: ["unit", "metric", "value", "standard error"],
        rows: data.units.map((u) => [u.unit, u.metric, u.value, u.standardError]),
      };
    case "tradeoff":
      return {
        columns: ["model", "bytes", "bits per weight", "accuracy", "KL"],
        rows: data.points.map((p) => [p.label, p.sizeBytes, p.bitsPerWeight, p.accuracy?.value ?? null, p.kl.mean]),
      };
    case "numbers":
      return { columns: ["run", ...data.columns], rows: data.rows.map((r) => [r.name, ...r.numbers]) };
    case "curves":
      return {
        columns: ["run", "curve", "points", "last"],
        rows: data.series.flatMap((s) => s.curves.map((c) => [s.name, c.name, c.count, c.values.at(-1) ?? null])),
      };
  }
}
