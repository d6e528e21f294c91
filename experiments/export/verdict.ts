/** @file Whether a package is ready, and in words why it is not. */
import type { ExportCard } from "./card.ts";

/** Logits may differ by fp16 rounding: this share of the largest. */
export const LOGIT_TOLERANCE = 0.02;

export type Judged = Pick<ExportCard, "lint" | "parity" | "headroom" | "execution">;

export function verdictOf(card: Judged): Pick<ExportCard, "ready" | "status" | "reasons"> {
  const faults = [...lintFaults(card), ...(card.execution.kind === "none" ? [] : parityFaults(card))];
  if (faults.length > 0) return { ready: false, status: "not-ready", reasons: faults };
  if (card.execution.kind === "none")
    return { ready: false, status: "unexecuted", reasons: [`it was not run here: ${card.execution.explanation}`] };
  return { ready: true, status: "ready", reasons: [] };
}

function lintFaults({ lint }: Judged): string[] {
  return lint.findings
    .filter((f) => f.severity === "error")
    .map((f) => `lint: ${f.title}${f.function ? ` (${f.function})` : ""}: ${f.message}. ${f.fix}`);
}

function parityFaults({ parity, headroom }: Judged): string[] {
  const faults: string[] = [];
  const allowed = LOGIT_TOLERANCE * parity.largestLogit;
  if (!parity.greedyIdentical)
    faults.push(
      `the greedy text differs from the fp32 model's at token ${parity.greedyFirstDifference} of ${parity.greedyTokens}`,
    );
  if (!(parity.maxLogitDifference <= allowed))
    faults.push(
      `logits differ by ${parity.maxLogitDifference.toPrecision(3)}, ${allowed.toPrecision(3)} are allowed: ${100 * LOGIT_TOLERANCE} % of the largest`,
    );
  if (headroom && !(headroom.worst >= 1)) {
    const layer = headroom.layers.findIndex((l) => l.stream > 65504 || l.inside > 65504);
    const where = layer < 0 ? "outside the layers" : `in layer ${layer}, ${headroom.layers[layer]?.insideAt}`;
    faults.push(`a value overflows fp16 ${where}: ${(1 / headroom.worst).toPrecision(3)} times the largest number`);
  }
  return faults;
}
