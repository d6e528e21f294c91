/** `npm start` under a supervisor, which knows only npm: a signal to npm ends the server and frees its directory. */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { z } from "zod";
import { temporaryFolder } from "../fixtures/tiny-model.ts";

const root = resolve(import.meta.dirname, "../..");
const { scripts } = z
  .object({ scripts: z.record(z.string(), z.string()) })
  .parse(JSON.parse(readFileSync(join(root, "package.json"), "utf8")));

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

test.each(["SIGTERM", "SIGINT"] as const)("%s to npm ends the server", async (signal) => {
  const data = join(await temporaryFolder(), "data");
  const npm = spawn("npm", ["run", "-s", "start", "--", "--no-pages", "--no-host"], {
    cwd: root,
    env: { ...process.env, ESPALIER_DATA: data, PORT: "0" },
    stdio: ["ignore", "ignore", "pipe"],
  });
  const closed = new Promise((done) => npm.on("close", done));
  let said = "";
  npm.stderr.on("data", (chunk) => {
    said += String(chunk);
  });
  await expect.poll(() => said, { timeout: 45_000 }).toContain("is ready");
  const lock: unknown = JSON.parse(readFileSync(join(data, "db.lock"), "utf8"));
  const { pid } = z.object({ pid: z.number() }).parse(lock);
  npm.kill(signal);
  await closed;
  await expect.poll(() => isAlive(pid), { timeout: 10_000 }).toBe(false);
  expect(() => readFileSync(join(data, "db.lock"))).toThrow(/ENOENT/);
});

// A shell does not hand signals on to its child; one that is replaced by it need not.
test.each(["espalier", "start", "demo", "train-starter", "bench", "bench:compute", "bench:workbench", "screenshots"])(
  "npm run %s becomes the program that it runs",
  (name) => {
    expect(scripts[name]?.split(" && ").at(-1)).toMatch(/^exec /);
  },
);
