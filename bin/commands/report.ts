/** @file `espalier report import` and `espalier report simulate`: what a phone measured, and the phone that is none. */
import { readFile, stat } from "node:fs/promises";
import type { Command } from "commander";
import { parsePairingUrl, sendReport } from "../../experiments/probe/send.ts";
import { simulatePhone } from "../../experiments/probe/simulate.ts";
import { EspalierError } from "../../lib/errors.ts";
import { writeFileAtomic } from "../../lib/files/atomic.ts";
import { MAX_REPORT_BYTES, parseReport, type Report } from "../../lib/report/report.ts";
import { fixed, percent } from "../numbers.ts";
import { openWorkbenchSession } from "../workbench-session.ts";
import { addCommonFlags, printResult, withSession } from "./experiment-command.ts";

const json = "Print one JSON object on standard output and nothing else";

export function reportText(report: Report): string {
  const { device } = report;
  const lines = [`${device.identifier}, ${device.system} ${device.systemVersion}: ${report.package.name}`];
  for (const run of report.runs) {
    lines.push(`${run.computeUnits}`);
    for (const p of run.parity)
      lines.push(
        `  ${p.passed ? "passed" : "FAILED"}  ${p.case}: logits within ${p.maxLogitDifference.toExponential(1)} of ${p.tolerance.toExponential(1)}, same top ${percent(p.topAgreement)}, greedy ${p.greedyIdentical ? "identical" : `differs at ${p.greedyFirstDifference}`}`,
      );
    for (const d of run.decode)
      lines.push(
        `  ${d.function}: ${fixed(d.perToken.median, 2)} ms per token (p5 ${fixed(d.perToken.p5, 2)}, p95 ${fixed(d.perToken.p95, 2)})`,
      );
    for (const p of run.prefill) lines.push(`  ${p.function}: ${fixed(p.tokensPerSecond, 0)} tokens per second`);
    for (const f of run.failures) lines.push(`  failed at ${f.stage}: ${f.message}`);
  }
  for (const n of report.notMeasured) lines.push(`not measured: ${n.what} (${n.why})`);
  return lines.join("\n");
}

export function addReport(program: Command, signal: AbortSignal): void {
  const report = program.command("report").description("What a phone measured").exitOverride();

  report
    .command("import")
    .argument("<file>", "the JSON that the probe wrote")
    .option("--json", json)
    .description("Import a report and attach it to its package")
    .exitOverride()
    .action(async (file: string, options: { json?: boolean }) => {
      const content = await readReport(file);
      const parsed = parseReport(content);
      const session = await openWorkbenchSession({ computes: false });
      try {
        const taken = await session.client.reports.import.mutate({ content });
        printResult(
          options,
          () =>
            `${reportText(parsed)}\n${taken.isNew ? "kept" : "already known"} as ${taken.report.id}, for ${taken.packages.map((p) => `${p.name} (${p.id})`).join(", ")}`,
          () => taken,
        );
      } finally {
        await session.close();
      }
    });

  const simulate = report
    .command("simulate")
    .argument("<folder>", "what `export` wrote")
    .option("--out <file>", "where to write the report")
    .option("--pair <link>", "send it to the workbench whose pairing link this is")
    .description("Run the probe's golden vectors on this machine instead of a phone, and write a report")
    .exitOverride();
  addCommonFlags(simulate).action(async (folder: string) => {
    const given: Record<string, unknown> = simulate.opts();
    const link = typeof given.pair === "string" ? parsePairingUrl(given.pair) : null;
    await withSession(given, signal, async (session) => {
      const measured = await simulatePhone(folder, {
        engine: session.engine,
        clock: session.clock,
        memoryBytes: () => process.memoryUsage().rss,
        signal,
      });
      if (typeof given.out === "string") await writeFileAtomic(given.out, `${JSON.stringify(measured, null, 2)}\n`);
      const sent = link ? await sendReport(link, measured) : null;
      printResult(
        { json: given.json === true },
        () => `${reportText(measured)}${sent ? `\nsent as ${sent.id}` : ""}`,
        () => ({ report: measured, sent }),
      );
    });
  });
}

async function readReport(file: string): Promise<string> {
  const { size } = await stat(file);
  if (size > MAX_REPORT_BYTES)
    throw new EspalierError("input/invalid", `${file} has ${size} bytes, a report has at most ${MAX_REPORT_BYTES}`);
  return readFile(file, "utf8");
}
