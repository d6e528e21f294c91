import { expect, test } from "vitest";
import type { OriginRecord } from "../../../lib/checkpoint/origin.ts";
import { qualityOf } from "./quality.ts";
import { type Judged, verdictOf } from "./verdict.ts";

const loss = (kl: number, against: "original" | "parent" = "original") => ({
  against,
  protocol: "a text",
  tokens: 100,
  kl: { mean: kl, standardError: 0.01 },
  perplexity: 20,
  basePerplexity: 17,
  agreement: { mean: 0.8, standardError: 0.01 },
  questions: null,
});
const madeFrom = (origin: Partial<OriginRecord>) => ({
  espalier: { version: 1, origin: { hash: "abc", name: "base", loss: null, note: null, ...origin } },
});

test.each([
  ["an original", {}, true, "an original"],
  ["what lost little", madeFrom({ loss: loss(0.05) }), true, "0.0500 nats"],
  ["what lost much", madeFrom({ loss: loss(1.9) }), false, "above the limit of 0.2"],
  ["what was measured against its parent alone", madeFrom({ loss: loss(0.01, "parent") }), null, "parent"],
  ["what was never measured", madeFrom({ note: "no text was given" }), null, "no text was given"],
  ["what was made here before records were kept", { espalier: { version: 1 } }, null, "does not say"],
] as const)("%s", (_what, config, ok, words) => {
  const found = qualityOf(config, 0.2);
  expect(found.ok).toBe(ok);
  expect(found.reason).toContain(words);
});

const right: Judged = {
  lint: {
    units: "cpuAndNeuralEngine",
    findings: [],
    counts: { passed: 1, notApplicable: 0, errors: 0, warnings: 0, infos: 0 },
  },
  parity: {
    positions: 10,
    greedyTokens: 8,
    greedyIdentical: true,
    greedyFirstDifference: null,
    greedyTies: [],
    maxLogitDifference: 0.001,
    largestLogit: 10,
    meanKl: 0,
    topAgreement: 1,
    prefillMaxDifference: 0,
    functions: [],
  },
  headroom: null,
  execution: { kind: "whole", modelBytes: 1, heldUpToBytes: 2, explanation: "" },
};

test("ready is faithful and good; a model of garbage, faithfully packaged, is not", () => {
  const good = qualityOf({}, 0.2);
  expect(verdictOf(right, good)).toMatchObject({ ready: true, status: "ready", faithful: { ok: true }, reasons: [] });
  const garbage = verdictOf(right, qualityOf(madeFrom({ loss: loss(1.9) }), 0.2));
  expect(garbage).toMatchObject({ ready: false, status: "not-ready", faithful: { ok: true }, good: { ok: false } });
  expect(garbage.reasons[0]).toMatch(/^not good: KL to base is 1.90/);
  const unfaithful = verdictOf({ ...right, parity: { ...right.parity, maxLogitDifference: 5 } }, good);
  expect(unfaithful).toMatchObject({ ready: false, faithful: { ok: false }, good: { ok: true } });
  const unrun = verdictOf({ ...right, execution: { ...right.execution, kind: "none" } }, good);
  expect(unrun).toMatchObject({ ready: false, status: "unexecuted", faithful: { ok: null } });
  const unknown = verdictOf(right, qualityOf({ espalier: { version: 1 } }, 0.2));
  expect(unknown).toMatchObject({ ready: false, status: "not-ready", good: { ok: null } });
});
