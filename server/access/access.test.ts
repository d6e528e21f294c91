/** Every refusal, with real requests; some spoken raw, since no client would send them. */
import { createServer, type IncomingHttpHeaders, request } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { networkInterfaces } from "node:os";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type AccessPolicy, checkBinding, guard, isSame, presentsBearer } from "./access.ts";

const token = "a-secret-of-many-letters";
let policy: AccessPolicy;
let open: AccessPolicy;
const server = createServer((req, res) => {
  if (guard(req, res, policy)) res.end("in");
});
beforeAll(async () => {
  await new Promise<void>((go) => server.listen(0, go));
  open = {
    port: (server.address() as AddressInfo).port,
    token: null,
    hosts: ["workbench.lan", "proxied.example:8443"],
  };
  policy = open;
});
afterEach(() => {
  policy = open;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

const send = (headers: Record<string, string>, method = "GET", path = "/"): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const { port } = open;
    const all = { host: `localhost:${port}`, ...headers };
    const req = request({ host: "127.0.0.1", port, method, path, headers: all, agent: false }, (res) => {
      let body = "";
      res.on("data", (chunk) => (body += String(chunk)));
      res.on("end", () => resolve({ status: res.statusCode ?? 0, headers: res.headers, body }));
    });
    req.on("error", reject);
    req.end();
  });
const ask = async (headers: Record<string, string>, method = "GET", path = "/"): Promise<number> =>
  (await send(headers, method, path)).status;

/** The status line of an answer to exactly these lines. */
const raw = (lines: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = connect(open.port, "127.0.0.1", () => socket.end(lines));
    let text = "";
    socket.on("data", (chunk) => (text += String(chunk)));
    socket.on("close", () => resolve(text.split("\r\n")[0] ?? ""));
    socket.on("error", reject);
  });

test("its own pages and tools are answered", async () => {
  expect(await ask({})).toBe(200);
  expect(await ask({ origin: `http://localhost:${open.port}`, "sec-fetch-site": "same-origin" }, "POST")).toBe(200);
  expect(await ask({ "sec-fetch-site": "none", "sec-fetch-mode": "navigate" })).toBe(200);
  expect(await ask({}, "POST")).toBe(200);
});

describe("names", () => {
  test("it is known by", async () => {
    const { port } = open;
    const known = [
      `localhost:${port}`,
      `LOCALHOST:${port}`,
      `127.0.0.1:${port}`,
      `[::1]:${port}`,
      "workbench.lan",
      `Workbench.lan:${port}`,
      "proxied.example:8443",
    ];
    for (const host of known) expect([host, await ask({ host })]).toEqual([host, 200]);
  });

  test("that were rebound to this address, or belong to another port or machine", async () => {
    const { port } = open;
    const strangers = [
      `evil.example:${port}`,
      "localhost",
      `localhost:${port + 1}`,
      `localhost.evil.example:${port}`,
      `evil-localhost:${port}`,
      `workbench.lan.evil.example`,
      `workbench.lan:${port + 1}`,
      "proxied.example",
      `127.0.0.2:${port}`,
      `2130706433:${port}`,
      `0:${port}`,
      `localhost:${port}@evil.example`,
      `user@localhost:${port}`,
      `192.168.77.77:${port}`,
    ];
    for (const host of strangers) expect([host, await ask({ host })]).toEqual([host, 421]);
  });

  test("in numbers are right when the connection came to them", async () => {
    const outer = Object.values(networkInterfaces())
      .flat()
      .find((i) => i?.family === "IPv4" && !i.internal)?.address;
    // The same number, but the connection came to 127.0.0.1.
    if (outer !== undefined) expect(await ask({ host: `${outer}:${open.port}` })).toBe(421);
    const there = await new Promise<number>((resolve, reject) => {
      const headers = { host: `127.0.0.9:${open.port}` };
      request({ host: "127.0.0.9", port: open.port, headers, agent: false }, (res) => {
        res.resume();
        resolve(res.statusCode ?? 0);
      })
        .on("error", reject)
        .end();
    });
    expect(there).toBe(200);
  });

  test("are needed, once, and not in the address", async () => {
    const host = `Host: localhost:${open.port}\r\n`;
    expect(await raw(`GET / HTTP/1.1\r\n${host}Connection: close\r\n\r\n`)).toBe("HTTP/1.1 200 OK");
    expect(await raw("GET / HTTP/1.1\r\nConnection: close\r\n\r\n")).toContain(" 400 ");
    expect(await raw("GET / HTTP/1.1\r\nHost: \r\nConnection: close\r\n\r\n")).toContain(" 421 ");
    expect(await raw("GET / HTTP/1.0\r\n\r\n")).toContain(" 421 ");
    expect(await raw(`GET http://evil.example/ HTTP/1.1\r\n${host}Connection: close\r\n\r\n`)).toContain(" 400 ");
  });
});

