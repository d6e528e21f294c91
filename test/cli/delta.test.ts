/** `espalier patch` killed in the middle: what was there stays, nothing takes the new name, and patching again succeeds. */
import { spawn } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { expect, test } from "vitest";
import { writeDelta } from "../../lib/delta/write-delta.ts";
import { createRng } from "../../lib/random.ts";
import { temporaryFolder } from "../fixtures/tiny-model.ts";

const root = resolve(import.meta.dirname, "../..");
const folder = await temporaryFolder();
const BYTES = 48_000_000;

/** 48 MB that do not compress. */
function noise(seed: number): Buffer {
  const rng = createRng(seed, "weights");
  const words = Uint32Array.from({ length: 1 << 18 }, () => rng.integer(2 ** 31));
  const out = new Uint32Array(BYTES / 4);
  for (let i = 0; i < out.length; i++) out[i] = Math.imul((words[i % words.length] ?? 0) ^ i, 0x9e3779b1);
  return Buffer.from(out.buffer);
}

const [before, after] = [join(folder, "before"), join(folder, "after")];
const [old, next] = [noise(1), noise(2)];
for (const [path, bytes] of [
  [before, old],
  [after, next],
] as const) {
  await mkdir(path);
  await writeFile(join(path, "weight.bin"), bytes);
}
const delta = join(folder, "update.delta");
await writeDelta(before, after, delta);

interface Ended {
  readonly code: number | null;
  readonly err: string;
}

/** Patches into `out`; `signal` is sent once more than a megabyte of it is written. */
function patch(out: string, signal?: NodeJS.Signals): Promise<Ended> {
  const child = spawn(process.execPath, ["bin/espalier.js", "patch", before, delta, "--out", out], { cwd: root });
  let err = "";
  child.stderr.on("data", (chunk) => {
    err += String(chunk);
  });
  const watch = setInterval(() => {
    const partial = readdirSync(folder).find((name) => name.includes(basename(out)) && name.endsWith(".partial"));
    const weights = join(folder, partial ?? "none", "weight.bin");
    if (signal && existsSync(weights) && statSync(weights).size > 1e6) child.kill(signal);
  }, 1);
  return new Promise((done) =>
    child.on("close", (code) => {
      clearInterval(watch);
      done({ code, err });
    }),
  );
}

test.each(["SIGKILL", "SIGINT"] as const)(
  "%s in the middle of a patch",
  async (signal) => {
    const out = join(folder, `out-${signal}`);
    const { code } = await patch(out, signal);
    expect(code).toBe(signal === "SIGINT" ? 130 : null);
    expect(existsSync(out)).toBe(false);
    expect((await readFile(join(before, "weight.bin"))).equals(old)).toBe(true);
    // An interrupt has time to clean up, a kill has not.
    if (signal === "SIGINT") expect(readdirSync(folder).filter((n) => n.includes("out-SIGINT"))).toEqual([]);
    expect(await patch(out)).toMatchObject({ code: 0 });
    expect((await readFile(join(out, "weight.bin"))).equals(next)).toBe(true);
  },
  120_000,
);
