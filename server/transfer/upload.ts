/**
 * @file Files from a browser: `POST /api/upload?name=…&batch=…`, one file a request, kept under the data directory until
 * imported.
 *
 * A batch is a folder `uploads/<batch>`, at most one folder deep. A file appears there under its name when all of it has come.
 * Names are letters, digits, dots, dashes and underscores, so no name leads anywhere else. The length is told beforehand and
 * counts against the batch and the free space of the disk at once. What nobody imports is removed after a day.
 */
import { randomUUID } from "node:crypto";
import { mkdir, readdir, rename, rm, stat, statfs } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { dirname, join, resolve } from "node:path";
import { EspalierError } from "../../lib/errors.ts";
import type { Clock } from "../../lib/random.ts";
import { answer, answerError, answerJson } from "../access/answer.ts";
import { BodyTooLarge, boundedBody } from "../access/limits.ts";
import { writeHashed } from "../artifacts/digest.ts";
import { storeFailure } from "../artifacts/store.ts";

export interface UploadOptions {
  readonly dataDirectory: string;
  readonly clock: Clock;
  readonly maxFileBytes?: number;
  readonly maxBatchBytes?: number;
  readonly maxFiles?: number;
  /** This much of the disk stays free, because the database is on it too. */
  readonly reserveBytes?: number;
  readonly idleMs?: number;
}

export interface Uploads {
  /** True when the request was one for this, which then is answered: 201 with `{batch, name, sizeBytes, sha256}`. */
  readonly handle: (request: IncomingMessage, response: ServerResponse) => Promise<boolean>;
  /** The folder of a batch, closed to further files; the one folder in it where that is all it holds. */
  readonly finishUpload: (batch: string) => Promise<string>;
  /** Removes a batch, finished or not; nothing to do when there is none. */
  readonly discardUpload: (batch: string) => Promise<void>;
  /** Removes what has lain for a day. */
  readonly removeLeftovers: () => Promise<void>;
  /** Stops looking for leftovers. */
  readonly close: () => void;
}

interface Batch {
  /** Told and taken, with what is still on its way. */
  bytes: number;
  readonly names: Set<string>;
  underWay: number;
}

const leftoverMs = 24 * 3600_000;
const lookEveryMs = 3600_000;
const batchPattern = /^[a-z0-9][a-z0-9-]{7,63}$/;
const segmentPattern = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$/;
const windowsNames = /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i;

const invalid = (message: string, hint: string): EspalierError => new EspalierError("input/invalid", message, { hint });

/** Throws `input/invalid` for a name that is not `file` or `folder/file` in plain letters. */
export function checkUploadName(name: string): string {
  const parts = name.split("/");
  const fine =
    parts.length <= 2 && parts.every((p) => segmentPattern.test(p) && !windowsNames.test(p) && !p.endsWith("."));
  if (!fine)
    throw invalid(
      `${JSON.stringify(name.slice(0, 80))} is not a valid name for an upload`,
      "Use letters, digits, dots, dashes and underscores, no dot first, and at most one folder.",
    );
  return name;
}

function checkBatch(batch: string): string {
  if (!batchPattern.test(batch))
    throw invalid(
      `${JSON.stringify(batch.slice(0, 80))} is not the id of a batch`,
      "Use 8 to 64 lower-case letters, digits and dashes, or leave it out for a new one.",
    );
  return batch;
}

