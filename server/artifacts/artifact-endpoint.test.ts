/** The artifact endpoint, spoken to in plain HTTP. */
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { createServer, type IncomingHttpHeaders, request, type Server } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { EspalierError } from "../../lib/errors.ts";
import { artifactEndpoint } from "./artifact-endpoint.ts";
import { diskStore } from "./disk.ts";
import { httpStore } from "./http-store.ts";
import type { ArtifactStore } from "./store.ts";

const folder = mkdtempSync(join(tmpdir(), "espalier-endpoint-"));
const root = join(folder, "store");
const disk = diskStore(root);
const maxBytes = 100_000;
const failures: unknown[] = [];
/** As a full disk behaves, while it is one. */
let full = false;
const store: ArtifactStore = {
  ...disk,
  put(source) {
    if (full) throw new EspalierError("store/disk-full", "no space left", { hint: "Free some." });
    return disk.put(source);
  },
};

let server: Server;
let port = 0;
beforeAll(async () => {
  const handler = artifactEndpoint(store, {
    authorize: (req) => req.headers.authorization === "Bearer right",
    maxBytes,
    idleMs: 300,
    onError: (thrown) => failures.push(thrown),
  });
  server = createServer(async (req, res) => {
    if (!(await handler(req, res))) res.writeHead(418).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  port = (server.address() as AddressInfo).port;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

const digestOf = (data: Uint8Array): string => createHash("sha256").update(data).digest("hex");

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

function ask(
  method: string,
  path: string,
  given: { headers?: Record<string, string>; body?: Uint8Array } = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: "Bearer right", ...given.headers };
    const req = request({ host: "127.0.0.1", port, method, path, headers, agent: false }, (res) => {
      const parts: Uint8Array[] = [];
      res.on("data", (chunk) => parts.push(chunk));
      res.on("error", reject);
      res.on("end", () => resolve({ status: res.statusCode ?? 0, headers: res.headers, body: Buffer.concat(parts) }));
    });
    req.on("error", reject);
    req.end(given.body);
  });
}

const at = (sha256: string): string => `/api/artifacts/${sha256}`;

test("other addresses are somebody else's", async () => {
  for (const path of ["/", "/api/artifacts", "/api/artifact/x", "/api/artifacts/a/b"])
    expect((await ask("GET", path)).status).toBe(418);
});

test("put, head, get", async () => {
  const data = randomBytes(50_000);
  const path = at(digestOf(data));
  expect((await ask("HEAD", path)).status).toBe(404);
  expect((await ask("PUT", path, { body: data })).status).toBe(201);
  expect((await ask("PUT", path, { body: data })).status).toBe(200);
  const head = await ask("HEAD", path);
  expect(head.status).toBe(200);
  expect(head.headers).toMatchObject({ "content-length": "50000", "accept-ranges": "bytes" });
  expect(head.body.length).toBe(0);
  const got = await ask("GET", `${path}?whatever`);
  expect(got.body.equals(data)).toBe(true);
  expect(got.headers).toMatchObject({ etag: `"${digestOf(data)}"`, "x-content-type-options": "nosniff" });
  const again = await ask("GET", path, { headers: { "if-none-match": `"${digestOf(data)}"` } });
  expect([again.status, again.body.length]).toEqual([304, 0]);
});

describe("ranges", () => {
  const data = randomBytes(1000);
  const path = at(digestOf(data));
  beforeAll(async () => void (await ask("PUT", path, { body: data })));

  test.each([
    ["bytes=0-0", 0, 1],
    ["bytes=10-19", 10, 20],
    ["bytes=990-", 990, 1000],
    ["bytes=-5", 995, 1000],
    ["bytes=-5000", 0, 1000],
    ["bytes=900-5000", 900, 1000],
  ])("%s", async (range, start, end) => {
    const got = await ask("GET", path, { headers: { range } });
    expect(got.status).toBe(206);
    expect(got.headers["content-range"]).toBe(`bytes ${start}-${end - 1}/1000`);
    expect(got.body.equals(data.subarray(start, end))).toBe(true);
  });

  test.each(["bytes=1000-", "bytes=5000-6000", "bytes=-0"])("%s cannot be had", async (range) => {
    const got = await ask("GET", path, { headers: { range } });
    expect(got.status).toBe(416);
    expect(got.headers["content-range"]).toBe("bytes */1000");
  });

  test.each(["bytes=0-1,3-4", "lines=1-2", "bytes=9-3", "bytes=-", "bytes=abc"])("%s is ignored", async (range) => {
    const got = await ask("GET", path, { headers: { range } });
    expect([got.status, got.body.length]).toEqual([200, 1000]);
  });

  test("of another version are the whole", async () => {
    const got = await ask("GET", path, { headers: { range: "bytes=0-1", "if-range": '"other"' } });
    expect([got.status, got.body.length]).toEqual([200, 1000]);
  });
});

describe("refused", () => {
  test("without the token, whatever is asked for, before anything is read", async () => {
    const data = randomBytes(60_000);
    for (const authorization of ["", "Bearer wrong", "Basic right"])
      for (const method of ["GET", "HEAD", "PUT", "DELETE"]) {
        const body = method === "PUT" ? { body: data } : {};
        const got = await ask(method, at(digestOf(data)), { headers: { authorization }, ...body });
        expect(got.status).toBe(401);
        expect(got.headers["www-authenticate"]).toBe("Bearer");
      }
    expect(await disk.has(digestOf(data))).toBe(false);
  });

  test.each(["x", "..", "..%2f..%2fetc%2fpasswd", "A".repeat(64), "a".repeat(63)])("the name %s", async (name) => {
    expect((await ask("GET", at(name))).status).toBe(404);
    expect((await ask("PUT", at(name), { body: randomBytes(4) })).status).toBe(404);
  });

  test("other methods", async () => {
    const got = await ask("DELETE", at("a".repeat(64)));
    expect([got.status, got.headers.allow]).toEqual([405, "GET, HEAD, PUT"]);
  });

  test("bytes with another digest, of which nothing is kept", async () => {
    const data = randomBytes(1000);
    const got = await ask("PUT", at("b".repeat(64)), { body: data });
    expect(got.status).toBe(409);
    expect(got.body.toString()).toMatch(/does not have the digest/);
    expect(await disk.has("b".repeat(64))).toBe(false);
    expect(await disk.has(digestOf(data))).toBe(false);
    expect(readdirSync(join(root, "incoming"))).toEqual([]);
  });

  test("too much, said or not", async () => {
    const data = randomBytes(maxBytes + 1);
    const path = at(digestOf(data));
    expect((await ask("PUT", path, { body: data })).status).toBe(413);
    const chunked = await ask("PUT", path, { body: data, headers: { "transfer-encoding": "chunked" } });
    expect(chunked.status).toBe(413);
    expect(await disk.has(digestOf(data))).toBe(false);
    expect(readdirSync(join(root, "incoming"))).toEqual([]);
  });

  test("much too much, and our own client understands it", async () => {
    const client = httpStore({
      url: `http://127.0.0.1:${port}`,
      token: "right",
      temporaryDirectory: join(folder, "c"),
    });
    const large = async function* (): AsyncGenerator<Uint8Array> {
      for (let i = 0; i < 24; i++) yield Buffer.alloc(1 << 20, i);
    };
    await expect(client.put(large())).rejects.toMatchObject({
      code: "input/invalid",
      message: expect.stringContaining("413"),
    });
    const stranger = httpStore({ url: `http://127.0.0.1:${port}`, token: "wrong", temporaryDirectory: folder });
    await expect(stranger.has("a".repeat(64))).rejects.toMatchObject({ code: "access/denied" });
  });

  test("while the disk is full", async () => {
    full = true;
    const data = randomBytes(100);
    const got = await ask("PUT", at(digestOf(data)), { body: data });
    const client = httpStore({
      url: `http://127.0.0.1:${port}`,
      token: "right",
      temporaryDirectory: join(folder, "c"),
    });
    const source = async function* (): AsyncGenerator<Uint8Array> {
      yield data;
    };
    await expect(client.put(source())).rejects.toMatchObject({ code: "store/disk-full" });
    full = false;
    expect(got.status).toBe(507);
    expect(failures.at(-1)).toMatchObject({ code: "store/disk-full" });
    expect((await ask("PUT", at(digestOf(data)), { body: data })).status).toBe(201);
  });
});

/** Sends the beginning of a PUT and waits until the server has let go of it. */
async function sendHalf(digest: string, thenHangUp: boolean): Promise<void> {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => undefined);
  socket.write(`PUT ${at(digest)} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer right\r\nContent-Length: 1000\r\n\r\n`);
  socket.write(randomBytes(500));
  await expect.poll(() => readdirSync(join(root, "incoming")).length).toBe(1);
  if (thenHangUp) socket.destroy();
  else await new Promise((resolve) => socket.on("close", resolve));
  await expect.poll(() => readdirSync(join(root, "incoming"))).toEqual([]);
  socket.destroy();
}

test("a sender that hangs up, or falls silent, leaves nothing", async () => {
  await sendHalf("c".repeat(64), true);
  await sendHalf("d".repeat(64), false);
  expect(await disk.has("c".repeat(64))).toBe(false);
});
