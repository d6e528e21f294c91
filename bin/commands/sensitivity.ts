/** @file `espalier sensitivity`. */
import type { Command } from "commander";
import { sensitivity } from "../../experiments/sensitivity/sensitivity.ts";
import { headGrid } from "../../experiments/studies/head-grid.ts";
import { heatMap } from "../heat-map.ts";
import { fixed, table, withError } from "../numbers.ts";
import { addExperimentCommand } from "./experiment-command.ts";

export function addSensitivity(program: Command, signal: AbortSignal): void {
  addExperimentCommand(program, signal, {
    verb: "sensitivity",
    summary: "Measure what each attention head, KV group, sub-block or layer is worth",
    example: "espalier sensitivity starter --text stories.txt --units heads,groups --metric leave-one-out,taylor",
    positional: ["model"],
    experiment: sensitivity,
    print: (s) => {
      const parts = [s.protocol];
      for (const metric of new Set(s.units.map((u) => u.metric))) {
        const what = metric === "taylor" ? "mean |∂loss/∂gate|" : "change in loss when removed";
        const grid = headGrid(s, metric);
        if (grid.length > 0) {
          parts.push(`\n${metric}: ${what}, 10⁻³ nats per token, ≈ within two standard errors of 0`);
          parts.push(heatMap(grid, { colour: process.stdout.isTTY ?? false }));
        }
        const others = s.units.filter((u) => u.metric === metric && !/\.H\d+$/.test(u.unit));
        if (others.length > 0) {
          parts.push(
            `\n${table(
              ["unit", `${metric}, 10⁻³ nats per token`],
              others.map((u) => [u.unit, withError(u.value * 1000, u.standardError * 1000, 2)]),
            )}`,
          );
        }
      }
      if (s.agreement) {
        parts.push(
          `\nrank agreement of taylor with leave-one-out: ρ = ${fixed(s.agreement.spearman, 2)}; noise alone allows ${fixed(s.agreement.noiseCeiling, 2)}`,
        );
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
    }),
  });
}
