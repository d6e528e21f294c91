/** The command as a person meets it: exit codes, messages, --json, and nothing left behind. */
import { spawnSync } from "node:child_process";
import { readdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder, writeTinyCheckpoint } from "../fixtures/tiny-model.ts";

const root = resolve(import.meta.dirname, "../..");
const folder = await temporaryFolder();
const tiny = join(folder, "tiny");
await writeTinyCheckpoint(tiny, "llama");

function espalier(...args: string[]) {
  const run = spawnSync(process.execPath, ["bin/espalier.js", ...args], {
    cwd: root,
    encoding: "utf8",
    env: { ...process.env, ESPALIER_DATA: join(folder, "data"), NO_COLOR: "1" },
  });
  return { code: run.status, out: run.stdout, err: run.stderr };
}

test("help names every verb and teaches the order", () => {
  const { code, out } = espalier("--help");
  expect(code).toBe(0);
  for (const verb of [
    "demo",
    "import",
    "models",
    "evaluate",
    "generate",
    "sensitivity",
    "prune",
    "distill",
    "quantize",
    "tradeoff",
    "export",
    "inspect",
    "run-package",
  ]) {
    expect(out).toContain(verb);
  }
  expect(espalier("prune", "--help").out).toContain("--ratio");
});

const text = join(folder, "text.txt");
writeFileSync(text, "hello");
const question = { prompt: "a", choices: ["b", "c"], answer: 0 };
const list = join(folder, "list.json");
writeFileSync(list, JSON.stringify([question]));
const longList = join(folder, "long-list.json");
writeFileSync(longList, JSON.stringify([question], null, 1));
const empty = join(folder, "empty.txt");
writeFileSync(empty, " \n ");

test.each([
  ["a verb nobody knows", ["prone"], 2, "unknown command"],
  ["a model that is not there", ["evaluate", join(folder, "nothing"), "--text", text], 3, "model/missing-file"],
  ["a model without a tokenizer", ["evaluate", tiny, "--text", text], 3, "tokenizer.json"],
  ["a flag with a wrong value", ["prune", tiny, "--ratio", "1.5", "--out", join(folder, "x")], 2, "--ratio"],
  ["threads that are no number", ["evaluate", tiny, "--text", text, "--threads", "many"], 2, "--threads"],
  ["an engine nobody knows", ["evaluate", tiny, "--text", text, "--engine", "abacus"], 2, "--engine"],
  ["a file that is no package", ["inspect", text], 3, "format/"],
  ["a list of questions, not one a line", ["evaluate", "starter", "--tasks", list], 3, "jq -c '.[]' writes a list so"],
  [
    "a list of questions on several lines",
    ["evaluate", "starter", "--tasks", longList],
    3,
    "jq -c '.[]' writes a list so",
  ],
  ["an id of 300 letters", ["import", tiny, "--as", "a".repeat(300)], 2, "error: as: Too big"],
  ["a text to inspect", ["inspect", text], 3, "is no model"],
  ["a file of a model", ["inspect", join(tiny, "config.json")], 3, `Give its folder: ${tiny}`],
  ["a checkpoint to run as a package", ["run-package", tiny], 3, "`espalier export` makes a package of it"],
  ["a package that is not there", ["run-package", join(folder, "no.mlpackage")], 3, "there is nothing at"],
  ["a path with nothing there", ["inspect", join(folder, "nowhere")], 3, "model/missing-file"],
])("%s ends with one clear error", (_what, args, code, words) => {
  const result = espalier(...args);
  expect(result.code).toBe(code);
  expect(result.err).toContain(words);
  expect(result.err).not.toContain("    at ");
});

test("--json puts one object on standard output, errors included", () => {
  const good = espalier("inspect", tiny, "--json");
  expect(JSON.parse(good.out)).toMatchObject({ family: "llama", parameters: expect.any(Number) });
  const bad = espalier("evaluate", join(folder, "nothing"), "--text", text, "--json");
  expect(JSON.parse(bad.out)).toMatchObject({ error: { code: "model/missing-file", hint: expect.any(String) } });
});

