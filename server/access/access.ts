/**
 * @file Who may talk to the server. It listens on this machine only, unless a token is set.
 *
 * A page elsewhere must not reach it through a visitor's browser: the Host header has to be a name the server is known by (a
 * rebound name is not), and anything but opening a page must come from the server's own origin. With a token, every request
 * carries it: as a bearer, or as the cookie that opening `/?token=…` once sets.
 */
import { timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { EspalierError } from "../../lib/errors.ts";

export interface AccessPolicy {
  readonly port: number;
  readonly token: string | null;
  /** Further names the server is reached by. */
  readonly hosts: readonly string[];
}

export type Verdict = { allowed: true } | { allowed: false; status: 401 | 403 | 421; reason: string };

export const COOKIE = "espalier_token";
const LOCAL = ["localhost", "127.0.0.1", "[::1]"];

/** Throws `access/denied` for an address others can reach when no token guards it. */
export function checkBinding(address: string, token: string | undefined): void {
  const isLocal = address === "127.0.0.1" || address === "::1" || address === "localhost";
  if (!isLocal && (token === undefined || token.length < 16)) {
    throw new EspalierError("access/denied", `HOST ${address} can be reached from other machines`, {
      hint: "Set ESPALIER_TOKEN to a secret of at least 16 characters, or leave HOST away.",
    });
  }
}

export function checkRequest(request: IncomingMessage, policy: AccessPolicy): Verdict {
  const host = request.headers.host ?? "";
  const names = [...LOCAL, ...policy.hosts].flatMap((h) => [h, `${h}:${policy.port}`]);
  if (!names.includes(host))
    return { allowed: false, status: 421, reason: `this server is not called ${host.slice(0, 80)}` };
  const { origin } = request.headers;
  const site = request.headers["sec-fetch-site"];
  const opensPage = request.method === "GET" && request.headers["sec-fetch-mode"] === "navigate";
  if (origin !== undefined && origin !== `http://${host}` && origin !== `https://${host}`)
    return { allowed: false, status: 403, reason: "requests from other sites are not answered" };
  if (!opensPage && site !== undefined && site !== "same-origin" && site !== "none")
    return { allowed: false, status: 403, reason: "requests from other sites are not answered" };
  if (policy.token !== null && !holdsToken(request, policy.token))
    return { allowed: false, status: 401, reason: "a token is needed: open the address the server printed" };
  return { allowed: true };
}

function holdsToken(request: IncomingMessage, token: string): boolean {
  const bearer = /^Bearer (.+)$/.exec(request.headers.authorization ?? "")?.[1];
  const cookie = (request.headers.cookie ?? "")
    .split(";")
    .map((c) => c.trim())
    .find((c) => c.startsWith(`${COOKIE}=`))
    ?.slice(COOKIE.length + 1);
  return [bearer, cookie].some((given) => given !== undefined && isSame(given, token));
}

/** Takes as long for a wrong secret as for the right one. */
export function isSame(a: string, b: string): boolean {
  const [x, y] = [Buffer.from(a), Buffer.from(b)];
  return x.length === y.length && timingSafeEqual(x, y);
}

/** Headers of every answer. `nonce` is that of the page's own scripts. */
export function securityHeaders(nonce: string, isDevelopment: boolean): Record<string, string> {
  const policy = [
    "default-src 'self'",
    `script-src 'self' 'nonce-${nonce}' 'strict-dynamic'${isDevelopment ? " 'unsafe-eval'" : ""}`,
    // Charts set styles on their elements.
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data: blob:",
    "font-src 'self' data:",
    "connect-src 'self'",
    "object-src 'none'",
    "base-uri 'none'",
    "form-action 'self'",
    "frame-ancestors 'none'",
  ];
  return {
    "content-security-policy": policy.join("; "),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
  };
}
