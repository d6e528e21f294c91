/** @file 64 greedy tokens with the cache. */
import { espalier, peer } from "../measured.ts";
import type { RealRow } from "../row.ts";

export const generate: RealRow = {
  name: "generate 64 tokens",
  seconds: { before: null, goal: null },
  memory: { before: null, goal: null },
  run: async ({ model, text, python }) => ({
    here: await espalier([
      ...["generate", model, "--prompt", "The capital of France is", "--max-tokens", "64", "--ignore-eos", "--json"],
    ]),
    peer: peer(python, ["generate", model, text, "64"]),
  }),
};