test("the starter: evaluate, prune by name, quantize, export, run the package", () => {
  const stories = join(folder, "stories.txt");
  writeFileSync(
    stories,
    "This is the story of Mia. She found a key in the attic. It was a Monday.\nQuestion: What did Mia find? Answer: a key.",
  );
  const evaluated = JSON.parse(espalier("evaluate", "starter", "--text", stories, "--json").out);
  for (const key of ["perplexity", "nllPerToken", "bitsPerByte", "tokens", "tokensPerSecond"])
    expect(evaluated[key]).toBeGreaterThan(0);

  const pruned = join(folder, "pruned");
  expect(
    JSON.parse(espalier("prune", "starter", "--drop", "L0.H0,L3.G1", "--out", pruned, "--json").out).heads,
  ).toEqual({ before: 64, after: 59 });
  expect(espalier("prune", "starter", "--drop", "L0.H0", "--out", pruned).err).toContain("store/exists");
  expect(espalier("prune", "starter", "--drop", "L9.H0", "--out", join(folder, "p2")).err).toContain(
    "prune/unknown-unit",
  );
  expect(espalier("prune", "starter", "--drop", "L0.H8", "--out", join(folder, "p2")).err).toContain("H0 to H7");
  expect(espalier("prune", "starter", "--drop", "L2.G0,L2.G1", "--out", join(folder, "p2")).err).toContain(
    "prune/empty-layer",
  );

  const small = join(folder, "small");
  expect(
    JSON.parse(espalier("quantize", pruned, "--bits", "4", "--out", small, "--json").out).bitsPerWeight,
  ).toBeLessThan(5);
  expect(espalier("quantize", pruned, "--bits", "5", "--out", join(folder, "q5")).code).toBe(2);

  const out = join(folder, "package");
  const card = JSON.parse(espalier("export", small, "--to", "coreml", "--out", out, "--json").out);
  expect(card).toMatchObject({ ready: true, layout: "neural-engine", scaling: null, contexts: [256] });
  expect(card.parity).toMatchObject({ greedyIdentical: true, greedyTokens: 64 });
  expect(card.parity.functions.map((f: { name: string }) => f.name)).toEqual(["decode_256", "prefill64_256"]);
  expect(card.headroom.worst).toBeGreaterThan(100);
  expect(card.headroom.layers).toHaveLength(8);

  expect(card.lint).toMatchObject({ units: "cpuAndNeuralEngine", counts: { errors: 0 } });
  expect(card.modelled.kind).toBe("modelled");
  const packaged = join(out, "Model.mlpackage");
  const lint = JSON.parse(espalier("inspect", packaged, "--lint", "--json").out);
  expect(lint.findings.map((f: { rule: string }) => f.rule)).toContain("state/two-with-prefill");
  expect(JSON.parse(espalier("inspect", packaged, "--lint", "--units", "cpuAndGPU", "--json").out).counts.errors).toBe(
    0,
  );
  const modelled = JSON.parse(espalier("inspect", packaged, "--modelled", "--json").out);
  for (const d of modelled.devices) expect(d.decode[0].tokensPerSecond).toBeGreaterThan(0);
  expect(espalier("inspect", packaged, "--lint", "--units", "toaster").err).toContain("toaster is not known");

  const prompt = "Once upon a time there was";
  const said = JSON.parse(espalier("run-package", out, "--prompt", prompt, "--max-tokens", "12", "--json").out);
  const model = JSON.parse(espalier("generate", small, "--prompt", prompt, "--max-tokens", "12", "--json").out);
  expect(said.text).toBe(model.text);
  expect(readdirSync(folder).filter((n) => n.includes("partial"))).toEqual([]);
}, 180_000);
