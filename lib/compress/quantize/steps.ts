/**
 * @file Long work cut into steps, so that one description of it runs either to its end or in turns with everything else.
 *
 * A generator yields between steps of some milliseconds. `finish` runs it through; `inTurns` gives the thread back after every
 * step, so that messages, timers and a cancellation are seen in between.
 */
import { throwIfCancelled } from "../../cancel.ts";
import { eventLoopTurn } from "../../turn.ts";

export type Steps<T> = Generator<undefined, T, undefined>;

export function finish<T>(steps: Steps<T>): T {
  let step = steps.next();
  while (!step.done) step = steps.next();
  return step.value;
}

/** Throws `run/cancelled` between two steps once `signal` is aborted. */
export async function inTurns<T>(steps: Steps<T>, signal?: AbortSignal): Promise<T> {
  let step = steps.next();
  while (!step.done) {
    await eventLoopTurn();
    throwIfCancelled(signal);
    step = steps.next();
  }
  return step.value;
}

/** Values that a step may work through: a few milliseconds of k-means or clip search. */
export const STEP_ELEMENTS = 1 << 15;
