/** @file `espalier demo`: the starter study, end to end, drawn in the terminal and as a page. */
import { join, resolve } from "node:path";
import type { Command } from "commander";
import { z } from "zod";
import { headGrid } from "../../experiments/studies/head-grid.ts";
import { reportPage } from "../../experiments/studies/report-page.ts";
import { type StudyStep, starterStudy, starterStudyDefaults } from "../../experiments/studies/starter.ts";
import { writeFileAtomic } from "../../lib/files/atomic.ts";
import { addFlags, parseFlags } from "../flags.ts";
import { heatMap } from "../heat-map.ts";
import { fixed, percent } from "../numbers.ts";
import { duration } from "../progress.ts";
import { addCommonFlags, printResult, withSession } from "./experiment-command.ts";
import { cardText } from "./export.ts";
import { tradeoffTable } from "./tradeoff.ts";

const demoConfig = z.object({
  out: z.string().default("espalier-demo").describe("Folder for checkpoints, the package and the page"),
  ratio: z.number().gt(0).lt(1).default(starterStudyDefaults.ratio).describe("Share of the heads to prune"),
  distillSteps: z
    .number()
    .int()
    .positive()
    .default(starterStudyDefaults.distillSteps)
    .describe("Steps of distillation"),
  questions: z.number().int().positive().default(starterStudyDefaults.questions).describe("Questions a split"),
  keep: z
    .number()
    .gt(0)
    .max(1)
    .default(starterStudyDefaults.keep)
    .describe("Share of the base accuracy the winner must keep"),
});

const titles: Record<StudyStep, string> = {
  importance: "1  What each attention head is worth",
  prune: "2  Prune",
  distil: "3  Distil",
  quantize: "4  Quantize at several widths",
  "trade-off": "5  Accuracy against size",
  report: "6  The winner on questions it was not chosen by",
  export: "7  Export and check the package",
};

export function addDemo(program: Command, signal: AbortSignal): void {
  const command = program
    .command("demo")
    .description("The whole job on the starter model: importance, prune, distil, quantize, choose, export");
  addFlags(command, demoConfig);
  addCommonFlags(command);
  command.action(async () => {
    const given: Record<string, unknown> = command.opts();
    const config = parseFlags(demoConfig, given);
    const json = given.json === true;
    const say = (text: string): void => {
      if (!json) process.stdout.write(`${text}\n`);
    };
    await withSession({ ...given, fresh: given.fresh ?? false }, signal, async (session) => {
      const started = session.clock.nowMs();
      const study = await starterStudy(
        { ...config, model: "starter" },
        { ...session, log: json ? undefined : session.log },
        (step) => session.log?.(`\n${titles[step]}`),
        (importance) => {
          say(`\n${importance.protocol}`);
          say("change in loss when removed, 10⁻³ nats per token; ≈ within two standard errors of 0");
          say(heatMap(headGrid(importance, "leave-one-out"), { colour: process.stdout.isTTY ?? false }));
        },
      );
      await session.close();
      const page = join(config.out, "report.html");
      const seconds = (session.clock.nowMs() - started) / 1000;
      const made = `${session.engine.description}; ${fixed(seconds, 0)} s; espalier demo --ratio ${config.ratio} --distill-steps ${config.distillSteps} --questions ${config.questions} --keep ${config.keep}`;
      const card = study.card ? cardText(study.card) : "nothing was exported";
      await writeFileAtomic(page, reportPage(study, { keep: config.keep, made, card }));
      const won = study.report?.points[1];
      const lines = [
        `\npruned ${study.pruned.heads.before - study.pruned.heads.after} of ${study.pruned.heads.before} heads (${percent(1 - study.pruned.heads.after / study.pruned.heads.before)}); distilled to KL ${fixed(Math.min(...study.distilled.curve.map((p) => p.heldOutKl)), 4)} from ${fixed(study.distilled.curve[0]?.heldOutKl ?? Number.NaN, 4)}`,
        `\n${tradeoffTable(study.tradeoff)}`,
        won?.accuracy
          ? `\nwinner: ${won.label}, ${fixed((study.tradeoff.fp16Bytes ?? 0) / won.sizeBytes, 2)} times smaller than fp16; on the report split ${percent(won.accuracy.value)} right (95 % interval ${percent(won.accuracy.interval.low)}–${percent(won.accuracy.interval.high)}), ${percent(won.accuracy.keptOfBase)} of the base`
          : `\nno winner: ${study.tradeoff.reason}`,
        `\n${card}`,
        `\npage     ${resolve(page)}`,
        `package  ${study.files.packageFolder ? resolve(study.files.packageFolder) : "none"}`,
        `took     ${duration(seconds)}`,
      ];
      printResult(
        { json },
        () => lines.join("\n"),
        () => ({ ...study, page: resolve(page), seconds }),
      );
    });
  });
}
