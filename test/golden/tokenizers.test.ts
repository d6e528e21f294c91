/** Ids of transformers where the files beside `tokenizer.json` add tokens (test/oracles/tokenizer_golden.py). */
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { folderFiles } from "../../lib/files/named-files.ts";
import { wholeTokenizer } from "../../lib/tokenizer/added-tokens.ts";
import { loadTokenizer } from "../../lib/tokenizer/tokenizer.ts";
import { temporaryFolder } from "../fixtures/tiny-model.ts";

interface Golden {
  texts: string[];
  cases: Record<string, { files: Record<string, object>; ids: number[][] }>;
}

const golden: Golden = JSON.parse(readFileSync(join(import.meta.dirname, "tokenizers/golden.json"), "utf8"));
const starter = join(import.meta.dirname, "../../experiments/starter/model");
const starterFile = (name: string): object => JSON.parse(readFileSync(join(starter, name), "utf8"));

/** What is refused, by case; else, what of a text is refused. */
const refused = new Map([
  ["split", /split_special_tokens true is not supported/],
  ["an id out of turn", /tokenizer_config\.json says 2000 for the added token "<mask>", which is token 1024/],
  ["Contiguous, inverted", /needs the pre-tokenizer Split, inverted and Contiguous, which is not supported/],
  ["by script", /needs the pre-tokenizer UnicodeScripts, which is not supported/],
  ["an empty token", /tokenizer\.json says 1025 for the added token "<mask>", which is token 1024/],
]);
const refusedTexts = (name: string): readonly string[] =>
  name.includes("one word") ? ["cats cat concat cat-cat"] : [];

async function laidOut(files: Record<string, object>): Promise<string> {
  const folder = await temporaryFolder();
  const whole = {
    ...files,
    "tokenizer.json": { ...starterFile("tokenizer.json"), ...files["tokenizer.json"] },
    "tokenizer_config.json": { ...starterFile("tokenizer_config.json"), ...files["tokenizer_config.json"] },
  };
  for (const [name, content] of Object.entries(whole)) await writeFile(join(folder, name), JSON.stringify(content));
  return folder;
}

test.each(Object.entries(golden.cases))("%s", async (name, { files, ids }) => {
  const folder = await laidOut(files);
  const refusal = refused.get(name);
  if (refusal) {
    await expect(loadTokenizer(folderFiles(folder))).rejects.toThrow(refusal);
    return;
  }
  const tokenizer = await loadTokenizer(folderFiles(folder));
  const found = golden.texts.map((text) => {
    if (!refusedTexts(name).includes(text)) return tokenizer.encode(text);
    expect(() => tokenizer.encode(text)).toThrow(/the text has "cat" inside a word; as an added token it is a word/);
    return "refused";
  });
  const expected = golden.texts.map((text, i) => (refusedTexts(name).includes(text) ? "refused" : ids[i]));
  // `tokenizer.json` alone says how text is cut, whatever the class.
  if (name === "a class that cuts otherwise") expect(found).toEqual(golden.cases.nothing?.ids);
  else expect(found).toEqual(expected);
});

test.each(["a decoder, left", "special_tokens_map.json", "a role as a record"])(
  "%s: tokenizer.json completed by the others is enough alone",
  async (name) => {
    const { files = {}, ids } = golden.cases[name] ?? {};
    const whole = await wholeTokenizer(folderFiles(await laidOut(files)));
    expect(whole?.completed).toBe(true);
    const alone = await temporaryFolder();
    await writeFile(join(alone, "tokenizer.json"), JSON.stringify(whole?.tokenizer));
    const tokenizer = await loadTokenizer(folderFiles(alone));
    expect(golden.texts.map((text) => tokenizer.encode(text))).toEqual(ids);
  },
);
