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
