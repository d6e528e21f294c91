/** @file What the card of a package says, as lines: which check came out how, and lint findings brought together. */

import type { inferRouterOutputs } from "@trpc/server";
import { withoutFlags } from "../../experiments/flags.ts";
import { type FileTarget, isFileCard } from "../../experiments/kinds/export/file-card.ts";
import { LOGIT_TOLERANCE } from "../../experiments/kinds/export/verdict.ts";
import type { CallTime } from "../../lib/cost/model.ts";
import type { ComputeUnits } from "../../lib/formats/coreml/compute-units.ts";
import { opsetNamed } from "../../lib/formats/coreml/targets.ts";
import type { AppRouter } from "../../server/api/router.ts";
import { count, fixed } from "../parts/format.ts";

type Outputs = inferRouterOutputs<AppRouter>;
export type PackageDetail = Outputs["packages"]["get"];
export type PackageEntry = Outputs["packages"]["list"][number];
export type Modelled = Outputs["packages"]["modelled"];
export type Placed = Outputs["packages"]["placement"][number];
export type ReportDetail = Outputs["reports"]["get"];
export type ReportRun = ReportDetail["body"]["runs"][number];
type Card = PackageEntry["card"];
/** Of a Core ML package. */
export type CoremlCard = Exclude<Card, { to: FileTarget }>;

/** Of a file or folder that another program runs, without functions or devices. */
export type FileCard = Extract<Card, { to: FileTarget }>;

/** The card of a Core ML package; null for another target's. */
export const coremlOf = (card: Card): CoremlCard | null => (isFileCard(card) ? null : card);

export const unitWords: Record<ComputeUnits, string> = {
  cpuOnly: "CPU only",
  cpuAndGPU: "CPU and GPU",
  cpuAndNeuralEngine: "CPU and Neural Engine",
  all: "all units",
};

const systemOf = (opset: string): string => opsetNamed(opset)?.system ?? opset;

export const layoutWords = (layout: CoremlCard["layout"]): string =>
  layout === "neural-engine" ? "Neural Engine layout" : "plain layout";

/** What a package is for, in a few words. */
export function targetWords({ card, contents }: Pick<PackageEntry, "card" | "contents">): string {
  switch (card.to) {
    case "gguf":
      return `llama.cpp, GGUF ${card.architecture}`;
    case "mlx":
      return "MLX on a Mac";
    default:
      return `${systemOf(contents.opset)}, ${layoutWords(card.layout)}`;
  }
}

export interface CheckLine {
  /** `noted`: told, with no bound it is held to; or not checked. */
  readonly state: "passed" | "failed" | "noted";
  readonly name: string;
  readonly value: string;
  /** More of it, on hover and in the table. */
  readonly more?: string;
}

export function parityLines(card: Card, operations: number): CheckLine[] {
  const { parity } = card;
  const headroom = coremlOf(card)?.headroom;
  // What quantizing to another type changes is a loss, not a fault.
  const isHeld = !isFileCard(card) || !card.types.some((t) => t.fidelity === "quantized");
  const state = (passed: boolean): CheckLine["state"] => (isHeld ? (passed ? "passed" : "failed") : "noted");
  const tolerance = LOGIT_TOLERANCE * parity.largestLogit;
  const lines: CheckLine[] = [
    ...qualityLine(card),
    // A package that cannot be read back is never kept.
    readBackLine(card, operations),
    sizeLine(card),
    {
      state: state(parity.maxLogitDifference <= tolerance),
      name: "Largest logit difference",
      value: fixed(parity.maxLogitDifference, 4),
      more: `of ${fixed(parity.largestLogit, 1)}; ${fixed(tolerance, 2)} is allowed`,
    },
    {
      state: "noted",
      name: "KL to the fp32 recipe, nats",
      value: scientific(parity.meanKl),
      more: `same top token at ${fixed(100 * parity.topAgreement, 1)} % of ${count(parity.positions)} positions`,
    },
    {
      state: state(parity.greedyIdentical),
      name: `Greedy text, ${count(parity.greedyTokens)} tokens`,
      ...(parity.greedyTies?.length
        ? { more: `${parity.greedyTies.length} of them a tie that fp16 cannot decide` }
        : {}),
      value: parity.greedyIdentical ? "identical" : `differs at ${parity.greedyFirstDifference ?? "?"}`,
    },
  ];
  // A file has no functions of its own to agree with each other.
  if (parity.prefillMaxDifference !== null && !isFileCard(card))
    lines.push({
      state: state(parity.prefillMaxDifference <= tolerance),
      name: "Prefill + decode = one prefill",
      value: parity.prefillMaxDifference === 0 ? "identical" : `within ${fixed(parity.prefillMaxDifference, 4)}`,
    });
  if (headroom) {
    const tightest = headroom.layers.reduce((at, l, i) => (l.inside > (headroom.layers[at]?.inside ?? 0) ? i : at), 0);
    const where = headroom.layers[tightest];
    lines.push({
      state: state(headroom.worst >= 1),
      name: `fp16 headroom, tightest L${tightest}`,
      value: `×${headroom.worst >= 100 ? count(headroom.worst) : fixed(headroom.worst, 1)}`,
      more: `${where ? `largest inside: ${where.insideAt}; ` : ""}on ${count(headroom.positions)} positions`,
    });
  }
  const parser = { gguf: "llama.cpp", mlx: "mlx-lm", coreml: "Apple’s parser" }[card.to ?? "coreml"];
  return [
    ...lines,
    { state: "noted", name: parser, value: "not available here", more: withoutFlags(card.notChecked.join("; ")) },
  ];
}

