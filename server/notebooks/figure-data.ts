/** @file What a figure of a notebook draws, gathered from the runs it names. */
import { inArray } from "drizzle-orm";
import type { FigureData, FigureKind } from "../../experiments/figures/figure.ts";
import type { SensitivitySummary } from "../../experiments/kinds/sensitivity/sensitivity.ts";
import type { TradeoffSummary } from "../../experiments/kinds/tradeoff/tradeoff.ts";
import { experiments } from "../../experiments/registry.ts";
import { EspalierError } from "../../lib/errors.ts";
import type { Core } from "../core.ts";
import { runs } from "../db/schema.ts";
import { readCurves } from "../runs/curves.ts";
import type { Run } from "../runs/lifecycle.ts";

/** Throws `run/state` when a run it needs has not succeeded, or is of another kind. */
export async function figureData(core: Core, figure: FigureKind, ids: readonly string[]): Promise<FigureData> {
  const found = await core.db
    .select()
    .from(runs)
    .where(inArray(runs.id, [...ids]));
  const ordered = ids.map((id) => {
    const run = found.find((r) => r.id === id);
    if (!run) throw new EspalierError("run/unknown", `there is no run ${id}`);
    return run;
  });
  const theRun = (): Run => {
    const kinds = experiments.filter((e) => e.figure === figure).map((e) => e.kind);
    const run = ordered.find((r) => kinds.some((k) => k === r.kind));
    if (!run)
      throw new EspalierError(
        "run/state",
        `this figure needs a run of the kind ${kinds.join(" or ")}, and names ${ordered.map((r) => r.kind).join(", ")}`,
      );
    if (run.state !== "succeeded")
      throw new EspalierError("run/state", `${run.name} is ${run.state}`, { hint: "Wait for it to end." });
    return run;
  };
  if (figure === "importance") {
    const run = theRun();
    const { protocol, sequences, units } = run.summary as SensitivitySummary;
    return { figure, runId: run.id, protocol, sequences, units };
  }
  if (figure === "tradeoff") {
    const run = theRun();
    const { protocol, measure, fp16Bytes, winner, points } = run.summary as TradeoffSummary;
    return { figure, runId: run.id, protocol, measure, fp16Bytes, winner, points };
  }
  if (figure === "curves") {
    const options = { points: 1_000, smoothing: 0.8, logarithmic: false };
    const series = [];
    for (const run of ordered)
      series.push({ runId: run.id, name: run.name, curves: await readCurves(core, run.id, options) });
    return { figure, series };
  }
  const columns = [...new Set(ordered.flatMap((r) => Object.keys(r.numbers)))];
  return {
    figure,
    columns,
    rows: ordered.map((r) => ({
      runId: r.id,
      name: r.name,
      kind: r.kind,
      numbers: columns.map((c) => r.numbers[c] ?? null),
    })),
  };
}
