/** @file The loss of 2048 tokens in windows of 512. */
import { espalier, peer } from "../measured.ts";
import type { RealRow } from "../row.ts";

export const evaluate: RealRow = {
  name: "evaluate 4 × 512",
  seconds: { before: null, goal: null },
  memory: { before: 1.8, goal: 1.2 },
  run: async ({ model, text, python }) => ({
    here: await espalier(["evaluate", model, "--text", text, "--limit", "4", "--context", "512", "--json"]),
    peer: peer(python, ["evaluate", model, text, "2048"]),
  }),
};
