/**
 * @file Found logits against golden ones: the same arithmetic as `GoldenVectors.swift` of the probe.
 *
 * KL(expected ‖ found) over the listed tokens, the rest of the vocabulary taken as one outcome; a lower bound of the full KL.
 */

import { argmax } from "../../lib/decoder/generate.ts";
import { f32At, itemAt, numberAt } from "../../lib/elements.ts";
import type { ReportParity } from "../../lib/report/report.ts";
import type { Golden, GoldenCase, GoldenPosition } from "../kinds/export/golden.ts";

export interface Comparison {
  /** Logits after the token at `position`, (vocab). Positions the vectors do not list are let through. */
  add(position: number, logits: Float32Array): void;
  /** With the tokens that free running gave. */
  finish(greedy: readonly number[]): ReportParity;
}

export function compareWith(golden: Golden, goldenCase: GoldenCase): Comparison {
  const sequence = itemAt(golden.sequences, goldenCase.sequence);
  const expected = new Map(sequence.positions.map((p) => [p.position, p]));
  const sums = { positions: 0, worst: 0, agreed: 0, kl: 0, nonFinite: 0 };
  return {
    add(position, logits) {
      const want = expected.get(position);
      if (!want) return;
      sums.positions++;
      let broken = 0;
      for (const z of logits) if (!Number.isFinite(z)) broken++;
      sums.nonFinite += broken;
      if (broken > 0) return;
      for (const [i, token] of want.tokens.entries())
        sums.worst = Math.max(sums.worst, Math.abs(f32At(logits, token) - numberAt(want.logits, i)));
      if (argmax(logits) === want.tokens[0]) sums.agreed++;
      sums.kl += listedKl(want, logits);
    },
    finish(greedy) {
      const at = sequence.greedy.findIndex((id, i) => greedy[i] !== id);
      const margin = at < 0 ? null : (sequence.margins[at] ?? null);
      const wanted = sums.nonFinite === 0 && sums.positions > 0 && sums.worst <= golden.tolerance;
      return {
        case: goldenCase.name,
        positions: sums.positions,
        maxLogitDifference: sums.worst,
        tolerance: golden.tolerance,
        topAgreement: sums.positions > 0 ? sums.agreed / sums.positions : 0,
        meanKl: sums.positions > sums.nonFinite ? sums.kl / Math.max(1, sums.positions) : 0,
        greedyTokens: sequence.greedy.length,
        greedyIdentical: at < 0,
        greedyFirstDifference: at < 0 ? null : at,
        marginAtDifference: margin,
        nonFinite: sums.nonFinite,
        passed: wanted && (at < 0 || (margin !== null && margin < 2 * golden.tolerance)),
      };
    },
  };
}

function listedKl(want: GoldenPosition, logits: Float32Array): number {
  const top = f32At(logits, argmax(logits));
  let sum = 0;
  for (const z of logits) sum += Math.exp(z - top);
  const logSum = top + Math.log(sum);
  let kl = 0;
  let [restExpected, restFound] = [1, 1];
  for (const [i, token] of want.tokens.entries()) {
    const [a, b] = [numberAt(want.logits, i) - want.logSumExp, f32At(logits, token) - logSum];
    kl += Math.exp(a) * (a - b);
    restExpected -= Math.exp(a);
    restFound -= Math.exp(b);
  }
  const floor = 1e-12;
  [restExpected, restFound] = [Math.max(restExpected, floor), Math.max(restFound, floor)];
  return kl + restExpected * Math.log(restExpected / restFound);
}
