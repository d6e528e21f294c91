/** @file A command run as a child process, with the processor time it took and the memory it held at most. */
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { z } from "zod";

const usage = z.object({ processorSeconds: z.number(), peakBytes: z.number() });

export interface Measured extends z.infer<typeof usage> {
  /** What it printed. */
  readonly output: string;
}

const cli = fileURLToPath(new URL("../../bin/espalier.js", import.meta.url));
const preload = new URL("usage.mjs", import.meta.url).href;

/** `espalier` with these arguments on one thread. Throws with the end of its errors when it fails. */
export async function espalier(args: readonly string[]): Promise<Measured> {
  const folder = mkdtempSync(join(tmpdir(), "espalier-bench-"));
  const file = join(folder, "usage.json");
  try {
    const child = spawn(process.execPath, ["--import", preload, cli, ...args, "--threads", "1"], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ESPALIER_USAGE: file, ESPALIER_DATA: join(folder, "data") },
    });
    let [output, errors] = ["", ""];
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      errors = (errors + text).slice(-2000);
    });
    const code = await new Promise<number | null>((resolve, reject) => {
      child.on("error", reject).on("close", resolve);
    });
    if (code !== 0) throw new Error(`espalier ${args.join(" ")} ended with ${code}: ${errors}`);
    return { ...usage.parse(JSON.parse(readFileSync(file, "utf8"))), output };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const peerScript = fileURLToPath(new URL("transformers_peer.py", import.meta.url));

/** The same work in `transformers` on one thread; null without a Python that has it, or where it cannot read the model. */
export function peer(python: string | null, args: readonly string[]): z.infer<typeof usage> | null {
  if (python === null) return null;
  const env = { ...process.env, OMP_NUM_THREADS: "1", MKL_NUM_THREADS: "1" };
  const ran = spawnSync(python, [peerScript, ...args], { encoding: "utf8", env });
  if (ran.status !== 0) {
    console.error(`the peer could not ${args[0]}: ${(ran.stderr ?? "").trim().split("\n").at(-1)}`);
    return null;
  }
  return usage.parse(JSON.parse(ran.stdout.trim().split("\n").at(-1) ?? ""));
}
