/**
 * @file Who may talk to the server. It listens on this machine only, unless a token is set.
 *
 * A page elsewhere must not reach it through a visitor's browser: the Host header has to be a name the server is known by (a
 * name rebound to its address is not), and anything but opening a page must come from the server's own origin. With a token,
 * every request carries it: as a bearer, or as the cookie that opening `/?token=…` once sets. The cookie holds a value derived
 * from the token, and is named after the port, since a browser shows it to every port of the host.
 */
import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { isIP } from "node:net";
import { EspalierError } from "../../lib/errors.ts";
import { answer } from "./answer.ts";

export interface AccessPolicy {
  readonly port: number;
  readonly token: string | null;
  /** Further names the server is reached by, with or without a port. */
  readonly hosts: readonly string[];
}

export type Verdict =
  | { readonly allowed: true }
  | {
      readonly allowed: false;
      /** 303: the token was right and the cookie is set; ask again without it. */
      readonly status: 303 | 400 | 401 | 403 | 421;
      readonly reason: string;
      readonly headers: Readonly<Record<string, string>>;
    };

const minTokenLength = 16;
const cookieSeconds = 30 * 86_400;
const localNames = ["localhost", "127.0.0.1", "[::1]"];

const isLocalAddress = (address: string): boolean =>
  /^(localhost|::1|\[::1\]|127\.\d{1,3}\.\d{1,3}\.\d{1,3})$/i.test(address);

/** Throws `access/denied` for an address others can reach when no token of 16 characters guards it. */
export function checkBinding(address: string, token: string | undefined): void {
  if (token !== undefined && !/^[\x21-\x7e]+$/.test(token))
    throw new EspalierError("access/denied", "ESPALIER_TOKEN holds a space or a character outside ASCII", {
      hint: "Use letters, digits and punctuation, at least 16.",
    });
  if (isLocalAddress(address) || (token !== undefined && token.length >= minTokenLength)) return;
  const lacks = token === undefined ? "there is no token" : `the token has ${token.length} characters`;
  throw new EspalierError("access/denied", `HOST ${address} can be reached from other machines, and ${lacks}`, {
    hint: `Set ESPALIER_TOKEN to a secret of at least ${minTokenLength} characters, or do not set HOST.`,
  });
}

const refused = (
  status: 400 | 401 | 403 | 421,
  reason: string,
  headers: Readonly<Record<string, string>> = {},
): Verdict => ({ allowed: false, status, reason, headers });

export function checkRequest(request: IncomingMessage, policy: AccessPolicy): Verdict {
  const host = (request.headers.host ?? "").toLowerCase();
  // A proxy's form of request, `GET http://elsewhere/`, would name another host than the header.
  if (!request.url?.startsWith("/")) return refused(400, "the address of a request begins with a slash");
  if (!isKnownHost(host, request, policy))
    return refused(421, `this server is not called "${host.slice(0, 80)}"; ESPALIER_HOSTS lists its other names`);
  if (!isOwnOrigin(request, host)) return refused(403, "requests from other sites are not answered");
  if (policy.token === null) return { allowed: true };
  const login = loginOf(request);
  if (login && isSame(login.token, policy.token)) {
    return {
      allowed: false,
      status: 303,
      reason: "welcome",
      headers: {
        location: login.rest,
        "set-cookie": `${cookieName(policy)}=${sessionOf(policy.token)}; HttpOnly; SameSite=Strict; Path=/; Max-Age=${cookieSeconds}`,
        "referrer-policy": "no-referrer",
      },
    };
  }
  if (presentsBearer(request, policy) || presentsCookie(request, policy)) return { allowed: true };
  return refused(401, "a token is needed: open the address with the token, or send it as a bearer", {
    "www-authenticate": "Bearer",
  });
}

/** Refuses requests that are not allowed; true for allowed ones. A person who opens a page is asked for the token. */
export function guard(request: IncomingMessage, response: ServerResponse, policy: AccessPolicy): boolean {
  const verdict = checkRequest(request, policy);
  if (verdict.allowed) return true;
  const { status, reason, headers } = verdict;
  if (status === 401 && request.method === "GET" && (request.headers.accept ?? "").includes("text/html"))
    answer(request, response, 401, tokenPage, { ...headers, "content-type": "text/html; charset=utf-8" });
  else answer(request, response, status, reason, headers);
  return false;
}