export async function openUploads(options: UploadOptions): Promise<Uploads> {
  const { clock, idleMs } = options;
  const { maxFileBytes = 64 * 2 ** 30, maxBatchBytes = 128 * 2 ** 30, maxFiles = 1000 } = options;
  const { reserveBytes = 256 << 20 } = options;
  const root = resolve(options.dataDirectory, "uploads");
  const open = join(root, "open");
  const incoming = join(root, "incoming");
  const finished = join(root, "finished");
  for (const folder of [open, incoming, finished]) await mkdir(folder, { recursive: true });
  const batches = new Map<string, Promise<Batch>>();

  /** What a batch holds already, also from before a restart. */
  function batchOf(id: string): Promise<Batch> {
    const known = batches.get(id);
    if (known) return known;
    const loaded = (async (): Promise<Batch> => {
      const batch: Batch = { bytes: 0, names: new Set(), underWay: 0 };
      if (await stat(join(finished, id)).catch(() => null)) throw closed(id);
      const folder = join(open, id);
      const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
      for (const entry of entries.filter((e) => e.isFile())) {
        const path = join(entry.parentPath, entry.name);
        batch.names.add(path.slice(folder.length + 1));
        batch.bytes += (await stat(path)).size;
      }
      return batch;
    })();
    batches.set(id, loaded);
    loaded.catch(() => batches.delete(id));
    return loaded;
  }

  const closed = (id: string): EspalierError =>
    new EspalierError("store/exists", `the batch ${id} is finished`, { hint: "Start another batch." });

  async function take(request: IncomingMessage, response: ServerResponse, query: URLSearchParams): Promise<void> {
    const name = checkUploadName(query.get("name") ?? "");
    const id = checkBatch(query.get("batch") ?? randomUUID());
    if (!/^application\/octet-stream\b/i.test(request.headers["content-type"] ?? "")) {
      answer(request, response, 415, "a file must be sent as application/octet-stream");
      return;
    }
    const told = request.headers["content-length"];
    if (told === undefined || !/^\d{1,15}$/.test(told)) {
      answer(request, response, 411, "a file must be sent with its length");
      return;
    }
    const length = Number(told);
    if (length > maxFileBytes) throw new BodyTooLarge(maxFileBytes);
    const { bavail, bsize } = await statfs(root);
    if (length > bavail * bsize - reserveBytes)
      throw new EspalierError("store/disk-full", `no space for ${length} bytes in ${root}`, {
        hint: "Free some space, or move ESPALIER_DATA to a larger disk.",
      });
    const batch = await batchOf(id);
    // From here to the reservation nothing is awaited: two requests cannot both take the last of it.
    if (!batches.has(id)) throw closed(id);
    if (clashes(batch.names, name))
      throw new EspalierError("store/exists", `the batch ${id} already has a "${name}"`, {
        hint: "Send each file once.",
      });
    if (batch.bytes + length > maxBatchBytes) throw new BodyTooLarge(maxBatchBytes);
    if (batch.names.size >= maxFiles)
      throw invalid(`the batch ${id} already has ${maxFiles} files`, "Send fewer files.");
    batch.bytes += length;
    batch.names.add(name);
    batch.underWay++;
    const partial = join(incoming, `${randomUUID()}.partial`);
    try {
      const body = boundedBody(request, idleMs === undefined ? { maxBytes: length } : { maxBytes: length, idleMs });
      const { sha256, sizeBytes } = await writeHashed(body, partial);
      const path = join(open, id, name);
      await mkdir(dirname(path), { recursive: true });
      // The name is reserved above, so this replaces nothing.
      await rename(partial, path);
      answerJson(request, response, 201, { batch: id, name, sizeBytes, sha256 });
    } catch (thrown) {
      batch.bytes -= length;
      batch.names.delete(name);
      throw storeFailure(thrown, root);
    } finally {
      batch.underWay--;
      await rm(partial, { force: true }).catch(() => undefined);
    }
  }

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<boolean> {
    const [path, search = ""] = (request.url ?? "").split("?", 2);
    if (path !== "/api/upload") return false;
    try {
      if (request.method === "POST") await take(request, response, new URLSearchParams(search));
      else answer(request, response, 405, "this address accepts only files sent with POST", { allow: "POST" });
    } catch (thrown) {
      answerError(request, response, thrown);
    }
    return true;
  }

  async function finishUpload(id: string): Promise<string> {
    const to = join(finished, checkBatch(id));
    if (!(await stat(to).catch(() => null))) {
      const batch = await batchOf(id);
      if (batch.underWay > 0)
        throw invalid(
          `${batch.underWay} file(s) of the batch ${id} are still being sent`,
          "Wait until all have arrived.",
        );
      if (batch.names.size === 0)
        throw new EspalierError("input/empty", `nothing was sent in the batch ${id}`, { hint: "Choose files first." });
      batches.delete(id);
      await rename(join(open, id), to);
    }
    const entries = await readdir(to, { withFileTypes: true });
    const only = entries.length === 1 ? entries[0] : undefined;
    return only?.isDirectory() ? join(to, only.name) : to;
  }

  async function discardUpload(id: string): Promise<void> {
    checkBatch(id);
    batches.delete(id);
    for (const folder of [open, finished]) await rm(join(folder, id), { recursive: true, force: true });
  }

  async function removeLeftovers(): Promise<void> {
    for (const folder of [open, incoming, finished]) {
      for (const name of await readdir(folder).catch(() => [])) {
        const path = join(folder, name);
        if (clock.nowMs() - (await youngest(path)) < leftoverMs) continue;
        const batch = await batches.get(name)?.catch(() => null);
        if (batch && batch.underWay > 0) continue;
        batches.delete(name);
        await rm(path, { recursive: true, force: true }).catch(() => undefined);
      }
    }
  }

  await removeLeftovers();
  const timer = setInterval(() => void removeLeftovers().catch(() => undefined), lookEveryMs);
  timer.unref();
  return { handle, finishUpload, discardUpload, removeLeftovers, close: () => clearInterval(timer) };
}

/** Same name, also where a disk knows no capitals, or a file where the other needs a folder. */
function clashes(names: ReadonlySet<string>, name: string): boolean {
  const wanted = name.toLowerCase();
  for (const other of names) {
    const there = other.toLowerCase();
    if (there === wanted || there.startsWith(`${wanted}/`) || wanted.startsWith(`${there}/`)) return true;
  }
  return false;
}

/** When anything in it last changed, in ms since 1970. */
async function youngest(path: string): Promise<number> {
  const there = await stat(path).catch(() => null);
  if (!there) return 0;
  let last = there.mtimeMs;
  if (there.isDirectory())
    for (const name of await readdir(path).catch(() => [])) last = Math.max(last, await youngest(join(path, name)));
  return last;
}
