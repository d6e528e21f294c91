/** @file Reading the body of a request without trusting its length, its speed or its end. */
import type { IncomingMessage } from "node:http";
import { EspalierError } from "../../lib/errors.ts";

/** More was sent than is taken; the status for it is 413. */
export class BodyTooLarge extends EspalierError {
  constructor(maxBytes: number) {
    super("input/invalid", `the body of the request is larger than ${maxBytes} bytes`, {
      hint: "Send less, or raise the limit of the server.",
    });
  }
}

export interface BodyLimits {
  readonly maxBytes: number;
  /** A sender that is silent for so long is cut off. */
  readonly idleMs?: number;
}

/**
 * The body, chunk by chunk. Throws `BodyTooLarge` before reading when the length says so and as soon as it shows otherwise,
 * and `input/invalid` when the sender goes away. The connection stays open for the answer.
 */
export async function* boundedBody(req: IncomingMessage, limits: BodyLimits): AsyncGenerator<Uint8Array> {
  const { maxBytes, idleMs = 60_000 } = limits;
  if (Number(req.headers["content-length"] ?? 0) > maxBytes) throw new BodyTooLarge(maxBytes);
  const silent = (): void => void req.destroy(new Error(`nothing was sent for ${idleMs / 1000} s`));
  req.setTimeout(idleMs, silent);
  let length = 0;
  try {
    const chunks: AsyncIterable<Uint8Array> = req.iterator({ destroyOnReturn: false });
    for await (const chunk of chunks) {
      length += chunk.length;
      if (length > maxBytes) throw new BodyTooLarge(maxBytes);
      yield chunk;
    }
  } catch (thrown) {
    if (thrown instanceof EspalierError) throw thrown;
    throw new EspalierError("input/invalid", `the body broke off after ${length} bytes`, { cause: thrown });
  } finally {
    req.setTimeout(0);
    req.socket.off("timeout", silent);
  }
}

/** The whole body, for small ones. Throws as `boundedBody`. */
export async function readBody(req: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const chunk of boundedBody(req, { maxBytes })) parts.push(chunk);
  return Buffer.concat(parts);
}

const dismissedBytes = 16 << 20;
const dismissedMs = 10_000;

/**
 * For a request answered before its body was read. Closing at once would make the sender lose the answer, reading on for ever
 * would let it waste the line: a little is thrown away, then the connection is cut.
 */
export function dismissBody(req: IncomingMessage): void {
  if (req.complete || req.destroyed) return;
  let left = dismissedBytes;
  const timer = setTimeout(() => req.destroy(), dismissedMs);
  timer.unref();
  req.on("data", (chunk: Uint8Array) => {
    left -= chunk.length;
    if (left < 0) req.destroy();
  });
  req.on("error", () => undefined);
  req.on("close", () => clearTimeout(timer));
  setImmediate(() => req.resume());
}
