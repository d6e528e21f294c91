/**
 * @file Whether a package is ready and, if not, the reasons in words.
 *
 * Ready means two things: faithful (here it computes the same as its model) and good (its model
 * still predicts what the original predicts).
 */
import type { CoremlCard } from "./card.ts";
import type { Quality } from "./quality.ts";

/** Logits may differ by fp16 rounding: this share of the largest. */
export const LOGIT_TOLERANCE = 0.02;

export type Judged = Pick<CoremlCard, "lint" | "parity" | "headroom" | "execution">;

export type Verdict = Pick<CoremlCard, "ready" | "status" | "reasons" | "faithful" | "good">;

export function verdictOf(card: Judged, good: Quality): Verdict {
  const unrun = card.execution.kind === "none";
  const faults = [...lintFaults(card), ...(unrun ? [] : parityFaults(card))];
  const losses = good.ok === true ? [] : [`${good.ok === null ? "not known to be good" : "not good"}: ${good.reason}`];
  const faithful = { ok: faults.length > 0 ? false : unrun ? null : true, reasons: faults };
  const reasons = [...faults, ...losses];
  if (reasons.length > 0) return { ready: false, status: "not-ready", reasons, faithful, good };
  if (unrun)
    return {
      ready: false,
      status: "unexecuted",
      reasons: [`it was not run here: ${card.execution.explanation}`],
      faithful,
      good,
    };
  return { ready: true, status: "ready", reasons: [], faithful, good };
}

function lintFaults({ lint }: Judged): string[] {
  return lint.findings
    .filter((f) => f.severity === "error")
    .map((f) => `lint: ${f.title}${f.function ? ` (${f.function})` : ""}: ${f.message}. ${f.fix}`);
}

/** What speaks against a package that was run. */
export function parityFaults({ parity, headroom }: Pick<Judged, "parity" | "headroom">): string[] {
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
