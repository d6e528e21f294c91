import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { getScriptNonceFromHeaders } from "next/dist/server/app-render/get-script-nonce-from-header.js";
import { afterAll, beforeAll, expect, test } from "vitest";
import { applySecurityHeaders, securityHeaders } from "./security-headers.ts";

let url = "";
/** What Next would put into its script tags. */
const nonces: (string | undefined)[] = [];
const server = createServer((req, res) => {
  applySecurityHeaders(req, res, { isDevelopment: false });
  nonces.push(getScriptNonceFromHeaders(req.headers));
  res.end();
});
beforeAll(async () => {
  await new Promise<void>((go) => server.listen(0, "127.0.0.1", go));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => void server.close());

const directives = (policy: string): Map<string, string[]> =>
  new Map(policy.split("; ").map((d) => [d.split(" ")[0] ?? "", d.split(" ").slice(1)]));

test("each answer has its own nonce, which Next finds", async () => {
  nonces.length = 0;
  const said: (string | undefined)[] = [];
  for (let i = 0; i < 3; i++) {
    const { headers } = await fetch(url);
    const source = directives(headers.get("content-security-policy") ?? "").get("script-src")?.[1] ?? "";
    said.push(/^'nonce-(.{24})'$/.exec(source)?.[1]);
  }
  expect(new Set(said).size).toBe(3);
  expect(nonces).toEqual(said);
  expect(nonces).not.toContain(undefined);
});

test("a nonce that a caller sends is not used", async () => {
  nonces.length = 0;
  const policy = "script-src 'nonce-attacker'";
  await fetch(url, {
    headers: { "content-security-policy": policy, "content-security-policy-report-only": policy },
  });
  expect(nonces[0]).not.toBe("attacker");
});

test("what a page may do", () => {
  const headers = securityHeaders("abc", false);
  const policy = directives(headers["content-security-policy"] ?? "");
  expect(policy.get("script-src")).toEqual(["'self'", "'nonce-abc'", "'strict-dynamic'"]);
  expect(policy.get("connect-src")).toEqual(["'self'"]);
  for (const name of ["object-src", "base-uri", "frame-ancestors", "frame-src"])
    expect(policy.get(name)).toEqual(["'none'"]);
  expect(headers["content-security-policy"]).not.toContain("unsafe-eval");
  expect(headers).toMatchObject({ "x-content-type-options": "nosniff", "cross-origin-opener-policy": "same-origin" });
  expect(securityHeaders("abc", true)["content-security-policy"]).toContain("'unsafe-eval'");
});
