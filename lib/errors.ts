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
  "export/quality",
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

/** The codes with which the operating system refuses, each in words and with what to do. */
const systemErrors: Readonly<Record<string, { code: ErrorCode; says: string; hint: string }>> = {
  ENOSPC: { code: "store/disk-full", says: "the disk is full", hint: "Free some space, or choose another folder." },
  EDQUOT: {
    code: "store/disk-full",
    says: "the disk quota is used up",
    hint: "Free some space, or choose another folder.",
  },
  EFBIG: { code: "store/disk-full", says: "the file is larger than this disk allows", hint: "Choose another disk." },
  ENOENT: { code: "model/missing-file", says: "nothing is there under that name", hint: "Check the path." },
  ENOTDIR: { code: "input/invalid", says: "a part of the path is a file, not a folder", hint: "Check the path." },
  EISDIR: { code: "input/invalid", says: "it is a folder, a file was expected", hint: "Give the file itself." },
  ENAMETOOLONG: { code: "input/invalid", says: "the name is too long", hint: "Choose a shorter name." },
  ELOOP: { code: "input/invalid", says: "its links lead in a circle", hint: "Give the real path." },
  EINVAL: { code: "input/invalid", says: "the system does not take that path", hint: "Choose another name." },
  EACCES: { code: "store/io", says: "permission is denied", hint: "Check the permissions of that file or folder." },
  EPERM: {
    code: "store/io",
    says: "the system does not permit it",
    hint: "Check the permissions of that file or folder.",
  },
  EROFS: { code: "store/io", says: "the disk is read-only", hint: "Choose a folder that can be written." },
  EEXIST: { code: "store/exists", says: "something is there already", hint: "Choose another name, or remove it." },
  ENOTEMPTY: { code: "store/exists", says: "the folder is not empty", hint: "Choose another name, or empty it." },
  EBUSY: { code: "store/io", says: "another program is using it", hint: "Close that program and run again." },
  ETXTBSY: { code: "store/io", says: "another program is using it", hint: "Close that program and run again." },
  EXDEV: { code: "store/io", says: "it lies on another disk", hint: "Choose a folder on the same disk." },
  EMFILE: { code: "store/io", says: "too many files are open", hint: "Raise the limit (ulimit -n) and run again." },
  ENFILE: {
    code: "store/io",
    says: "too many files are open on this machine",
    hint: "Close other programs and run again.",
  },
  EIO: { code: "store/io", says: "the disk failed to read or write", hint: "Check the disk." },
  ENODEV: { code: "store/io", says: "the device is gone", hint: "Check the disk." },
  ENXIO: { code: "input/invalid", says: "it is not an ordinary file", hint: "Give an ordinary file." },
  ESPIPE: { code: "input/invalid", says: "it is not an ordinary file", hint: "Give an ordinary file." },
  ENOMEM: { code: "run/memory", says: "memory is used up", hint: "Close other programs, or use a smaller model." },
};

/** The path that a file system error is about, from its field or its message. */
function pathOf(error: Error): string {
  const path = "path" in error && typeof error.path === "string" ? error.path : null;
  return path ?? /'([^']+)'/.exec(error.message)?.[1] ?? "a file";
}

/** Any thrown value as an `EspalierError`; errors of the operating system get a code, plain words and the path. */
export function toEspalierError(thrown: unknown): EspalierError {
  if (thrown instanceof EspalierError) return thrown;
  if (thrown instanceof Error) {
    const known = "code" in thrown && typeof thrown.code === "string" ? systemErrors[thrown.code] : undefined;
    if (known) {
      const { code, says, hint } = known;
      return new EspalierError(code, `${pathOf(thrown)}: ${says} (${thrown.message})`, { hint, cause: thrown });
    }
    return new EspalierError("internal/invariant", thrown.message, { cause: thrown });
  }
  return new EspalierError("internal/invariant", String(thrown));
}
