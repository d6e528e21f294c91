/**
 * @file What a failure of the database means: that it is away for a while, that its disk is full, or that we asked wrongly.
 *
 * SQLSTATE (PostgreSQL, appendix A): class 08 connection, 57P01–57P03 shutting down or starting up, 53300 too many
 * connections, 40001 and 40P01 conflicts that go away, 53100 disk full. Drivers report a lost connection by code or in words.
 */
import { EspalierError, toEspalierError } from "../../lib/errors.ts";

const networkCodes = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "EPIPE",
  "ETIMEDOUT",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENOTFOUND",
  "EAI_AGAIN",
]);
const awaySqlStates = /^(08...|57P0[123]|53300|40001|40P01)$/;
const awayWords =
  /^(Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error|Client was closed|Cannot use a pool after calling end|PGlite is closed|PGlite is closing|the embedded database)/;

/** The error itself and what it wraps, outermost first. */
function* causes(thrown: unknown): Generator<Error & { code?: unknown }> {
  for (let error = thrown; error instanceof Error; error = error.cause) {
    yield error;
    if (error instanceof AggregateError) for (const one of error.errors) if (one instanceof Error) yield one;
  }
}

const codeOf = (error: Error & { code?: unknown }): string => (typeof error.code === "string" ? error.code : "");

const isAway = (error: Error): boolean =>
  networkCodes.has(codeOf(error)) || awaySqlStates.test(codeOf(error)) || awayWords.test(error.message);

/** A failure of the database with a code and a hint; null for anything else, mistakes in statements included. */
export function databaseFailure(thrown: unknown): EspalierError | null {
  if (thrown instanceof EspalierError) return thrown.code === "store/database" ? thrown : null;
  for (const error of causes(thrown)) {
    if (error instanceof EspalierError) return null;
    if (codeOf(error) === "53100")
      return new EspalierError("store/disk-full", `the database has no room left: ${error.message}`, {
        hint: "Free some space on its disk. Waiting work then continues by itself, and failed runs can be resumed.",
        cause: thrown,
      });
    if (isAway(error))
      return new EspalierError("store/database", `the database does not answer: ${error.message || codeOf(error)}`, {
        hint: "Espalier keeps trying, and runs continue when it is back. Check that the database runs and can be reached.",
        cause: thrown,
      });
  }
  return null;
}

/** Any thrown value as an `EspalierError`, failures of the database by their meaning. */
export const failureOf = (thrown: unknown): EspalierError => databaseFailure(thrown) ?? toEspalierError(thrown);
