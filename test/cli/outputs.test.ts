/** Where a command may write: whatever path it is given, nothing of the user's goes. */
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join, relative, resolve } from "node:path";
import { expect, test } from "vitest";
import { checkOutputs } from "../../bin/output-check.ts";
import { experimentOf, experiments } from "../../experiments/registry.ts";
import { fieldRoles } from "../../experiments/roles.ts";
import { withOutputDirectory } from "../../lib/files/atomic.ts";
import { temporaryFolder, writeTinyCheckpoint } from "../fixtures/tiny-model.ts";

const folder = await temporaryFolder();
const model = join(folder, "models", "tiny");
await writeTinyCheckpoint(model, "llama");
const text = join(folder, "texts", "text.txt");
mkdirSync(dirname(text));
writeFileSync(text, "hello");
const thesis = join(folder, "thesis");
mkdirSync(thesis);
writeFileSync(join(thesis, "thesis.txt"), "five years");
symlinkSync(folder, join(folder, "models", "link"));
const ours = join(folder, "ours");
await withOutputDirectory(ours, async (partial) => writeFileSync(join(partial, "x"), ""), { marked: true });

const writers = experiments.filter((e) => e.makes !== null).map((e) => e.kind);
const relatively = (path: string): string => relative(process.cwd(), path);

test("makers have a folder to write to, measurements have none", () => {
  for (const { config, makes } of experiments)
    expect([...fieldRoles(config).values()].includes("output")).toBe(makes !== null);
});

const dangerous: Record<string, string> = {
  empty: "",
  blank: "   ",
  "the current folder": ".",
  "the folder above": "..",
  root: "/",
  home: homedir(),
  "the folder above home": dirname(homedir()),
  "the model": model,
  "the model, relatively": relatively(model),
  "the model with a slash": `${model}/`,
  "the model's parent": dirname(model),
  "the text's folder": dirname(text),
  "all of them": folder,
  "all of them through a link": join(folder, "models", "link"),
  "somebody's folder": thesis,
  "a file": text,
};

test.each(writers.flatMap((kind) => Object.entries(dangerous).map(([what, out]) => [kind, what, out] as const)))(
  "%s refuses %s as its output, --replace or not",
  (kind, _what, out) => {
    for (const replace of [false, true])
      expect(() => checkOutputs(experimentOf(kind).config, { model, student: model, text, out, replace })).toThrow();
  },
);

test.each(writers)("%s takes a new folder, and one that it wrote itself when told to replace it", (kind) => {
  const { config } = experimentOf(kind);
  checkOutputs(config, { model, text, out: resolve(folder, "new", "deep") });
  checkOutputs(config, { model, text, out: ours, replace: true });
  expect(() => checkOutputs(config, { model, text, out: ours })).toThrow("exists already");
});
