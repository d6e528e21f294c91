/** @file A 4-bit model exported with all checks, and the package run to its first token. */
import { join } from "node:path";
import { z } from "zod";
import { espalier } from "../measured.ts";
import type { RealBench, RealRow } from "../row.ts";

const packageFolder = ({ folder }: RealBench): string => join(folder, "package");
const printed = z.object({ card: z.object({ status: z.string(), parity: z.object({ positions: z.number() }) }) });

export const exportPackage: RealRow = {
  name: "export with all checks",
  seconds: { before: 228, goal: 60 },
  memory: { before: 8, goal: 2 },
  async run(bench) {
    const small = join(bench.folder, "int4");
    await espalier([
      ...["quantize", bench.model, "--scheme", "affine", "--bits", "4", "--group-size", "32"],
      ...["--keep-extremes", "--out", small, "--json"],
    ]);
    const here = await espalier([
      ...["export", small, "--to", "coreml", "--contexts", "512", "--check-tokens", "16", "--text", bench.text],
      ...["--out", packageFolder(bench), "--json"],
    ]);
    const { card } = printed.parse(JSON.parse(here.output));
    return { here, peer: null, note: `${card.status}, ${card.parity.positions} positions` };
  },
};

export const runPackage: RealRow = {
  name: "run-package, first token",
  seconds: { before: 48, goal: 10 },
  memory: { before: 8, goal: 2 },
  run: async (bench) => ({
    here: await espalier([
      ...["run-package", packageFolder(bench), "--prompt", "The capital of France is", "--max-tokens", "1", "--json"],
    ]),
    peer: null,
  }),
};
