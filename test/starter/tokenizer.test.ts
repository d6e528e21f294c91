/** Our own byte-pair encoder, which made the training tokens, beside the library that everybody else will use. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { expect, test } from "vitest";
import { bpeEncoder, specials } from "../../experiments/starter/bpe.ts";
import { heldOutDocuments, heldOutQuestions } from "../../experiments/starter/corpus.ts";
import { folderFiles } from "../../lib/files/named-files.ts";
import { loadTokenizer } from "../../lib/tokenizer/tokenizer.ts";

const directory = fileURLToPath(new URL("../../experiments/starter/model", import.meta.url));
const { model } = JSON.parse(readFileSync(`${directory}/tokenizer.json`, "utf8"));
const encode = bpeEncoder({ vocab: new Map(Object.entries<number>(model.vocab)), merges: model.merges });
const library = await loadTokenizer(folderFiles(directory));

test("both give the same tokens for the starter's own text, and the text comes back", () => {
  const texts = [
    ...heldOutDocuments("report", 300),
    ...heldOutQuestions("report", 200).flatMap((q) => [q.prompt, ...q.choices.map((c) => q.prompt + c)]),
  ];
  for (const text of texts) {
    const ids = encode(text);
    expect(library.encode(text)).toEqual(ids);
    expect(library.decode(ids)).toBe(text);
    expect(Math.max(...ids)).toBeLessThan(1024);
  }
});

const words = heldOutDocuments("select", 20).join(" ").split(" ");
const text = fc
  .oneof(
    fc.string(),
    fc.string({ unit: "binary" }),
    fc.string({ unit: "grapheme", maxLength: 40 }),
    fc
      .array(fc.constantFrom(...words, " ", "  ", "\n", "▁", ".", "?", '"', "é", "東", "🙂", "\t", "\r\n", "\u0000"))
      .map((parts) => parts.join("")),
  )
  // Those names are tokens of their own to the library.
  .filter((t) => !specials.some((s) => t.includes(s)));

test("both give the same tokens for any text, known letters or not", () => {
  fc.assert(
    fc.property(text, (t) => {
      expect(library.encode(t)).toEqual(encode(t));
    }),
    { numRuns: 3000 },
  );
});

test("text without the space sign comes back from its tokens", () => {
  fc.assert(
    fc.property(
      text.filter((t) => !t.includes("▁") && !/\p{Surrogate}/u.test(t)),
      (t) => {
        expect(library.decode(encode(t))).toBe(t);
      },
    ),
    { numRuns: 1000 },
  );
});
