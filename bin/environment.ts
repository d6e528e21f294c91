/** @file What commands take from the machine: the clock and the data directory. */
import { homedir } from "node:os";
import { join } from "node:path";
import type { Clock } from "../lib/random.ts";

export const clock: Clock = { nowMs: () => performance.timeOrigin + performance.now() };

export const dataDirectory = (): string => process.env.ESPALIER_DATA ?? join(homedir(), ".espalier");
