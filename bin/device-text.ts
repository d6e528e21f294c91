/** @file What the lint and the cost model say, for people at a terminal. */

import type { Modelled } from "../lib/cost/estimate.ts";
import { speedRange } from "../lib/cost/speed-range.ts";
import type { LintResult } from "../lib/export/coreml/lint/lint.ts";
import { byteSize, plural } from "../lib/number-text.ts";
import { fixed, table } from "./numbers.ts";

export const lintCounts = ({ counts, units }: Pick<LintResult, "counts" | "units">): string =>
  `${plural(counts.errors, "error")}, ${plural(counts.warnings, "warning")}, ${plural(counts.infos, "note")}; ${counts.passed} rules passed, ${counts.notApplicable} do not apply (.${units})`;

export function lintText(result: LintResult): string {
  const lines = result.findings.flatMap((f) => {
    const more = f.operationCount - f.operations.length;
    const where = [f.function, ...(f.operations.length > 0 ? [f.operations.join(", ")] : [])].filter((x) => x !== null);
    return [
      `${f.severity.padEnd(7)}  ${f.rule}: ${f.message}`,
      ...(where.length > 0 ? [`         at ${where.join(": ")}${more > 0 ? ` and ${more} more` : ""}`] : []),
      `         ${f.fix}`,
    ];
  });
  return [...lines, ...(lines.length > 0 ? [""] : []), lintCounts(result)].join("\n");
}

const speed = (v: number): string => fixed(v, v < 100 ? 1 : 0);

/** One line per phone and context. */
export function modelledLines(m: Modelled): string[] {
  const rows = m.devices.flatMap((d) =>
    d.decode.map((c) => {
      const prefill = d.prefill.filter((p) => p.context === c.context).map((p) => speed(p.tokensPerSecond));
      const { low, high } = speedRange(d.device);
      const range = `${speed(low * c.tokensPerSecond)} – ${speed(high * c.tokensPerSecond)}`;
      return [d.name, String(c.context), speed(c.tokensPerSecond), range, prefill.at(-1) ?? "", fixed(c.ms.totalMs, 2)];
    }),
  );
  return [
    `modelled         memory ${byteSize(m.peakMemoryBytes)}; not measured; the range shows how far published figures are from the model`,
    ...table(["device", "context", "decode tokens/s", "range", "prefill tokens/s", "ms per token"], rows).split("\n"),
  ];
}
