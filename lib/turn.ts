/**
 * @file One turn of the event loop, for long loops: signals, timers, progress and heartbeats get their turn in between.
 */

/** Resolves after the callbacks that wait now. */
export const eventLoopTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