/** Whether the request carries the token itself, as programs do; true where no token is set. */
export const presentsBearer = (request: IncomingMessage, policy: Pick<AccessPolicy, "token">): boolean => {
  if (policy.token === null) return true;
  const given = /^Bearer +(\S+) *$/i.exec(request.headers.authorization ?? "")?.[1];
  return given !== undefined && isSame(given, policy.token);
};

function presentsCookie(request: IncomingMessage, policy: AccessPolicy): boolean {
  if (policy.token === null) return true;
  const start = `${cookieName(policy)}=`;
  const session = sessionOf(policy.token);
  return (request.headers.cookie ?? "")
    .split(";")
    .map((c) => c.trim())
    .some((c) => c.startsWith(start) && isSame(c.slice(start.length), session));
}

const cookieName = (policy: AccessPolicy): string => `espalier-${policy.port}`;
const sessionOf = (token: string): string => createHmac("sha256", token).update("espalier session").digest("hex");

/** The token of `GET /?token=…`, and the address without it. */
function loginOf(request: IncomingMessage): { token: string; rest: string } | null {
  const match = request.method === "GET" ? /^\/\?(.*)$/.exec(request.url ?? "") : null;
  if (!match) return null;
  const query = new URLSearchParams(match[1]);
  const token = query.get("token");
  if (token === null) return null;
  query.delete("token");
  // Only the query is kept, so that no address leads to another site.
  return { token, rest: query.size === 0 ? "/" : `/?${query}` };
}

function isKnownHost(host: string, request: IncomingMessage, policy: AccessPolicy): boolean {
  const { port } = policy;
  const isDefaultPort = port === 80 || port === 443;
  for (const name of localNames) if (host === `${name}:${port}` || (isDefaultPort && host === name)) return true;
  for (const given of policy.hosts) {
    const name = given.toLowerCase();
    // Behind a proxy the port of the address is another one, or none.
    if (host === name || host === `${name}:${port}`) return true;
  }
  // An address in numbers cannot be rebound; it is right when it is the one the connection came to.
  const literal = /^(?:\[([0-9a-f:.]+)\]|([0-9.]+))(?::(\d+))?$/.exec(host);
  const address = literal?.[1] ?? literal?.[2];
  if (address === undefined || isIP(address) === 0) return false;
  if (literal?.[3] === undefined ? !isDefaultPort : Number(literal[3]) !== port) return false;
  return address === request.socket.localAddress?.replace(/^::ffff:/, "");
}

/** False for what a page of another site sends; programs, which say neither origin nor site, are let through. */
function isOwnOrigin(request: IncomingMessage, host: string): boolean {
  const { origin } = request.headers;
  if (origin !== undefined && origin !== `http://${host}` && origin !== `https://${host}`) return false;
  const site = request.headers["sec-fetch-site"];
  if (site === undefined || site === "same-origin" || site === "none") return true;
  const target = request.headers["sec-fetch-dest"];
  const opensPage =
    (request.method === "GET" || request.method === "HEAD") &&
    request.headers["sec-fetch-mode"] === "navigate" &&
    (target === undefined || target === "document") &&
    request.headers.upgrade === undefined;
  return opensPage;
}

/** Takes as long for a wrong secret of any length as for the right one. */
export function isSame(a: string, b: string): boolean {
  const digest = (text: string): Buffer => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}

// A link from another site comes without the cookie; the same link from here comes with it.
const tokenPage = `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Espalier: token needed</title>
<style>:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:32rem;margin:15vh auto;padding:0 1rem}
input,button{font:inherit;padding:.4rem .6rem}</style>
<main><h1>This workbench needs its token</h1>
<form method="get" action="/"><label>Token <input type="password" name="token" autocomplete="current-password" required autofocus></label>
<button>Open</button></form>
<p>Did you follow a link and open the workbench in this browser before? <a href="">Go on to the page</a>.</p>
<p>The token is the value of ESPALIER_TOKEN where the server was started.</p></main>`;
