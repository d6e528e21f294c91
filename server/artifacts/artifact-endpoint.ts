/**
 * @file The artifact store over HTTP: GET, HEAD and PUT on `/api/artifacts/<sha256>`.
 *
 * GET takes one range of bytes (RFC 9110 §14). PUT keeps a body only when it has the digest in its path: 201 when it is new,
 * 200 when it was there, 409 when the digest is another one, 413 when it is too large, 507 when the disk is full.
 */
import { createHash } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { pipeline } from "node:stream/promises";
import { EspalierError } from "../../lib/errors.ts";
import { answer, answerError } from "../access/answer.ts";
import { boundedBody } from "../access/limits.ts";
import { type ArtifactStore, type ByteRange, isDigest } from "./store.ts";

export interface ArtifactEndpointOptions {
  readonly authorize: (req: IncomingMessage) => boolean;
  /** Of one artifact. */
  readonly maxBytes: number;
  readonly idleMs?: number;
  /** Failures that are not the caller's. */
  readonly onError?: (thrown: unknown) => void;
}

const path = /^\/api\/artifacts\/([^/?#]*)$/;

/** True when the request was one for an artifact, which then is answered. */
export function artifactEndpoint(
  store: ArtifactStore,
  options: ArtifactEndpointOptions,
): (req: IncomingMessage, res: ServerResponse) => Promise<boolean> {
  return async (req, res) => {
    const sha256 = path.exec(req.url?.split("?")[0] ?? "")?.[1];
    if (sha256 === undefined) return false;
    try {
      if (!options.authorize(req))
        answer(req, res, 401, "an artifact needs the token of this server", { "www-authenticate": "Bearer" });
      else if (!isDigest(sha256)) answer(req, res, 404, "an artifact is named by 64 lower-case hexadecimal digits");
      else if (req.method === "GET" || req.method === "HEAD") await send(store, sha256, req, res);
      else if (req.method === "PUT") await take(store, sha256, req, res, options);
      else answer(req, res, 405, "artifacts accept only GET, HEAD and PUT", { allow: "GET, HEAD, PUT" });
    } catch (thrown) {
      if (!(thrown instanceof EspalierError) || thrown.code.startsWith("store/")) options.onError?.(thrown);
      answerError(req, res, thrown);
    }
    return true;
  };
}

async function send(store: ArtifactStore, sha256: string, req: IncomingMessage, res: ServerResponse): Promise<void> {
  const sizeBytes = await store.sizeOf(sha256);
  if (sizeBytes === null) {
    answer(req, res, 404, `there is no artifact ${sha256}`);
    return;
  }
  const etag = `"${sha256}"`;
  const headers = {
    etag,
    "accept-ranges": "bytes",
    "cache-control": "private, max-age=31536000, immutable",
    "content-type": "application/octet-stream",
    "content-disposition": "attachment",
    "x-content-type-options": "nosniff",
  };
  if (req.headers["if-none-match"] === etag) {
    res.writeHead(304, headers).end();
    return;
  }
  const ifRange = req.headers["if-range"];
  const asked = req.method === "GET" && (ifRange === undefined || ifRange === etag) ? req.headers.range : undefined;
  const range = asked === undefined ? null : parseRange(asked, sizeBytes);
  if (range === "unsatisfiable") {
    answer(req, res, 416, "the artifact has no bytes in that range", { "content-range": `bytes */${sizeBytes}` });
    return;
  }
  const length = range ? range.end - range.start + 1 : sizeBytes;
  const rangeHeader = range ? { "content-range": `bytes ${range.start}-${range.end}/${sizeBytes}` } : {};
  if (req.method === "HEAD") {
    res.writeHead(200, { ...headers, "content-length": length }).end();
    return;
  }
  // Opened before the head is written, so that a failure still has a status.
  const bytes = await store.read(sha256, range ?? undefined);
  res.writeHead(range ? 206 : 200, { ...headers, ...rangeHeader, "content-length": length });
  try {
    await pipeline(bytes, res);
  } catch (thrown) {
    // A reader that disconnects is not a failure; one that got half the bytes must see the connection break.
    res.destroy();
    if (thrown instanceof EspalierError) throw thrown;
  }
}

async function take(
  store: ArtifactStore,
  sha256: string,
  req: IncomingMessage,
  res: ServerResponse,
  options: ArtifactEndpointOptions,
): Promise<void> {
  const { maxBytes, idleMs } = options;
  const length = req.headers["content-length"];
  const there = await store.sizeOf(sha256);
  if (there !== null && (length === undefined || Number(length) === there)) {
    answer(req, res, 200, "");
    return;
  }
  const mismatch = new EspalierError("store/exists", `the body does not have the digest ${sha256}`, {
    hint: "Put it under the SHA-256 of its bytes.",
  });
  const checked = async function* (): AsyncGenerator<Uint8Array> {
    const hash = createHash("sha256");
    for await (const chunk of boundedBody(req, idleMs === undefined ? { maxBytes } : { maxBytes, idleMs })) {
      hash.update(chunk);
      yield chunk;
    }
    // Thrown before the end, so the store keeps nothing of it.
    if (hash.digest("hex") !== sha256) throw mismatch;
  };
  await store.put(checked());
  answer(req, res, 201, "");
}

/** One range of `bytes=`; null for a header that is to be ignored (several ranges, another unit, nonsense). */
function parseRange(header: string, sizeBytes: number): ByteRange | "unsatisfiable" | null {
  const match = /^bytes=\s*(\d{0,15})-(\d{0,15})\s*$/.exec(header);
  if (!match) return null;
  const [, first = "", last = ""] = match;
  if (first === "" && last === "") return null;
  if (first === "") {
    const suffix = Math.min(Number(last), sizeBytes);
    return suffix === 0 ? "unsatisfiable" : { start: sizeBytes - suffix, end: sizeBytes - 1 };
  }
  const start = Number(first);
  if (last !== "" && Number(last) < start) return null;
  if (start >= sizeBytes) return "unsatisfiable";
  return { start, end: last === "" ? sizeBytes - 1 : Math.min(Number(last), sizeBytes - 1) };
}
