/** @file `espalier sensitivity`. */

import type { Command } from "commander";
import { headGrid } from "../../experiments/figures/head-figure.ts";
import { metricOf } from "../../experiments/kinds/sensitivity/metrics.ts";
import { sensitivity } from "../../experiments/kinds/sensitivity/sensitivity.ts";
import type { WidthMap } from "../../experiments/kinds/sensitivity/width-map.ts";
import { byteSize } from "../../lib/number-text.ts";
import { findUnit } from "../../lib/units.ts";
import { heatMap } from "../heat-map.ts";
import { fixed, table, withError } from "../numbers.ts";

import { addExperimentCommand } from "./experiment-command.ts";

/** Rows of a table in a terminal; the rest is in --json. */
const MOST_ROWS = 120;

/** ΔKL of each tensor by width, 10⁻³ nats per token. */
function widthMapTable({ columns, widths, cells }: WidthMap): string {
  const rows = columns.map(({ tensor, fp16Bytes }) => [
    tensor,
    byteSize(fp16Bytes),
    ...widths.map((width) => {
      const cell = cells.find((c) => c.tensor === tensor && c.width === width);
      return cell ? (cell.kl.mean * 1000).toPrecision(3) : "waiting";
    }),
  ]);
  return table(["tensor", "fp16", ...widths], rows);
}

export function addSensitivity(program: Command, signal: AbortSignal): void {
  addExperimentCommand(program, signal, {
    verb: "sensitivity",
    summary:
      "Measure what each head, KV group, neuron block, sub-block or layer is worth, and what each tensor loses at each width",
    example: "espalier sensitivity starter --text stories.txt --units heads,groups --metric leave-one-out,taylor",
    positional: ["model"],
    experiment: sensitivity,
    print: (s) => {
      const parts = [s.protocol];
      for (const metric of new Set(s.units.map((u) => u.metric))) {
        const what = metricOf(metric).meaning;
        const grid = headGrid(s, metric);
        if (grid.length > 0) {
          parts.push(`\n${metric}: ${what}, × 10⁻³, ≈ within two standard errors of 0`);
          parts.push(heatMap(grid, { colour: process.stdout.isTTY ?? false }));
        }
        const others = s.units.filter((u) => u.metric === metric && findUnit(u.unit)?.kind !== "heads");
        if (others.length > 0) {
          parts.push(
            `\n${table(
              ["unit", `${metric}, × 10⁻³`],
              others.slice(0, MOST_ROWS).map((u) => [u.unit, withError(u.value * 1000, u.standardError * 1000, 2)]),
            )}`,
          );
          if (others.length > MOST_ROWS) parts.push(`… and ${others.length - MOST_ROWS} more; --json has them all`);
        }
      }
      if (s.tensors) {
        parts.push("\ndivergence from the base with one tensor stored in fewer bits, 10⁻³ nats per token");
        parts.push(widthMapTable(s.tensors));
      }
      if (s.agreement) {
        parts.push(
          `\nrank agreement of taylor with leave-one-out: ρ = ${fixed(s.agreement.spearman, 2)}; noise alone allows ${fixed(s.agreement.noiseCeiling, 2)}`,
        );
      }
      for (const { metric, spearman, units } of s.agreements) {
        if (metric !== "taylor" || !s.agreement)
          parts.push(`rank agreement of ${metric} with leave-one-out over ${units} units: ρ = ${fixed(spearman, 2)}`);
      }
      return parts.join("\n");
    },
    json: (s) => ({
      protocol: s.protocol,
      sequences: s.sequences,
      units: s.units.map(({ unit, metric, value, standardError, predicted }) => ({
        unit,
        metric,
        value,
        standardError,
        ...(predicted === undefined ? {} : { predicted }),
      })),
      agreement: s.agreement,
      agreements: s.agreements,
      ...(s.tensors
        ? { tensors: { columns: s.tensors.columns, widths: s.tensors.widths, cells: s.tensors.cells } }
        : {}),
    }),
  });
}
