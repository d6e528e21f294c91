/**
 * @file Our own lock beside the embedded database, because two processes that open one directory destroy it.
 *
 * A file created exclusively holds the owner: process id, start of that process, and, once it listens, its address, so that
 * a command line can speak to the server that has the data. A lock whose process is gone is taken over; one whose process
 * lives never is.
 */
import {
  constants,
  copyFileSync,
  linkSync,
  readFileSync,
  renameSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { EspalierError } from "../../lib/errors.ts";

const owner = z.object({
  pid: z.number().int(),
  /** When the process started, so that a recycled process id is not taken for it; null where that is not known. */
  processStart: z.string().nullable(),
  since: z.string(),
  address: z.string().nullable(),
  token: z.string().nullable(),
});
export type LockOwner = z.infer<typeof owner>;

export interface DirectoryLock {
  /** Tells others where the server with this data listens. */
  announce(address: string, token: string | null): void;
  release(): void;
}

const lockPath = (dataDirectory: string): string => join(dataDirectory, "db.lock");

/** Start time of a process in clock ticks since boot; Linux only, elsewhere null. */
function processStart(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? null;
  } catch {
    return null;
  }
}

function isAlive({ pid, processStart: start }: LockOwner): boolean {
  try {
    process.kill(pid, 0);
  } catch (thrown) {
    return thrown instanceof Error && "code" in thrown && thrown.code === "EPERM";
  }
  const now = processStart(pid);
  return start === null || now === null || now === start;
}

/** Who has the data directory; null when nobody who lives. */
export function lockOwner(dataDirectory: string): LockOwner | null {
  const found = ownerIn(lockPath(dataDirectory));
  return found && isAlive(found) ? found : null;
}

/** Null for a file that is not there, or that says nothing legible. */
function ownerIn(path: string): LockOwner | null {
  try {
    return owner.parse(JSON.parse(readFileSync(path, "utf8")));
  } catch {
    return null;
  }
}

const TRIES = 50;

/** Puts a file with the owner in it under the name, whole from the first moment on; false when there is one. */
function claim(path: string, mine: LockOwner): boolean {
  const own = `${path}.${mine.pid}`;
  writeFileSync(own, JSON.stringify(mine), { mode: 0o600 });
  try {
    linkSync(own, path);
    return true;
  } catch (thrown) {
    if (hasCode(thrown, "EEXIST")) return false;
    // A file system without hard links.
    try {
      copyFileSync(own, path, constants.COPYFILE_EXCL);
      return true;
    } catch (again) {
      if (hasCode(again, "EEXIST")) return false;
      throw again;
    }
  } finally {
    unlinkSync(own);
  }
}

/**
 * Removes the lock of an owner that is gone. Of several processes that find one, only that which holds a second lock removes
 * it, after looking again: otherwise the slower would remove the lock which the quicker has just taken.
 */
function removeDead(dataDirectory: string, mine: LockOwner): void {
  const path = lockPath(dataDirectory);
  const guard = `${path}.takeover`;
  if (!claim(guard, mine)) {
    const holder = ownerIn(guard);
    if (holder && !isAlive(holder)) rmSync(guard, { force: true });
    return;
  }
  try {
    if (!lockOwner(dataDirectory)) rmSync(path, { force: true });
  } finally {
    rmSync(guard, { force: true });
  }
}

const hasCode = (thrown: unknown, code: string): boolean =>
  thrown instanceof Error && "code" in thrown && thrown.code === code;

/** Throws `store/locked` when a living process has the directory. */
export async function lockDirectory(dataDirectory: string): Promise<DirectoryLock> {
  await mkdir(dataDirectory, { recursive: true });
  const path = lockPath(dataDirectory);
  const mine: LockOwner = {
    pid: process.pid,
    processStart: processStart(process.pid),
    since: new Date().toISOString(),
    address: null,
    token: null,
  };
  for (let tries = 0; !claim(path, mine); tries++) {
    const other = lockOwner(dataDirectory);
    if (other || tries > TRIES)
      throw new EspalierError(
        "store/locked",
        `${dataDirectory} is in use by process ${other?.pid ?? "?"} since ${other?.since ?? "?"}${other?.address ? `, which serves ${other.address}` : ""}`,
        { hint: "Use that one, stop it, or name another directory with ESPALIER_DATA." },
      );
    removeDead(dataDirectory, mine);
    // Another process may be removing it this moment.
    if (tries > 0) await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return {
    announce(address, token) {
      mine.address = address;
      mine.token = token;
      const partial = `${path}.new`;
      writeFileSync(partial, JSON.stringify(mine), { mode: 0o600 });
      renameSync(partial, path);
    },
    release() {
      try {
        if (lockOwner(dataDirectory)?.pid === process.pid) unlinkSync(path);
      } catch {
        // Nothing to release any more.
      }
    },
  };
}
