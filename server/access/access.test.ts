import { createServer, request } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type AccessPolicy, checkBinding, checkRequest, isSame } from "./access.ts";

let policy: AccessPolicy;
const server = createServer((req, res) => {
  const verdict = checkRequest(req, policy);
  res.statusCode = verdict.allowed ? 200 : verdict.status;
  res.end();
});
beforeAll(async () => {
  await new Promise<void>((go) => server.listen(0, "127.0.0.1", go));
  policy = { port: (server.address() as AddressInfo).port, token: null, hosts: ["workbench.lan"] };
});
afterAll(() => void server.close());

const ask = (headers: Record<string, string>, method = "GET"): Promise<number> =>
  new Promise((resolve, reject) => {
    const { port } = policy;
    const req = request(
      { host: "127.0.0.1", port, method, headers: { host: `localhost:${port}`, ...headers } },
      (res) => {
        res.resume();
        resolve(res.statusCode ?? 0);
      },
    );
    req.on("error", reject);
    req.end();
  });

test("its own pages and tools are answered", async () => {
  expect(await ask({})).toBe(200);
  expect(await ask({ origin: `http://localhost:${policy.port}`, "sec-fetch-site": "same-origin" }, "POST")).toBe(200);
  expect(await ask({ host: "workbench.lan" })).toBe(200);
});

test("a name that was rebound to this address is refused", async () => {
  expect(await ask({ host: `evil.example:${policy.port}` })).toBe(421);
});

test("another site can neither post nor read, but may link to a page", async () => {
  expect(await ask({ origin: "http://evil.example" }, "POST")).toBe(403);
  expect(await ask({ "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors" })).toBe(403);
  expect(await ask({ "sec-fetch-site": "same-site", "sec-fetch-mode": "cors" }, "POST")).toBe(403);
  expect(await ask({ "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate" })).toBe(200);
});

test("with a token every request needs it, as bearer or cookie", async () => {
  policy = { ...policy, token: "a-secret-of-many-letters" };
  expect(await ask({})).toBe(401);
  expect(await ask({ authorization: "Bearer wrong" })).toBe(401);
  expect(await ask({ authorization: "Bearer a-secret-of-many-letters" })).toBe(200);
  expect(await ask({ cookie: "other=1; espalier_token=a-secret-of-many-letters" })).toBe(200);
  expect(isSame("a", "ab")).toBe(false);
});

test("an address others can reach needs a long token", () => {
  expect(() => checkBinding("0.0.0.0", undefined)).toThrow(/ESPALIER_TOKEN|reached/);
  expect(() => checkBinding("0.0.0.0", "short")).toThrow();
  expect(() => checkBinding("0.0.0.0", "a-secret-of-many-letters")).not.toThrow();
  expect(() => checkBinding("127.0.0.1", undefined)).not.toThrow();
});
