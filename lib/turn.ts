/**
 * @file One turn of the event loop, so that signals, timers, progress and heartbeats are handled
 * during long loops.
 */

/** Resolves once the callbacks now waiting have run. */
export const eventLoopTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