function readBackLine(card: Card, operations: number): CheckLine {
  switch (card.to) {
    case "gguf":
      return { state: "passed", name: "Read back, bit for bit", value: `${count(card.tensorsCompared)} tensors` };
    case "mlx":
      return {
        state: "passed",
        name: "Read back and computed",
        value: `${count(card.types.reduce((n, t) => n + t.tensors, 0))} matrices`,
      };
    default:
      return { state: "passed", name: "Read back and type-checked", value: `${count(operations)} ops` };
  }
}

/** What its model lost against the original. */
function qualityLine({ good }: Card): CheckLine[] {
  if (!good) return [];
  const kl = good.origin?.loss?.against === "original" ? good.origin.loss.kl.mean : null;
  return [
    {
      state: good.ok === true ? "passed" : "failed",
      name: good.origin ? `Good: KL to ${good.origin.name}, nats` : "Good: an original model",
      value: kl === null ? (good.ok === null ? "not known" : "nothing lost") : fixed(kl, 3),
      more: good.reason,
    },
  ];
}

function sizeLine({ predictedBytes, packageBytes, weightBytes }: Card): CheckLine {
  if (typeof predictedBytes !== "number" || typeof packageBytes !== "number")
    return {
      state: "noted",
      name: "Bytes of the weight file",
      value: count(weightBytes),
      more: "no prediction was made",
    };
  const isEqual = predictedBytes === packageBytes;
  return {
    state: isEqual ? "passed" : "failed",
    name: isEqual ? "Predicted bytes equal the files" : "Predicted bytes differ from the files",
    value: count(packageBytes),
    more: `${count(predictedBytes)} predicted, ${count(weightBytes)} of them weights`,
  };
}

/** `3.2 · 10⁻⁶` */
export function scientific(v: number): string {
  if (v === 0) return "0";
  const [mantissa = "", exponent = "0"] = v.toExponential(1).split("e");
  const digits = [...String(Math.abs(Number(exponent)))].map((d) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(d)]).join("");
  return Number(exponent) === 0 ? mantissa : `${mantissa} · 10${Number(exponent) < 0 ? "⁻" : ""}${digits}`;
}

type Finding = NonNullable<CoremlCard["lint"]>["findings"][number];
export interface LintGroup {
  readonly rule: string;
  readonly severity: Finding["severity"];
  readonly title: string;
  readonly fix: string;
  /** Each once, with the functions it was said of. */
  readonly messages: readonly { readonly text: string; readonly functions: readonly string[] }[];
  readonly operations: readonly string[];
}

const order: Record<Finding["severity"], number> = { error: 0, warning: 1, info: 2 };

/** One entry a rule, the gravest first: a rule speaks once for every function it looks at. */
export function lintGroups(findings: readonly Finding[]): LintGroup[] {
  const groups = new Map<string, Finding[]>();
  for (const f of findings)
    groups.set(`${f.rule} ${f.severity}`, [...(groups.get(`${f.rule} ${f.severity}`) ?? []), f]);
  return [...groups.values()]
    .flatMap((found): LintGroup[] => {
      const [first] = found;
      if (!first) return [];
      const messages = [...new Set(found.map((f) => f.message))].map((text) => ({
        text,
        functions: found.flatMap((f) => (f.message === text && f.function !== null ? [f.function] : [])),
      }));
      const { rule, severity, title, fix } = first;
      return [{ rule, severity, title, fix, messages, operations: [...new Set(found.flatMap((f) => f.operations))] }];
    })
    .sort((a, b) => order[a.severity] - order[b.severity]);
}

export interface TimeRow {
  readonly name: string;
  /** Milliseconds; null where the model says nothing of it. */
  readonly modelled: number | null;
  /** Null where the probe cannot tell it apart. */
  readonly reported: number | null;
  readonly isSum?: boolean;
}

/** Where the time of a token goes: parts of the model, and what a probe can tell apart. */
export function timeRows(ms: CallTime | null, reported: { totalMs: number; hostMs: number | null } | null): TimeRow[] {
  const part = (name: string, value: number | undefined): TimeRow[] =>
    value === undefined || value === 0 ? [] : [{ name, modelled: value, reported: null }];
  const rows = [
    ...part("Weights from memory", ms?.weightsMs),
    ...part("Arithmetic", ms?.arithmeticMs),
    ...part("Palette tables", ms?.tablesMs),
    ...part("Cache", ms?.cacheMs),
    ...part("On other units", ms?.elsewhereMs),
    ...part("Hand-overs", ms?.handOversMs),
    ...part("The call itself", ms?.callsMs),
  ];
  const host = reported?.hostMs ?? null;
  return [
    ...rows,
    {
      name: "Prediction",
      modelled: ms?.totalMs ?? null,
      reported: reported && host !== null ? reported.totalMs - host : null,
      isSum: true,
    },
    { name: "Host: tables, choice of token", modelled: null, reported: host },
    { name: "All", modelled: null, reported: reported?.totalMs ?? null, isSum: true },
  ];
}
