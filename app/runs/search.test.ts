import { expect, test } from "vitest";
import { row } from "../../test/fixtures/run-row.ts";
import { matches, parseSearch, searchIssues, unknownNames } from "./search.ts";

const run = row({
  id: "run_abc",
  name: "Palette at four bits",
  state: "failed",
  reason: "out of memory",
  tags: ["Paper"],
  config: { model: "starter", bits: 4, scheme: "palette", learningRate: 1e-3 },
  numbers: { KL: 0.04, "bits per weight": 4.1 },
  computeSeconds: 95,
  modelBytes: 500_000,
  outputModelId: "small",
});
const finds = (text: string): boolean => matches(parseSearch(text), run);

test("fields, numbers and words must all hold", () => {
  expect(finds("")).toBe(true);
  expect(finds("state:failed kind:quantize tag:paper palette")).toBe(true);
  expect(finds("state:lost")).toBe(false);
  expect(finds("KL<0.05 bits-per-weight>4")).toBe(true);
  expect(finds("KL<0.03")).toBe(false);
  expect(finds("accuracy>0")).toBe(false);
  expect(finds("memory")).toBe(true);
});

test("commas are any of, a minus turns round, quotes keep words together, any is everything", () => {
  expect(finds("state:lost,failed")).toBe(true);
  expect(finds("-state:lost,failed")).toBe(false);
  expect(finds("-tag:draft")).toBe(true);
  expect(finds('"four bits"')).toBe(true);
  expect(finds('"bits four"')).toBe(false);
  expect(finds('name:"four bits"')).toBe(true);
  expect(finds("state:any kind:any")).toBe(true);
});

test("the config, what was made and times are searched; names need no exact case", () => {
  expect(finds("model:starter")).toBe(true);
  expect(finds("model:small")).toBe(true);
  expect(finds("learningrate=1e-3 learning-rate<=0.001 scheme=palette scheme!=affine")).toBe(true);
  expect(finds("mb<=0.5 took>1min took<2h")).toBe(true);
  expect(finds("took>2min")).toBe(false);
});

test("a name nobody has is told", () => {
  expect(unknownNames(parseSearch("kll<1 kl<1 bitz=palette"), [run])).toEqual(["kll", "bitz"]);
});

test("what cannot mean anything is said", () => {
  expect(searchIssues("state:lost,failed kl<0.05 took>5min kind:prune no pruning")).toEqual([]);
  expect(searchIssues("state:foo kl<abc")).toEqual([
    expect.stringContaining("no state is called foo"),
    expect.stringContaining("kl<abc"),
  ]);
});
