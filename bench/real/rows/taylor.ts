/** @file Taylor importance of heads and layers on 1024 tokens; the peer takes the gradient of a gate on attention's output. */
import { espalier, peer } from "../measured.ts";
import type { RealRow } from "../row.ts";

export const taylor: RealRow = {
  name: "Taylor 4 × 256",
  seconds: { before: 20, goal: null },
  memory: { before: 6.4, goal: 3 },
  run: async ({ model, text, python }) => ({
    here: await espalier([
      ...["sensitivity", model, "--text", text, "--units", "heads,layers", "--metric", "taylor"],
      ...["--limit", "4", "--context", "256", "--json"],
    ]),
    peer: peer(python, ["taylor", model, text, "1024"]),
  }),
};
