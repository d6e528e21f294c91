/**
 * @file The starter study: the whole job on the model that comes with the project.
 *
 * Importance on the calibrate split → prune → distil → quantize at several widths → choose on the select split the smallest that
 * keeps 95 % of the base accuracy → measure base and winner once on the report split → export and check the package. Three
 * disjoint splits, so that what is reported was not chosen for.
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { writeFileAtomic } from "../../lib/files/atomic.ts";
import { type ExperimentContext, runExperiment } from "../definition.ts";
import { type DistillSummary, distill, distillConfig } from "../distill/distill.ts";
import { type ExportCard, exportConfig, exportExperiment } from "../export/export.ts";
import { type PruneSummary, prune, pruneConfig } from "../prune/prune.ts";
import { quantize, quantizeConfig } from "../quantize/quantize.ts";
import { type SensitivitySummary, sensitivity, sensitivityConfig } from "../sensitivity/sensitivity.ts";
import {
  heldOutDocuments,
  heldOutQuestions,
  SEED,
  SEPARATOR,
  type Split,
  trainingDocuments,
} from "../starter/corpus.ts";
import { type TradeoffSummary, tradeoff, tradeoffConfig } from "../tradeoff/tradeoff.ts";

export interface StarterStudyOptions {
  readonly model: string;
  readonly out: string;
  /** Share of the heads to prune. */
  readonly ratio: number;
  readonly distillSteps: number;
  readonly questions: number;
  /** Share of the base accuracy the winner must keep. */
  readonly keep: number;
}

export const starterStudyDefaults = { ratio: 0.34, distillSteps: 120, questions: 300, keep: 0.95 };

export interface StarterStudy {
  readonly importance: SensitivitySummary;
  readonly pruned: PruneSummary;
  readonly distilled: DistillSummary;
  readonly tradeoff: TradeoffSummary;
  /** Base and winner on the report split; null without a winner. */
  readonly report: TradeoffSummary | null;
  readonly card: ExportCard | null;
  readonly files: { packageFolder: string | null };
}

export type StudyStep = "importance" | "prune" | "distil" | "quantize" | "trade-off" | "report" | "export";

/** Calls `onStep` as each step begins and `onResult` as each ends, so that a caller can draw what there is. */
export async function starterStudy(
  options: StarterStudyOptions,
  context: ExperimentContext,
  onStep: (step: StudyStep) => void,
  onImportance: (summary: SensitivitySummary) => void,
): Promise<StarterStudy> {
  const { out, model } = options;
  const path = (name: string): string => join(out, name);
  await mkdir(out, { recursive: true });
  const text = async (split: Split, count: number): Promise<string> => {
    const file = path(`${split}.txt`);
    await writeFileAtomic(file, `${heldOutDocuments(split, count).join(`\n${SEPARATOR}\n`)}\n`);
    return file;
  };
  const questions = async (split: Split): Promise<string> => {
    const file = path(`${split}-questions.jsonl`);
    await writeFileAtomic(
      file,
      heldOutQuestions(split, options.questions)
        .map((q) => `${JSON.stringify(q)}\n`)
        .join(""),
    );
    return file;
  };
  const calibrate = await text("calibrate", 48);
  const select = await text("select", 48);
  const report = await text("report", 96);
  const documents = trainingDocuments(SEED + 1);
  const training = path("training.txt");
  await writeFileAtomic(training, Array.from({ length: 4000 }, documents).join(`\n${SEPARATOR}\n`));

  onStep("importance");
  const importance = await runExperiment(
    sensitivity,
    sensitivityConfig.parse({
      model,
      text: calibrate,
      separator: SEPARATOR,
      units: ["heads"],
      metric: ["leave-one-out", "taylor"],
    }),
    context,
  );
  onImportance(importance);

  onStep("prune");
  const pruned = await runExperiment(
    prune,
    pruneConfig.parse({
      model,
      text: calibrate,
      separator: SEPARATOR,
      ratio: options.ratio,
      out: path("pruned"),
      replace: true,
    }),
    context,
  );

  onStep("distil");
  const distilled = await runExperiment(
    distill,
    distillConfig.parse({
      model,
      student: path("pruned"),
      text: training,
      heldOut: select,
      separator: SEPARATOR,
      out: path("distilled"),
      steps: options.distillSteps,
      batch: 8,
      context: 160,
      learningRate: 1e-3,
      evaluateEvery: 40,
      seed: SEED,
      replace: true,
    }),
    context,
  );

  onStep("quantize");
  const settings = [
    { name: "int8", scheme: "affine", bits: 8 },
    { name: "int4-group32", scheme: "affine", bits: 4, groupSize: 32 },
    { name: "palette4", bits: 4 },
    { name: "palette3", bits: 3 },
    { name: "palette2", bits: 2 },
    { name: "palette2-embedding4", bits: 2, embeddingBits: 4 },
  ];
  for (const { name, ...setting } of settings) {
    await runExperiment(
      quantize,
      quantizeConfig.parse({ model: path("distilled"), out: path(name), replace: true, ...setting }),
      context,
    );
  }

  onStep("trade-off");
  const models = [path("pruned"), path("distilled"), ...settings.map((s) => path(s.name))];
  const compared = await runExperiment(
    tradeoff,
    tradeoffConfig.parse({
      base: model,
      models,
      text: select,
      separator: SEPARATOR,
      tasks: await questions("select"),
      measure: "accuracy",
      keep: options.keep,
    }),
    context,
  );
  if (compared.winner === null || compared.winner === model) {
    return {
      importance,
      pruned,
      distilled,
      tradeoff: compared,
      report: null,
      card: null,
      files: { packageFolder: null },
    };
  }

  onStep("report");
  const reported = await runExperiment(
    tradeoff,
    tradeoffConfig.parse({
      base: model,
      models: [compared.winner],
      text: report,
      separator: SEPARATOR,
      tasks: await questions("report"),
      measure: "accuracy",
      keep: options.keep,
    }),
    context,
  );

  onStep("export");
  const { card } = await runExperiment(
    exportExperiment,
    exportConfig.parse({
      model: compared.winner,
      out: path("package"),
      text: report,
      separator: SEPARATOR,
      name: "Starter",
      replace: true,
    }),
    context,
  );
  return {
    importance,
    pruned,
    distilled,
    tradeoff: compared,
    report: reported,
    card,
    files: { packageFolder: path("package") },
  };
}
