/**
 * @file The one error class of the project.
 *
 * Every failure a person can cause or meet carries a code from a closed set, a message that says what,
 * where and which value, a hint that says what to do, and the error that caused it. The command line maps
 * the part before the slash to an exit status.
 */

export const errorCodes = [
  "format/truncated",
  "format/malformed",
  "format/unsupported",
  "model/missing-tensor",
  "model/missing-file",
  "model/shape-mismatch",
  "model/unknown-architecture",
  "model/config",
  "program/type",
  "program/structure",
  "program/unsupported-op",
  "engine/unavailable",
  "engine/failed",
  "numeric/non-finite",
  "input/invalid",
  "input/empty",
  "input/token-range",
  "prune/unknown-unit",
  "prune/empty-layer",
  "export/unsupported",
  "export/parity",
  "store/disk-full",
  "store/io",
  "store/exists",
  "store/locked",
  "store/database",
  "run/unknown",
  "run/state",
  "run/lost",
  "run/memory",
  "access/denied",
  "run/cancelled",
  "internal/invariant",
] as const;

export type ErrorCode = (typeof errorCodes)[number];

export class EspalierError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "EspalierError";
    this.code = code;
    this.hint = options.hint;
  }
}

/** Throws `internal/invariant` when a condition that no input can break does not hold. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new EspalierError("internal/invariant", `internal: ${message}`);
}

const storeCodes: Record<string, { code: ErrorCode; hint: string }> = {
  ENOSPC: { code: "store/disk-full", hint: "Free some space or choose another folder with --out." },
  EDQUOT: { code: "store/disk-full", hint: "Your disk quota is used up; free some space or use another folder." },
  ENOENT: { code: "model/missing-file", hint: "Check the path; nothing is there under that name." },
  EACCES: { code: "store/io", hint: "Check the permissions of that file or folder." },
};

/** Any thrown value as an `EspalierError`; file-system codes become `store/…` with the path kept in the message. */
export function toEspalierError(thrown: unknown): EspalierError {
  if (thrown instanceof EspalierError) return thrown;
  if (thrown instanceof Error) {
    const errno = "code" in thrown && typeof thrown.code === "string" ? storeCodes[thrown.code] : undefined;
    if (errno) return new EspalierError(errno.code, thrown.message, { hint: errno.hint, cause: thrown });
    return new EspalierError("internal/invariant", thrown.message, { cause: thrown });
  }
  return new EspalierError("internal/invariant", String(thrown));
}
