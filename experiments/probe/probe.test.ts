import { expect, test } from "vitest";
import { GOLDEN_FORMAT, type Golden, goldenPrompt } from "../kinds/export/golden.ts";
import { compareWith } from "./compare.ts";
import { whyNotEncoded } from "./tokenizer-support.ts";
import { projectFile } from "./xcode-project.ts";

const project = {
  sources: ["A.swift", "B C.swift"],
  tests: ["T.swift"],
  payload: ["../P.mlpackage", "Payload/probe.json"],
  deploymentTarget: "18.0",
  needsMuchMemory: false,
};

test("the same project has the same bytes, whatever is asked for before", () => {
  const first = projectFile(project);
  projectFile({ ...project, sources: ["Z.swift"] });
  expect(projectFile(project)).toBe(first);
  expect(first).toContain('"Sources/B C.swift"');
  expect(projectFile({ ...project, needsMuchMemory: true })).toContain("Probe.entitlements");
  expect(first).not.toContain("Probe.entitlements");
});

test("a golden prompt has a whole chunk and a padded one where the context allows", () => {
  const text = Array.from({ length: 200 }, (_, i) => i);
  expect(goldenPrompt(text, [{ context: 512, width: 64 }])).toHaveLength(69);
  // The smallest context decides: there must be room for the greedy tokens.
  expect(
    goldenPrompt(text, [
      { context: 512, width: 64 },
      { context: 64, width: 1 },
    ]),
  ).toHaveLength(32);
  expect(goldenPrompt(text.slice(0, 10), [{ context: 512, width: 64 }])).toHaveLength(10);
  expect(goldenPrompt(text, [{ context: 16, width: 8 }])).toHaveLength(1);
});

const exact = [
  [2, 1, 0, -1],
  [0, 3, 2.95, -2],
];
const golden: Golden = {
  format: GOLDEN_FORMAT,
  vocab: 4,
  tolerance: 0.1,
  sequences: [
    {
      name: "s",
      prompt: [1],
      greedy: [0, 1],
      margins: [1, 0.05],
      positions: exact.map((row, position) => ({
        position,
        tokens: [...row.keys()].sort((a, b) => (row[b] as number) - (row[a] as number)).slice(0, 2),
        logits: [...row].sort((a, b) => b - a).slice(0, 2),
        logSumExp: Math.log(row.reduce((n, z) => n + Math.exp(z), 0)),
      })),
    },
  ],
  cases: [{ name: "decode", decode: "decode", prefill: null, context: 8, sequence: 0 }],
};
const compared = (rows: readonly (readonly number[])[], greedy: readonly number[]) => {
  const comparison = compareWith(golden, golden.cases[0] as Golden["cases"][number]);
  for (const [i, row] of rows.entries()) comparison.add(i, Float32Array.from(row));
  return comparison.finish(greedy);
};

test("logits that are the expected ones pass with no divergence", () => {
  const same = compared(exact, [0, 1]);
  expect(same).toMatchObject({ passed: true, positions: 2, topAgreement: 1, greedyIdentical: true });
  expect(same.maxLogitDifference).toBeLessThan(1e-6);
  expect(Math.abs(same.meanKl)).toBeLessThan(1e-9);
});

test("another choice is forgiven where the two best were as good as tied, and only there", () => {
  expect(compared(exact, [0, 2])).toMatchObject({ passed: true, greedyFirstDifference: 1, marginAtDifference: 0.05 });
  expect(compared(exact, [3, 1])).toMatchObject({ passed: false, greedyFirstDifference: 0, marginAtDifference: 1 });
  expect(compared(exact, [0])).toMatchObject({ greedyFirstDifference: 1 });
});

test("a logit beyond the tolerance, one that is not finite, and no logits at all fail", () => {
  expect(compared([[2.2, 1, 0, -1], exact[1] as number[]], [0, 1])).toMatchObject({ passed: false });
  expect(compared([[Number.NaN, 1, 0, -1], exact[1] as number[]], [0, 1])).toMatchObject({
    passed: false,
    nonFinite: 1,
  });
  expect(compared([], [0, 1])).toMatchObject({ passed: false, positions: 0 });
});

test("the divergence over the listed tokens is that of the coarsened distributions", () => {
  const found = [2.05, 0.95, 0.02, -1];
  const coarse = (row: readonly number[], tokens: readonly number[]): number[] => {
    const all = row.map(Math.exp);
    const total = all.reduce((n, p) => n + p, 0);
    const listed = tokens.map((t) => (all[t] as number) / total);
    return [...listed, 1 - listed.reduce((n, p) => n + p, 0)];
  };
  const [p, q] = [coarse(exact[0] as number[], [0, 1]), coarse(found, [0, 1])];
  const kl = p.reduce((n, a, i) => n + a * Math.log(a / (q[i] as number)), 0);
  expect(compared([found], [0, 1]).meanKl).toBeCloseTo(kl, 6);
});

test("tokenizers of a form that the app does not know are named with the reason", () => {
  expect(whyNotEncoded({ model: { type: "Unigram" } })).toContain("Unigram");
  expect(whyNotEncoded({ model: { type: "BPE", continuing_subword_prefix: "##" } })).toContain("prefix");
  const model = { type: "BPE" };
  const metaspace = { type: "Sequence", pretokenizers: [{ type: "Metaspace" }] };
  expect(whyNotEncoded({ model, pre_tokenizer: metaspace })).toContain("Metaspace");
  expect(whyNotEncoded({ model, pre_tokenizer: { type: "ByteLevel" }, decoder: { type: "ByteLevel" } })).toBe("");
  const added_tokens = [{ id: 3, content: "<mask>", lstrip: true }];
  expect(whyNotEncoded({ model, added_tokens })).toBe("its token <mask> takes spaces with it or is a word of its own");
  expect(whyNotEncoded(null)).toContain("tokenizer.json");
});
