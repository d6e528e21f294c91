/**
 * @file The artifact store of a server, from another machine: GET, HEAD and PUT on `/api/artifacts/<sha256>` with a bearer
 * token.
 *
 * Requests by content can be repeated without harm, so a lost connection and the answers 502 to 504 are tried three times.
 * What the server refuses is not.
 */
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { EspalierError } from "../../lib/errors.ts";
import { download, readFileStream, verified, withSourceFile } from "./digest.ts";
import { isNetworkTrouble, withRetries } from "./retry.ts";
import { type ArtifactStore, type ByteRange, checkDigest, notThere, storeFailure } from "./store.ts";

export interface HttpStoreOptions {
  /** `http(s)://host:port`, without a path. */
  readonly url: string;
  readonly token: string | undefined;
  /** Where bytes of unknown digest wait until it is known. */
  readonly temporaryDirectory: string;
  /** No byte for so long means that the server is gone. */
  readonly idleMs?: number;
  readonly retryWaitsMs?: readonly number[];
}

interface Sent {
  readonly method: "GET" | "HEAD" | "PUT";
  readonly sha256: string;
  readonly headers?: Record<string, string>;
  readonly body?: { readonly path: string; readonly sizeBytes: number };
}

/** What a proxy answers while the server restarts. */
class PassingAnswer extends Error {
  readonly code = "EAI_AGAIN";
}

export function httpStore(options: HttpStoreOptions): ArtifactStore {
  const { token, temporaryDirectory, idleMs = 60_000, retryWaitsMs = [250, 2000] } = options;
  const base = new URL(options.url);
  const secure = base.protocol === "https:";
  const agent = secure ? new HttpsAgent({ keepAlive: true }) : new HttpAgent({ keepAlive: true });
  const where = base.origin;

  function sendOnce({ method, sha256, headers, body }: Sent): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const url = new URL(`/api/artifacts/${sha256}`, base);
      const request = (secure ? httpsRequest : httpRequest)(url, {
        method,
        agent,
        headers: {
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
          ...(body ? { "content-type": "application/octet-stream", "content-length": String(body.sizeBytes) } : {}),
          ...headers,
        },
      });
      const upload = body ? readFileStream(body.path) : null;
      request.setTimeout(idleMs, () => request.destroy(new Error(`no answer for ${idleMs / 1000} s`)));
      request.on("error", reject);
      request.on("close", () => upload?.destroy());
      request.on("response", (response) => {
        // A server may refuse before it has read everything; then there is no need to send the rest.
        if (upload && !request.writableFinished) {
          upload.unpipe(request);
          response.on("end", () => request.destroy());
        }
        const status = response.statusCode ?? 0;
        if (status >= 502 && status <= 504) {
          response.resume();
          reject(new PassingAnswer(`it answers ${status}`));
        } else resolve(response);
      });
      if (upload) {
        upload.on("error", (thrown) => request.destroy(thrown));
        upload.pipe(request);
      } else request.end();
    });
  }

  /** An answer of the server; its status is the caller's to judge. */
  async function send(sent: Sent, waitsMs = retryWaitsMs): Promise<IncomingMessage> {
    try {
      return await withRetries(waitsMs, () => sendOnce(sent));
    } catch (thrown) {
      if (!isNetworkTrouble(thrown)) throw storeFailure(thrown, where);
      const reason = thrown instanceof Error ? thrown.message : String(thrown);
      throw new EspalierError("store/io", `the artifact store at ${where} cannot be reached: ${reason}`, {
        hint: "Check ARTIFACTS_URL and that the server runs there.",
        cause: thrown,
      });
    }
  }

  async function refusal(response: IncomingMessage, sha256: string): Promise<EspalierError> {
    const status = response.statusCode ?? 0;
    const said = await shortText(response);
    const text = `the artifact store at ${where} answers ${status}${said === "" ? "" : `: ${said}`}`;
    if (status === 401 || status === 403)
      return new EspalierError("access/denied", text, { hint: "Set ESPALIER_TOKEN to the token of that server." });
    if (status === 404) return notThere(sha256, where);
    if (status === 413)
      return new EspalierError("input/invalid", text, { hint: "That server limits the size of an artifact." });
    if (status === 507)
      return new EspalierError("store/disk-full", text, { hint: "Free some space on the disk of that server." });
    return new EspalierError("store/io", text, { hint: "Check that ARTIFACTS_URL names an Espalier server." });
  }

  async function sizeOf(sha256: string): Promise<number | null> {
    const response = await send({ method: "HEAD", sha256: checkDigest(sha256) });
    response.resume();
    if (response.statusCode === 404) return null;
    if (response.statusCode !== 200) throw await refusal(response, sha256);
    return Number(response.headers["content-length"]);
  }

  async function open(sha256: string, range?: ByteRange, waitsMs = retryWaitsMs): Promise<IncomingMessage> {
    const headers = range ? { headers: { range: `bytes=${range.start}-${range.end}` } } : {};
    const response = await send({ method: "GET", sha256: checkDigest(sha256), ...headers }, waitsMs);
    if (response.statusCode !== (range ? 206 : 200)) throw await refusal(response, sha256);
    return response;
  }

  return {
    sizeOf,
    has: async (sha256) => (await sizeOf(sha256)) !== null,

    async put(source) {
      try {
        return await withSourceFile(source, temporaryDirectory, async (path, stored) => {
          const { sha256, sizeBytes } = stored;
          if ((await sizeOf(sha256)) === sizeBytes) return stored;
          const response = await send({ method: "PUT", sha256, body: { path, sizeBytes } });
          if (response.statusCode !== 200 && response.statusCode !== 201) throw await refusal(response, sha256);
          response.resume();
          return stored;
        });
      } catch (thrown) {
        throw storeFailure(thrown, where);
      }
    },

    async read(sha256, range) {
      const response = await open(sha256, range);
      return range ? response : verified(response, sha256, where);
    },

    async fetchTo(sha256, path, { readOnly } = {}) {
      checkDigest(sha256);
      await withRetries(retryWaitsMs, () =>
        download(() => open(sha256, undefined, []), { sha256, path, where, readOnly }),
      );
    },
  };
}

/** The first line or two of an answer, for a message. */
async function shortText(response: IncomingMessage): Promise<string> {
  let text = "";
  try {
    for await (const chunk of response) {
      text += String(chunk);
      if (text.length > 300) break;
    }
  } catch {
    return "";
  }
  return text.slice(0, 300).trim();
}
