/** Tokens in a row are the text, also where the decoder strips the space that begins it. */
import { expect, test } from "vitest";
import { tokenText } from "./token-text.ts";
import { tokenizerOf } from "./tokenizer.ts";

const vocabulary = ["<unk>", "▁there", "▁was", "▁a", "girl", "s"];
const sentencePiece = tokenizerOf(
  {
    tokenizer: {
      version: "1.0",
      added_tokens: [],
      normalizer: null,
      pre_tokenizer: null,
      post_processor: null,
      decoder: {
        type: "Sequence",
        decoders: [
          { type: "Replace", pattern: { String: "▁" }, content: " " },
          { type: "ByteFallback" },
          { type: "Fuse" },
          { type: "Strip", content: " ", start: 1, stop: 0 },
        ],
      },
      model: {
        type: "BPE",
        unk_token: "<unk>",
        fuse_unk: true,
        byte_fallback: true,
        vocab: Object.fromEntries(vocabulary.map((t, i) => [t, i])),
        merges: [],
      },
    },
    own: {},
    generation: {},
    model: {},
  },
  "test",
);

test("spaces stay", () => {
  const ids = [1, 2, 3, 4, 5];
  expect(sentencePiece.decode(ids)).toBe("there was agirls");
  // What was seen before: words run together.
  expect(ids.map((id) => sentencePiece.decode([id])).join("")).toBe("therewasagirls");
  expect(ids.map((id) => tokenText(sentencePiece, id)).join("")).toBe(" there was agirls");
});
