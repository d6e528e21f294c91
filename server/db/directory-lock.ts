/**
 * @file Our own lock beside the embedded database, because two processes that open one directory destroy it.
 *
 * A file created exclusively holds the owner: process id, start of that process, and, once it listens, its address, so that
 * a command line can speak to the server that has the data. A lock whose process is gone is taken over; one whose process
 * lives never is.
 */
import { closeSync, openSync, readFileSync, renameSync, unlinkSync, writeFileSync, writeSync } from "node:fs";
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
  let found: LockOwner;
  try {
    found = owner.parse(JSON.parse(readFileSync(lockPath(dataDirectory), "utf8")));
  } catch {
    return null;
  }
  return isAlive(found) ? found : null;
}

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
  for (let tries = 0; ; tries++) {
    try {
      const file = openSync(path, "wx", 0o600);
      writeSync(file, JSON.stringify(mine));
      closeSync(file);
      break;
    } catch (cause) {
      if (!(cause instanceof Error && "code" in cause && cause.code === "EEXIST")) throw cause;
      const other = lockOwner(dataDirectory);
      // A file just created may not have been written yet.
      const fresh = other === null && tries === 0;
      if (fresh) await new Promise((resolve) => setTimeout(resolve, 50));
      else if (other || tries > 3) {
        throw new EspalierError(
          "store/locked",
          `${dataDirectory} is in use by process ${other?.pid ?? "?"} since ${other?.since ?? "?"}${other?.address ? `, which serves ${other.address}` : ""}`,
          { hint: "Use that one, stop it, or name another directory with ESPALIER_DATA.", cause },
        );
      } else {
        // Renamed first: of two that find a dead owner only one removes it.
        const aside = `${path}.${process.pid}`;
        try {
          renameSync(path, aside);
          unlinkSync(aside);
        } catch {
          // Another process was quicker; the next try tells.
        }
      }
    }
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
