/** @file `espalier demo`: the starter study through the workbench's database, queue and workers, drawn here and as a page. */
import { cp, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { Command } from "commander";
import { z } from "zod";
import { headGrid } from "../../experiments/figures/head-figure.ts";
import type { Summaries } from "../../experiments/registry.ts";
import { reportPage } from "../../experiments/studies/report-page.ts";
import { type StarterStudyResult, starterStudyOptions } from "../../experiments/studies/starter-study.ts";
import { throwIfCancelled } from "../../lib/cancel.ts";
import { EspalierError } from "../../lib/errors.ts";
import { requireReplaceable, withOutputDirectory, writeFileAtomic } from "../../lib/files/atomic.ts";
import { byteSize } from "../../lib/number-text.ts";
import type { Client } from "../../server/api/client.ts";
import { clock } from "../environment.ts";
import { addFlags, parseFlags } from "../flags.ts";
import { heatMap } from "../heat-map.ts";
import { fixed, percent } from "../numbers.ts";
import { duration, progressLine, remaining } from "../progress.ts";
import { openWorkbenchSession } from "../workbench-session.ts";
import { commonOptions, engineHelp, printResult } from "./experiment-command.ts";
import { cardText } from "./export.ts";
import { tradeoffTable } from "./tradeoff.ts";

const demoConfig = starterStudyOptions.extend({
  out: z.string().default("espalier-demo").describe("Folder for the packages and the page"),
});

const titles: Record<string, string> = {
  importance: "1  What each attention head is worth",
  prune: "2  Prune",
  distill: "3  Distill",
  int8: "4  Quantize at several widths",
  tensors: "5  Quantize by what each tensor loses",
  "trade-off": "6  Accuracy against size",
  report: "7  The winner on questions it was not chosen by",
  gguf: "8  Export and check the packages",
};

type StudyRuns = Awaited<ReturnType<Client["studies"]["get"]["query"]>>["runs"];

export function addDemo(program: Command, signal: AbortSignal): void {
  const command = program
    .command("demo")
    .description("The whole job on the starter model: importance, prune, distill, quantize, choose, export");
  addFlags(command, demoConfig);
  command
    .option("--json", "Print one JSON object on standard output and nothing else")
    .option("--engine <name>", engineHelp)
    .option("--threads <integer>", "Threads of a task [default: all cores]");
  command.action(async () => {
    const given: Record<string, unknown> = command.opts();
    const config = parseFlags(demoConfig, given);
    const { json, threads, engine } = commonOptions(given);
    const say = (text: string): void => {
      if (!json) process.stdout.write(`${text}\n`);
    };
    for (const folder of ["package", "gguf"]) requireReplaceable(join(config.out, folder), { replace: true });
    const started = clock.nowMs();
    const session = await openWorkbenchSession({ computes: true, threads, engine });
    try {
      const { out, ...options } = config;
      const { study } = await session.client.studies.startStarter.mutate(options);
      const runs = await follow(session.client, study.id, signal, (step, summary) => {
        if (step !== "importance") return;
        const importance = summary as Summaries["sensitivity"];
        say(`\n${importance.protocol}`);
        say("change in loss when removed, 10⁻³ nats per token; ≈ means within two standard errors of 0");
        say(heatMap(headGrid(importance, "leave-one-out"), { colour: process.stdout.isTTY ?? false }));
      });
      const of = <K extends keyof Summaries>(step: string): Summaries[K] | null =>
        (runs.find((r) => r.step === step && r.state === "succeeded")?.summary ?? null) as Summaries[K] | null;
      const need = <T>(value: T | null): T => {
        if (value === null) throw new EspalierError("internal/invariant", "internal: a step of the study left nothing");
        return value;
      };
      const exported = of<"export">("export");
      const result: StarterStudyResult = {
        importance: need(of<"sensitivity">("importance")),
        pruned: need(of<"prune">("prune")),
        distilled: need(of<"distill">("distill")),
        tradeoff: need(of<"tradeoff">("trade-off")),
        report: of<"tradeoff">("report"),
        card: exported?.card ?? null,
      };
      const packageRun = runs.find((r) => r.step === "export");
      /** Where the package of a step was copied; null for one that was not made. */
      const copied = async (step: string, name: string): Promise<string | null> => {
        const target = resolve(out, name);
        const id = runs.find((r) => r.step === step)?.outputPackageId;
        if (!id) {
          if (requireReplaceable(target, { replace: true })) await rm(target, { recursive: true });
          return null;
        }
        const { folder } = await session.client.packages.folder.query({ id });
        await withOutputDirectory(target, (partial) => cp(folder, partial, { recursive: true }), {
          marked: true,
          replace: true,
        });
        return target;
      };
      const packageFolder = await copied("export", "package");
      const ggufFolder = await copied("gguf", "gguf");
      const gguf = of<"export">("gguf")?.card ?? null;
      const seconds = (clock.nowMs() - started) / 1000;
      const page = join(out, "report.html");
      const engine = packageRun?.provenance?.engine ?? runs[0]?.provenance?.engine ?? "";
      const made = `${engine}; ${fixed(seconds, 0)} s; espalier demo --ratio ${config.ratio} --distill-steps ${config.distillSteps} --questions ${config.questions} --keep ${config.keep}`;
      const card = result.card ? cardText(result.card) : "no package was exported";
      await writeFileAtomic(page, reportPage(result, { keep: config.keep, made, card }));
      const won = result.report?.points[1];
      const lines = [
        `\npruned ${result.pruned.heads.before - result.pruned.heads.after} of ${result.pruned.heads.before} heads (${percent(1 - result.pruned.heads.after / result.pruned.heads.before)}); distilled to KL ${fixed(Math.min(...result.distilled.curve.map((p) => p.heldOutKl)), 4)} from ${fixed(result.distilled.curve[0]?.heldOutKl ?? Number.NaN, 4)}`,
        `\n${tradeoffTable(result.tradeoff)}`,
        won?.accuracy
          ? `\nwinner: ${won.label}, ${fixed((result.tradeoff.fp16Bytes ?? 0) / won.sizeBytes, 2)} times smaller than fp16; on the report split ${percent(won.accuracy.value)} right (95 % interval ${percent(won.accuracy.interval.low)}–${percent(won.accuracy.interval.high)}), ${percent(won.accuracy.keptOfBase)} of the base`
          : `\nno winner: ${result.tradeoff.reason}`,
        `\n${card}`,
        `\npage     ${resolve(page)}`,
        `package  ${packageFolder ?? "none"}`,
        `gguf     ${gguf && ggufFolder ? `${join(ggufFolder, gguf.file)}: ${byteSize(gguf.sizeBytes)}, ${gguf.status}, KL to its model ${gguf.parity.meanKl.toPrecision(2)}` : "none"}`,
        `study    ${study.id}; \`npm start\` shows it`,
        `took     ${duration(seconds)}`,
      ];
      printResult(
        { json },
        () => lines.join("\n"),
        () => ({ ...result, study: study.id, page: resolve(page), package: packageFolder, gguf: ggufFolder, seconds }),
      );
    } finally {
      await session.close();
    }
  });
}

/** Draws progress until every run has ended. Throws when one failed; the runs stay and can be resumed. */
async function follow(
  client: Client,
  studyId: string,
  signal: AbortSignal,
  onDone: (step: string, summary: unknown) => void,
): Promise<StudyRuns> {
  const line = progressLine(
    {
      isTerminal: process.stderr.isTTY ?? false,
      columns: process.stderr.columns ?? 100,
      write: (text) => process.stderr.write(text),
    },
    clock,
  );
  const [begun, done] = [new Set<string>(), new Set<string>()];
  try {
    for (;;) {
      throwIfCancelled(signal);
      const { runs } = await client.studies.get.query({ id: studyId });
      for (const [i, run] of runs.entries()) {
        const step = run.step ?? run.id;
        if (run.state !== "queued" && !begun.has(step)) {
          begun.add(step);
          if (titles[step]) {
            line.clear();
            process.stderr.write(`\n${titles[step]}\n`);
          }
        }
        if (run.state === "running") {
          const label = `${run.name}: ${run.progress?.label ?? "starting"}`;
          const left = remaining(run.progress?.left ?? null);
          // Steps of a study take very different times, so only a run's own pace says anything.
          line.report(
            { done: i + (run.progress?.share ?? 0), total: runs.length, label },
            left && `${left} of this step`,
          );
        }
        if (run.state === "succeeded" && !done.has(step)) {
          done.add(step);
          line.clear();
          onDone(step, run.summary);
        }
        if (run.state === "failed") {
          // Without a winner there is nothing to report or export, which is a result.
          if (step === "report" || step === "gguf" || step === "export") continue;
          throw new EspalierError(
            "engine/failed",
            `${run.name} (${run.id}) failed: ${run.error?.message ?? "unknown"}`,
            {
              hint: `espalier api runs resume --id ${run.id}`,
            },
          );
        }
        if (run.state === "cancelled") throw new EspalierError("run/cancelled", `${run.name} was cancelled`);
      }
      if (runs.every((r) => r.state === "succeeded" || r.state === "failed")) return runs;
      await new Promise((go) => setTimeout(go, 300));
    }
  } finally {
    line.clear();
  }
}
