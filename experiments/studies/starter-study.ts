/**
 * @file The starter study: the whole job on the model that comes with the project, as a graph of runs.
 *
 * Importance on the calibrate split → prune → distill → what each tensor loses at each width → quantize at several widths, alike
 * and mixed under a budget → choose on the select split the smallest that
 * keeps 95 % of the base accuracy → measure base and winner once on the report split → export and check the packages, a GGUF file and a Core ML package. Three
 * disjoint splits, so that what is reported was not chosen for.
 */
import { z } from "zod";
import type { DistillSummary } from "../kinds/distill/distill.ts";
import type { ExportCard } from "../kinds/export/export.ts";
import type { PruneSummary } from "../kinds/prune/prune.ts";
import type { SensitivitySummary } from "../kinds/sensitivity/sensitivity.ts";
import type { TradeoffSummary } from "../kinds/tradeoff/tradeoff.ts";
import {
  heldOutDocuments,
  heldOutQuestions,
  SEED,
  SEPARATOR,
  type Split,
  trainingDocuments,
} from "../starter/corpus.ts";
import type { Study } from "./study.ts";

export const starterStudyOptions = z.object({
  ratio: z.number().gt(0).lt(1).default(0.34).describe("Share of the heads to prune"),
  distillSteps: z.number().int().positive().default(120).describe("Steps of distillation"),
  questions: z.number().int().min(10).max(2000).default(300).describe("Questions per split"),
  keep: z.number().gt(0).max(1).default(0.95).describe("Share of the base accuracy the winner must keep"),
});

/** The results of the study's runs; null for runs that did not happen. */
export interface StarterStudyResult {
  readonly importance: SensitivitySummary;
  readonly pruned: PruneSummary;
  readonly distilled: DistillSummary;
  readonly tradeoff: TradeoffSummary;
  /** Base and winner on the report split. */
  readonly report: TradeoffSummary | null;
  readonly card: ExportCard | null;
}

export interface StarterText {
  readonly id: string;
  readonly kind: "text" | "tasks";
  readonly split: "train" | "calibrate" | "select" | "report";
  readonly separator: string | null;
  readonly note: string;
  readonly content: string;
}

const documentsOf: Record<Split, number> = { calibrate: 48, select: 48, report: 96 };

export const questionsId = (split: Split, count: number): string => `starter-${split}-questions-${count}`;

/** Text and questions of the starter; the same every time. */
export function starterTexts(questions: number): StarterText[] {
  const training = trainingDocuments(SEED + 1);
  const joined = (documents: readonly string[]): string => `${documents.join(`\n${SEPARATOR}\n`)}\n`;
  const splits = (["calibrate", "select", "report"] as const).map(
    (split): StarterText => ({
      id: `starter-${split}`,
      kind: "text",
      split,
      separator: SEPARATOR,
      note: `${documentsOf[split]} stories the starter has not seen`,
      content: joined(heldOutDocuments(split, documentsOf[split])),
    }),
  );
  const tasks = (["select", "report"] as const).map(
    (split): StarterText => ({
      id: questionsId(split, questions),
      kind: "tasks",
      split,
      separator: null,
      note: `${questions} questions with four choices`,
      content: heldOutQuestions(split, questions)
        .map((q) => `${JSON.stringify(q)}\n`)
        .join(""),
    }),
  );
  const train: StarterText = {
    id: "starter-train",
    kind: "text",
    split: "train",
    separator: SEPARATOR,
    note: "4 000 stories for distillation",
    content: joined(Array.from({ length: 4000 }, training)),
  };
  return [...splits, ...tasks, train];
}

const widths: { name: string; [option: string]: unknown }[] = [
  { name: "int8", scheme: "affine", bits: 8 },
  { name: "int4-group32", scheme: "affine", bits: 4, groupSize: 32 },
  { name: "palette4", bits: 4 },
  { name: "palette3", bits: 3 },
  { name: "palette2", bits: 2 },
  { name: "palette2-embedding4", bits: 2, embeddingBits: 4 },
];

/** Bits a weight that widths of tensors are chosen under. */
const mixtures = [2.25, 2.5, 3];
const mixture = (bits: number): string => `mixed-${bits}`.replace(".", "-");

export function starterStudy(given: z.input<typeof starterStudyOptions> = {}): Study {
  const options = starterStudyOptions.parse(given);
  const model = "starter";
  const on = (split: Split) => ({ text: `starter-${split}`, separator: SEPARATOR });
  // Every weight counts alike: the figures in the README are of these settings.
  const measured = {
    ...on("calibrate"),
    limit: 12,
    weighting: "none",
    widths: ["palette2", "palette3", "palette4", "palette6"],
  };
  const compared = { measure: "accuracy", keep: options.keep };
  return {
    title: "Starter study",
    steps: [
      {
        key: "importance",
        kind: "sensitivity",
        name: "what each head is worth",
        config: { model, ...on("calibrate"), units: ["heads"], metric: ["leave-one-out", "taylor"] },
      },
      { key: "prune", kind: "prune", name: "pruned", config: { model, ...on("calibrate"), ratio: options.ratio } },
      {
        key: "distill",
        kind: "distill",
        name: "distilled",
        config: {
          model,
          student: "step:prune",
          text: "starter-train",
          heldOut: "starter-select",
          separator: SEPARATOR,
          steps: options.distillSteps,
          batch: 8,
          context: 160,
          learningRate: 1e-3,
          evaluateEvery: 40,
          seed: SEED,
        },
      },
      ...widths.map(({ name, ...setting }) => ({
        key: name,
        kind: "quantize" as const,
        name,
        config: { model: "step:distill", weighting: "none", ...setting },
      })),
      {
        key: "tensors",
        kind: "sensitivity",
        name: "what each tensor loses at each width",
        config: { model: "step:distill", ...measured, units: ["tensors"] },
      },
      ...mixtures.map((bits) => ({
        key: mixture(bits),
        kind: "quantize" as const,
        name: `mixed ${bits}`,
        config: { model: "step:distill", ...measured, maxBits: bits, search: "measured" },
      })),
      {
        key: "trade-off",
        kind: "tradeoff",
        name: "accuracy against size",
        config: {
          base: model,
          models: ["prune", "distill", ...widths.map((w) => w.name), ...mixtures.map(mixture)].map(
            (key) => `step:${key}`,
          ),
          ...on("select"),
          tasks: questionsId("select", options.questions),
          ...compared,
        },
      },
      {
        key: "report",
        kind: "tradeoff",
        name: "the winner on other questions",
        config: {
          base: model,
          models: ["step:trade-off/winner"],
          ...on("report"),
          tasks: questionsId("report", options.questions),
          ...compared,
        },
      },
      {
        key: "gguf",
        kind: "export",
        name: "file for llama.cpp",
        config: { model: "step:trade-off/winner", ...on("report"), to: "gguf", ollama: true, name: "Starter" },
      },
      {
        key: "export",
        kind: "export",
        name: "package",
        config: { model: "step:trade-off/winner", ...on("report"), name: "Starter" },
      },
    ],
  };
}
