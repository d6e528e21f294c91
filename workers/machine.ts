/** @file What is known of the machine and the code a run is computed by. */
import { execFile } from "node:child_process";
import { cpus, hostname, totalmem } from "node:os";
import { promisify } from "node:util";
import { version } from "../experiments/version.ts";
import type { Provenance } from "../server/db/schema.ts";

async function gitCommit(): Promise<string | null> {
  try {
    const run = promisify(execFile);
    const { stdout } = await run("git", ["rev-parse", "HEAD"], { cwd: import.meta.dirname });
    const { stdout: dirty } = await run("git", ["status", "--porcelain"], { cwd: import.meta.dirname });
    return `${stdout.trim().slice(0, 12)}${dirty.trim() === "" ? "" : " with changes"}`;
  } catch {
    return null;
  }
}

export async function machineFacts(): Promise<Omit<Provenance, "engine" | "threads">> {
  return {
    espalier: version,
    commit: await gitCommit(),
    node: process.version,
    machine: hostname(),
    platform: `${process.platform} ${process.arch}`,
    cpu: cpus()[0]?.model ?? "unknown",
    cores: cpus().length,
    memoryBytes: totalmem(),
  };
}
