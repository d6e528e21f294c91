/** @file What commands take from the machine: the clock and the data directory. */
import { homedir } from "node:os";
import { join } from "node:path";
import { type EngineName, engineNamed } from "../lib/engines/create.ts";
import type { Clock } from "../lib/random.ts";

export const clock: Clock = { nowMs: () => performance.timeOrigin + performance.now() };

export const dataDirectory = (): string => process.env.ESPALIER_DATA ?? join(homedir(), ".espalier");

/** What computes unless a flag says otherwise. Throws `input/invalid`. */
export const configuredEngine = (): EngineName =>
  engineNamed(process.env.ESPALIER_ENGINE || undefined, "ESPALIER_ENGINE");

/** A positive integer that an environment variable gives. */
export function countFrom(name: string): number | undefined {
  const value = Number(process.env[name] || undefined);
  return Number.isInteger(value) && value > 0 ? value : undefined;
}

/** Bytes that a task, or a command that computes itself, may take. */
export const taskMemoryBytes = (): number | undefined => countFrom("ESPALIER_TASK_MEMORY");
