/**
 * @file The headers that tell a browser what a page of ours may do: its own scripts and connections, nothing in a frame.
 *
 * Next puts the nonce it finds in the *request's* `content-security-policy` into its script tags; `strict-dynamic` lets those
 * scripts load their parts. Styles are inline because charts set them on their elements.
 */
import { randomBytes } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";

/** Headers of every answer. `nonce` is that of the page's own scripts; in development Next evaluates code. */
export function securityHeaders(nonce: string, isDevelopment: boolean): Record<string, string> {
  const policy = [
    "default-src 'self'",
    `script-src 'self' 'nonce-${nonce}' 'strict-dynamic'${isDevelopment ? " 'unsafe-eval'" : ""}`,
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data: blob:",
    "font-src 'self' data:",
    "connect-src 'self'",
    "worker-src 'self' blob:",
    "frame-src 'none'",
    "object-src 'none'",
    "base-uri 'none'",
    "form-action 'self'",
    "frame-ancestors 'none'",
  ];
  return {
    "content-security-policy": policy.join("; "),
    // Not "no-referrer": with that a form of ours would be sent with the origin "null".
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
  };
}

/**
 * Sets them on an answer with a fresh nonce, and hands the nonce to Next through the request, replacing what the caller sent
 * there.
 */
export function applySecurityHeaders(
  request: IncomingMessage,
  response: ServerResponse,
  options: { readonly isDevelopment: boolean },
): void {
  const nonce = randomBytes(16).toString("base64");
  const headers = securityHeaders(nonce, options.isDevelopment);
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  delete request.headers["content-security-policy-report-only"];
  request.headers["content-security-policy"] = headers["content-security-policy"];
}
