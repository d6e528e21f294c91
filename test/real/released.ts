/** The released models of the real tier, and the outside implementations they are held against. */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { z } from "zod";

const root = resolve(import.meta.dirname, "../..");
const environment = join(root, ".oracle-venv");
const list = join(environment, "models.json");
if (!existsSync(list)) throw new Error("the released models are not installed here: npm run test:real");

/** Paths of .gguf files: SmolLM2-135M-Instruct in Q4_1, Gemma 3 270M in Q4_K_M. */
export const released = z
  .object({ smollm2: z.string(), gemma3: z.string() })
  .parse(JSON.parse(readFileSync(list, "utf8")));
export type Released = keyof typeof released;

/** What a script beside this file prints as JSON, run with one thread. */
export function oracle<T>(schema: z.ZodType<T>, script: string, ...args: readonly string[]): T {
  const printed = execFileSync(join(environment, "bin/python"), [join(import.meta.dirname, script), ...args], {
    encoding: "utf8",
    maxBuffer: 1 << 30,
    env: { ...process.env, OMP_NUM_THREADS: "1", TQDM_DISABLE: "1" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  return schema.parse(JSON.parse(printed.trim().split("\n").at(-1) ?? ""));
}
