/**
 * @file Models of a billion weights through the verbs: processor seconds and peak memory of each, beside the limit of 12 GB.
 *
 *   npx tsx bench/real/one-billion.ts [--shape llama-3.2-1b,gemma3-1b] [--verbs evaluate,taylor,quantize,prune,export] [--folder DIR]
 *
 * The weights are random bf16 numbers in the shapes of the released models, so that nothing is downloaded; texts are a few tokens
 * long, so that a run takes minutes. What is measured is that the verbs go through, and what they hold.
 */

import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { fixed, table } from "../../bin/numbers.ts";
import { byteSize } from "../../lib/number-text.ts";

import type { ReleasedName } from "../../test/fixtures/released-configs.ts";
import { scaledConfig, writeSyntheticCheckpoint } from "../synthetic-checkpoint.ts";
import { espalier } from "./measured.ts";

const LIMIT_BYTES = 12e9;
const shapes = ["llama-3.2-1b", "gemma3-1b"] as const satisfies readonly ReleasedName[];

const { values } = parseArgs({
  options: {
    shape: { type: "string", default: shapes.join(",") },
    verbs: { type: "string", default: "evaluate,taylor,quantize,prune,export" },
    folder: { type: "string" },
  },
});

const folder = values.folder ?? mkdtempSync(join(tmpdir(), "espalier-billion-"));
const text = join(folder, "text.txt");
const lines: string[][] = [];
try {
  for (const shape of shapes.filter((s) => values.shape.split(",").includes(s))) {
    const model = join(folder, shape);
    if (!existsSync(join(model, "config.json"))) await writeSyntheticCheckpoint(model, scaledConfig(shape));
    writeFileSync(text, "A few bytes of text, each of them a token of this model. ".repeat(6));
    const small = join(folder, `${shape}-int4`);
    const measured = ["--text", text, "--limit", "2", "--context", "64", "--json"];
    const verbs: Record<string, string[]> = {
      evaluate: ["evaluate", model, ...measured],
      taylor: ["sensitivity", model, "--units", "heads,layers", "--metric", "taylor", ...measured],
      quantize: [
        ...["quantize", model, "--scheme", "affine", "--bits", "4", "--group-size", "32", "--keep-extremes"],
        ...["--weighting", "none", "--out", small, "--replace", ...measured],
      ],
      prune: [
        ...["prune", model, "--ratio", "0.25", "--metric", "taylor", "--out", join(folder, "pruned"), "--replace"],
        ...measured,
      ],
      export: [
        ...["export", existsSync(small) ? small : model, "--to", "coreml", "--contexts", "64", "--prefill", "32"],
        ...["--check-tokens", "4", "--out", join(folder, "package"), "--replace", "--json"],
      ],
    };
    for (const verb of values.verbs.split(",")) {
      console.error(`${shape}: ${verb}`);
      const args = verbs[verb];
      if (!args) throw new Error(`there is no verb ${verb} here; there are ${Object.keys(verbs).join(", ")}`);
      const { processorSeconds, peakBytes } = await espalier(args);
      lines.push([
        shape,
        verb,
        fixed(processorSeconds, 0),
        byteSize(peakBytes),
        peakBytes <= LIMIT_BYTES ? "" : "MISSED",
      ]);
    }
  }
  console.log(table(["shape", "verb", "seconds", "memory", "12 GB"], lines));
} finally {
  if (values.folder === undefined) rmSync(folder, { recursive: true, force: true });
}
