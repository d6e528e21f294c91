/** @file Short answers in plain text or JSON, and the status an error has in HTTP. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { type EspalierError, toEspalierError } from "../../lib/errors.ts";
import { BodyTooLarge, dismissBody } from "./limits.ts";

/** Answers and lets go of a body that was not read. */
export function answer(
  req: IncomingMessage,
  res: ServerResponse,
  status: number,
  text: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  if (res.headersSent || res.destroyed) {
    res.destroy();
    return;
  }
  const body = text === "" ? "" : `${text}\n`;
  res.writeHead(status, {
    "content-type": "text/plain; charset=utf-8",
    "content-length": String(Buffer.byteLength(body)),
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    ...headers,
  });
  res.end(req.method === "HEAD" ? undefined : body);
  dismissBody(req);
}

export function answerJson(req: IncomingMessage, res: ServerResponse, status: number, value: unknown): void {
  answer(req, res, status, JSON.stringify(value), { "content-type": "application/json; charset=utf-8" });
}

export function statusOf(error: EspalierError): number {
  if (error instanceof BodyTooLarge) return 413;
  switch (error.code) {
    case "access/denied":
      return 401;
    case "store/database":
      return 503;
    case "store/disk-full":
      return 507;
    case "store/exists":
      return 409;
    case "input/invalid":
    case "input/empty":
    case "format/malformed":
      return 400;
    default:
      return 500;
  }
}

/** The error's message for what the caller can mend; of an inner failure only that it happened. */
export function answerError(req: IncomingMessage, res: ServerResponse, thrown: unknown): void {
  const error = toEspalierError(thrown);
  const status = statusOf(error);
  const text = status === 500 ? "the server failed to do this; its log says why" : error.message;
  answer(req, res, status, error.hint === undefined || status === 500 ? text : `${text}. ${error.hint}`);
}
