/** @file Cancellation: long work checks between its steps whether it was cancelled. */
import { EspalierError } from "./errors.ts";

/** Throws `run/cancelled` once the signal is aborted. */
export function throwIfCancelled(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new EspalierError("run/cancelled", "cancelled");
}