describe("another site", () => {
  const cross = { "sec-fetch-site": "cross-site" };

  test("may link to a page", async () => {
    expect(await ask({ ...cross, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document" })).toBe(200);
    expect(await ask({ "sec-fetch-site": "same-site", "sec-fetch-mode": "navigate" })).toBe(200);
  });

  test("can neither read, nor post, nor frame, nor open a socket", async () => {
    expect(await ask({ origin: "http://evil.example" }, "POST")).toBe(403);
    expect(await ask({ origin: "http://evil.example" })).toBe(403);
    expect(await ask({ origin: "null" }, "POST")).toBe(403);
    expect(await ask({ origin: `http://localhost:${open.port + 1}` }, "POST")).toBe(403);
    expect(await ask({ origin: `http://127.0.0.1:${open.port}` }, "POST")).toBe(403);
    expect(await ask({ ...cross, "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image" })).toBe(403);
    expect(await ask({ ...cross, "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe" })).toBe(403);
    expect(await ask({ ...cross, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document" }, "POST")).toBe(403);
    expect(await ask({ "sec-fetch-site": "same-site", "sec-fetch-mode": "cors" }, "POST")).toBe(403);
    expect(await ask({ ...cross, "sec-fetch-mode": "cors" }, "OPTIONS")).toBe(403);
    expect(await ask({ ...cross, "sec-fetch-mode": "websocket", "sec-fetch-dest": "websocket" })).toBe(403);
  });
});

describe("with a token", () => {
  const guarded = (): void => {
    policy = { ...open, token };
  };

  test("every request needs it", async () => {
    guarded();
    for (const [method, path] of [
      ["GET", "/"],
      ["GET", "/api/trpc/x"],
      ["POST", "/api/trpc/x"],
      ["GET", "/_next/static/x.js"],
      ["HEAD", "/"],
    ])
      expect(await ask({}, method, path)).toBe(401);
    expect((await send({})).headers["www-authenticate"]).toBe("Bearer");
  });

  test("as a bearer", async () => {
    guarded();
    expect(await ask({ authorization: `Bearer ${token}` }, "POST")).toBe(200);
    expect(await ask({ authorization: `bearer ${token}` })).toBe(200);
    for (const authorization of [
      "Bearer wrong",
      `Bearer ${token}x`,
      `Bearer ${token.slice(1)}`,
      token,
      "Bearer ",
      "Bearer",
    ])
      expect([authorization, await ask({ authorization })]).toEqual([authorization, 401]);
  });

  test("by opening the address once: the cookie is out of reach of scripts and of other sites", async () => {
    guarded();
    const login = await send({}, "GET", `/?token=${token}&view=a%20b`);
    expect(login.status).toBe(303);
    expect(login.headers.location).toBe("/?view=a+b");
    const cookie = login.headers["set-cookie"]?.[0] ?? "";
    expect(cookie).toMatch(/; HttpOnly; SameSite=Strict; Path=\/; Max-Age=\d+$/);
    expect(JSON.stringify(login)).not.toContain(token);
    const pair = cookie.split(";")[0] ?? "";
    expect(await ask({ cookie: pair })).toBe(200);
    expect(await ask({ cookie: `other=1; ${pair}; more=2` }, "POST")).toBe(200);
    expect(await ask({ cookie: `${pair}0` })).toBe(401);
    expect(await ask({ cookie: `x${pair}` })).toBe(401);
    expect(await ask({ cookie: pair.replace(/=.*/, `=${token}`) })).toBe(401);
    policy = { ...policy, token: "another-secret-of-letters" };
    expect(await ask({ cookie: pair })).toBe(401);
  });

  test("a wrong one in the address, or one elsewhere than in /, opens nothing and leads nowhere", async () => {
    guarded();
    const path = encodeURIComponent(token);
    for (const [method, address] of [
      ["GET", "/?token=wrong"],
      ["GET", "/?token="],
      ["POST", `/?token=${path}`],
      ["GET", `/runs?token=${path}`],
      ["GET", `//evil.example/?token=${path}`],
      ["GET", `/.//evil.example/?token=${path}`],
    ]) {
      const got = await send({}, method, address);
      expect([address, got.status, got.headers.location, got.headers["set-cookie"]]).toEqual([
        address,
        401,
        undefined,
        undefined,
      ]);
    }
  });

  test("neither the name nor the origin is forgiven", async () => {
    guarded();
    const authorization = `Bearer ${token}`;
    expect(await ask({ authorization, host: "evil.example" })).toBe(421);
    expect(await ask({ authorization, origin: "http://evil.example" }, "POST")).toBe(403);
    expect(await ask({ host: "evil.example" }, "GET", `/?token=${token}`)).toBe(421);
  });

  test("a person is asked for it, a program told", async () => {
    guarded();
    const page = await send({ accept: "text/html,*/*" }, "GET", "/runs");
    expect([page.status, page.headers["content-type"]]).toEqual([401, "text/html; charset=utf-8"]);
    expect(page.body).toContain(`name="token"`);
    expect((await send({ accept: "application/json" })).body).toMatch(/token is needed/);
  });

  test("where none is set, none is missing", () => {
    const bare = (authorization?: string): Parameters<typeof presentsBearer>[0] =>
      ({ headers: { authorization } }) as Parameters<typeof presentsBearer>[0];
    expect(presentsBearer(bare(), { token: null })).toBe(true);
    expect(presentsBearer(bare(), { token })).toBe(false);
    expect(presentsBearer(bare(`Bearer ${token}`), { token })).toBe(true);
  });
});

test("secrets are compared whole", () => {
  expect(isSame("a", "ab")).toBe(false);
  expect(isSame("", "a")).toBe(false);
  expect(isSame("abc", "abc")).toBe(true);
});

describe("an address", () => {
  test.each(["127.0.0.1", "localhost", "::1", "127.0.0.53"])("%s needs no token", (address) => {
    expect(() => checkBinding(address, undefined)).not.toThrow();
  });

  test.each(["0.0.0.0", "::", "192.168.1.5", "workbench.lan", "127.0.0.1.evil.example", "localhost.evil.example", ""])(
    "%j needs one of 16 characters",
    (address) => {
      expect(() => checkBinding(address, undefined)).toThrow(/there is no token/);
      expect(() => checkBinding(address, "fifteen-letters")).toThrow(/15 characters/);
      expect(() => checkBinding(address, "sixteen--letters")).not.toThrow();
    },
  );

  test("a token that no header could carry is refused", () => {
    expect(() => checkBinding("0.0.0.0", "sixteen letters and spaces")).toThrow(/space/);
    expect(() => checkBinding("0.0.0.0", "sechzehn-Buchstäben")).toThrow(/ASCII/);
  });
});
