/** @file Trying again what a network may have spoilt. */
import { setTimeout as delay } from "node:timers/promises";

const passingCodes = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "EPIPE",
  "ETIMEDOUT",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ERR_STREAM_PREMATURE_CLOSE",
]);

/** True for a lost or refused connection, whichever error it is the cause of. */
export function isNetworkTrouble(thrown: unknown): boolean {
  for (let error = thrown; error instanceof Error; error = error.cause) {
    if ("code" in error && typeof error.code === "string" && passingCodes.has(error.code)) return true;
    if (/^(aborted|socket hang up|no answer for )/.test(error.message)) return true;
  }
  return false;
}

/** Runs it once and then once after each wait, while what it throws is passing trouble. */
export async function withRetries<T>(
  waitsMs: readonly number[],
  run: () => Promise<T>,
  isPassing: (thrown: unknown) => boolean = isNetworkTrouble,
): Promise<T> {
  for (const wait of waitsMs) {
    try {
      return await run();
    } catch (thrown) {
      if (!isPassing(thrown)) throw thrown;
      await delay(wait);
    }
  }
  return run();
}
