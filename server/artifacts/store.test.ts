/** One suite for every artifact store: a disk, a server of ours, and an S3-compatible server where one runs. */
import { createHash, randomBytes, randomUUID } from "node:crypto";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { artifactEndpoint } from "./artifact-endpoint.ts";
import { diskStore } from "./disk.ts";
import { httpStore } from "./http-store.ts";
import { openArtifactStore } from "./open.ts";
import { openS3Store } from "./s3.ts";
import type { ArtifactStore } from "./store.ts";

const folder = mkdtempSync(join(tmpdir(), "espalier-artifacts-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const digestOf = (data: Uint8Array): string => createHash("sha256").update(data).digest("hex");
const token = "a token of more than sixteen";

async function* chunked(data: Uint8Array, step = 70_001): AsyncGenerator<Uint8Array> {
  for (let i = 0; i < data.length; i += step) yield data.subarray(i, i + step);
}

async function bytesOf(stream: Readable): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const chunk of stream) parts.push(chunk);
  return Buffer.concat(parts);
}

async function listen(listener: RequestListener): Promise<{ server: Server; url: string }> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

/** What is left of temporary files below a folder. */
const partials = (root: string): string[] =>
  readdirSync(root, { recursive: true })
    .map(String)
    .filter((name) => name.endsWith(".partial"));

interface Stage {
  readonly store: ArtifactStore;
  /** Changes the bytes behind the store's back. */
  readonly damage: ((sha256: string) => void) | null;
  readonly close: () => Promise<void>;
}

function damageIn(root: string): (sha256: string) => void {
  return (sha256) => {
    const path = join(root, sha256.slice(0, 2), sha256);
    const data = readFileSync(path);
    data[0] = (data[0] ?? 0) ^ 1;
    chmodSync(path, 0o644);
    writeFileSync(path, data);
  };
}

const s3Url = process.env.ARTIFACTS_TEST_S3;
const stages: Record<string, () => Promise<Stage>> = {
  async disk() {
    const root = join(folder, "disk");
    return { store: diskStore(root), damage: damageIn(root), close: async () => undefined };
  },
  async http() {
    const root = join(folder, "behind-http");
    const behind = diskStore(root);
    const handler = artifactEndpoint(behind, {
      authorize: (req) => req.headers.authorization === `Bearer ${token}`,
      maxBytes: 32 << 20,
    });
    const { server, url } = await listen((req, res) => void handler(req, res));
    const store = await openArtifactStore(url, { dataDirectory: join(folder, "http-client"), token });
    return {
      store,
      damage: damageIn(root),
      close: async () => {
        server.closeAllConnections();
        server.close();
      },
    };
  },
};
if (s3Url !== undefined) {
  stages.s3 = async () => ({
    store: await openArtifactStore(s3Url.replace("?", `/${randomUUID()}?`), {
      dataDirectory: join(folder, "s3-client"),
    }),
    damage: null,
    close: async () => undefined,
  });
}

describe.each(Object.entries(stages))("%s", (_name, open) => {
  let stage: Stage;
  let store: ArtifactStore;
  beforeAll(async () => {
    stage = await open();
    store = stage.store;
  });
  afterAll(() => stage.close());

  test.each([0, 1, 65_536, 3_000_000])("keeps %d bytes from a stream and from a file", async (length) => {
    const data = randomBytes(length);
    const sha256 = digestOf(data);
    expect(await store.has(sha256)).toBe(false);
    expect(await store.put(chunked(data))).toEqual({ sha256, sizeBytes: length });
    const file = join(folder, `source-${length}`);
    writeFileSync(file, data);
    expect(await store.put({ path: file })).toEqual({ sha256, sizeBytes: length });
    expect(await store.has(sha256)).toBe(true);
    expect(await store.sizeOf(sha256)).toBe(length);
    expect((await bytesOf(await store.read(sha256))).equals(data)).toBe(true);
    const target = join(folder, _name, "fetched", sha256);
    await store.fetchTo(sha256, target);
    expect(readFileSync(target).equals(data)).toBe(true);
  });

  test("keeps a file that it has not seen", async () => {
    const data = randomBytes(200_000);
    const file = join(folder, "fresh");
    writeFileSync(file, data);
    expect(await store.put({ path: file })).toEqual({ sha256: digestOf(data), sizeBytes: data.length });
    expect((await bytesOf(await store.read(digestOf(data)))).equals(data)).toBe(true);
  });

  test("reads ranges", async () => {
    const data = randomBytes(10_000);
    const { sha256 } = await store.put(chunked(data));
    for (const [start, end] of [
      [0, 0],
      [100, 4099],
      [9999, 9999],
    ] as const)
      expect((await bytesOf(await store.read(sha256, { start, end }))).equals(data.subarray(start, end + 1))).toBe(
        true,
      );
  });

  test("says what is not there", async () => {
    const absent = digestOf(randomBytes(8));
    expect(await store.has(absent)).toBe(false);
    expect(await store.sizeOf(absent)).toBeNull();
    await expect(store.read(absent)).rejects.toMatchObject({ code: "store/io" });
    const target = join(folder, _name, "absent");
    await expect(store.fetchTo(absent, target)).rejects.toMatchObject({ code: "store/io" });
    expect(readdirSync(join(folder, _name)).includes("absent")).toBe(false);
  });

  test.each(["../../../etc/passwd", "", "a".repeat(63), "A".repeat(64), `${"a".repeat(64)}/..`, `${"a".repeat(63)}%`])(
    "refuses the name %j",
    async (name) => {
      const path = join(folder, _name, "hostile");
      await expect(store.has(name)).rejects.toMatchObject({ code: "input/invalid" });
      await expect(store.read(name)).rejects.toMatchObject({ code: "input/invalid" });
      await expect(store.fetchTo(name, path)).rejects.toMatchObject({ code: "input/invalid" });
    },
  );

  test("keeps nothing of a source that fails", async () => {
    const data = randomBytes(300_000);
    const failing = async function* (): AsyncGenerator<Uint8Array> {
      yield data;
      throw new Error("the source broke");
    };
    await expect(store.put(failing())).rejects.toThrow("the source broke");
    expect(await store.has(digestOf(data))).toBe(false);
    await expect(store.put({ path: join(folder, "no such file") })).rejects.toMatchObject({ code: "store/io" });
    expect(partials(folder)).toEqual([]);
  });

  test("replaces what a fetch finds in its place, and takes the same thing twenty times at once", async () => {
    const data = randomBytes(400_000);
    const results = await Promise.all(Array.from({ length: 20 }, () => store.put(chunked(data))));
    expect(new Set(results.map((r) => r.sha256))).toEqual(new Set([digestOf(data)]));
    const target = join(folder, _name, "replaced");
    writeFileSync(target, "something else");
    await Promise.all(Array.from({ length: 5 }, () => store.fetchTo(digestOf(data), target)));
    expect(readFileSync(target).equals(data)).toBe(true);
    expect(partials(folder)).toEqual([]);
  });

  test("a fetched file is the caller's own, unless the caller wants to read only", async () => {
    const data = randomBytes(5000);
    const { sha256 } = await store.put(chunked(data));
    const own = join(folder, _name, "own");
    await store.fetchTo(sha256, own);
    writeFileSync(own, "changed");
    expect((await bytesOf(await store.read(sha256))).equals(data)).toBe(true);
    const shared = join(folder, _name, "shared");
    await store.fetchTo(sha256, shared, { readOnly: true });
    await store.fetchTo(sha256, shared, { readOnly: true });
    expect(statSync(shared).mode & 0o777).toBe(0o444);
    expect(readFileSync(shared).equals(data)).toBe(true);
  });

  test("notices damage, and putting it again heals the store", async () => {
    if (!stage.damage) return;
    const data = randomBytes(100_000);
    const { sha256 } = await store.put(chunked(data));
    stage.damage(sha256);
    await expect(store.read(sha256).then(bytesOf)).rejects.toThrow();
    const target = join(folder, _name, "damaged");
    await expect(store.fetchTo(sha256, target)).rejects.toMatchObject({ code: "store/io" });
    expect(readdirSync(join(folder, _name)).includes("damaged")).toBe(false);
    expect(await store.has(sha256)).toBe(false);
    await store.put(chunked(data));
    await store.fetchTo(sha256, target);
    expect(readFileSync(target).equals(data)).toBe(true);
  });
});

test.runIf(s3Url !== undefined)("s3 takes a large object in parts", async () => {
  const url = new URL(s3Url ?? "");
  const prefix = `parts-${randomUUID()}`;
  const store = await openS3Store({
    bucket: url.hostname,
    prefix,
    endpoint: url.searchParams.get("endpoint") ?? undefined,
    region: "us-east-1",
    temporaryDirectory: join(folder, "s3-parts"),
    partBytes: 5 << 20,
  });
  const data = randomBytes((12 << 20) + 7);
  const { sha256 } = await store.put(chunked(data, 1 << 20));
  expect((await bytesOf(await store.read(sha256))).equals(data)).toBe(true);
  const target = join(folder, "s3-large");
  await store.fetchTo(sha256, target);
  expect(digestOf(readFileSync(target))).toBe(sha256);
});

test.runIf(s3Url !== undefined)("s3 says which bucket is missing", async () => {
  const store = await openArtifactStore((s3Url ?? "").replace(/s3:\/\/[^/?]+/, "s3://no-such-bucket"), {
    dataDirectory: join(folder, "s3-missing"),
  });
  await expect(store.put(chunked(randomBytes(10)))).rejects.toMatchObject({
    code: "store/io",
    message: expect.stringContaining("NoSuchBucket"),
  });
});

describe("a disk", () => {
  test("lies in the data directory, two digits a folder, read-only", async () => {
    const data = Buffer.from("where does it lie");
    const dataDirectory = join(folder, "data");
    const store = await openArtifactStore(undefined, { dataDirectory });
    const { sha256 } = await store.put(chunked(data));
    const path = join(dataDirectory, "artifacts", sha256.slice(0, 2), sha256);
    expect(readFileSync(path).equals(data)).toBe(true);
    expect(statSync(path).mode & 0o777).toBe(0o444);
    const linked = join(folder, "linked");
    await store.fetchTo(sha256, linked, { readOnly: true });
    expect(statSync(linked).ino).toBe(statSync(path).ino);
  });

  test("forgets what a killed process left a day ago, and nothing younger", async () => {
    const root = join(folder, "swept");
    mkdirSync(join(root, "incoming"), { recursive: true });
    const { utimesSync } = await import("node:fs");
    for (const name of ["old.partial", "young.partial"]) writeFileSync(join(root, "incoming", name), "x");
    const twoDaysAgo = Date.now() / 1000 - 2 * 86_400;
    utimesSync(join(root, "incoming", "old.partial"), twoDaysAgo, twoDaysAgo);
    await diskStore(root).put(chunked(randomBytes(4)));
    expect(readdirSync(join(root, "incoming"))).toEqual(["young.partial"]);
  });
});

describe("a server", () => {
  test("that is not there, or restarts", async () => {
    const { server, url } = await listen((_req, res) => res.writeHead(503).end());
    const given = { url, token, temporaryDirectory: join(folder, "gone"), retryWaitsMs: [10, 10] };
    await expect(httpStore(given).has("a".repeat(64))).rejects.toMatchObject({
      code: "store/io",
      message: expect.stringContaining("503"),
    });
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await expect(httpStore(given).has("a".repeat(64))).rejects.toMatchObject({
      code: "store/io",
      hint: expect.stringContaining("ARTIFACTS_URL"),
    });
  });

  test("whose connection breaks in the middle is asked again; one that lies is not believed", async () => {
    const data = randomBytes(500_000);
    const sha256 = digestOf(data);
    let asked = 0;
    const { server, url } = await listen((_req, res) => {
      asked++;
      res.writeHead(200, { "content-length": data.length });
      if (asked < 3) res.write(data.subarray(0, 200_000), () => res.destroy());
      else if (asked === 3) res.end(data);
      else res.end(Buffer.alloc(data.length));
    });
    const store = httpStore({ url, token, temporaryDirectory: join(folder, "breaks"), retryWaitsMs: [10, 10] });
    const target = join(folder, "broken-off");
    await store.fetchTo(sha256, target);
    expect(readFileSync(target).equals(data)).toBe(true);
    expect(asked).toBe(3);
    const other = join(folder, "lied");
    await expect(store.fetchTo(sha256, other)).rejects.toThrow(/damaged/);
    expect(asked).toBe(4);
    expect(readdirSync(folder).filter((n) => n.startsWith("lied") || n.endsWith(".partial"))).toEqual([]);
    server.closeAllConnections();
    server.close();
  });

  test("that falls silent is given up", async () => {
    const { server, url } = await listen(() => undefined);
    const store = httpStore({ url, token, temporaryDirectory: folder, retryWaitsMs: [], idleMs: 100 });
    await expect(store.has("a".repeat(64))).rejects.toThrow(/no answer for 0\.1 s/);
    server.closeAllConnections();
    server.close();
  });
});

describe("addresses", () => {
  const given = { dataDirectory: join(folder, "addresses"), token };

  test("a shared folder", async () => {
    const store = await openArtifactStore(`file://${folder}/shared-folder`, given);
    const { sha256 } = await store.put(chunked(Buffer.from("shared")));
    expect(statSync(join(folder, "shared-folder", sha256.slice(0, 2), sha256)).size).toBe(6);
  });

  test.each([
    ["nonsense", "is not an address"],
    ["ftp://host/x", "begins with ftp:"],
    ["http://host:1/path", "names more than a server"],
    ["file://elsewhere/x", "names no folder of this machine"],
    ["s3:///x", "names no bucket"],
    ["s3://bucket?endpoint=ftp://x", "not an http(s) address"],
    ["s3://bucket?secret=abc", '"secret", which is not a setting of a bucket'],
  ])("%s is refused: %s", async (url, reason) => {
    await expect(openArtifactStore(url, given)).rejects.toMatchObject({
      code: "input/invalid",
      message: expect.stringContaining(reason),
    });
  });

  test("keys do not belong into one, and are not repeated", async () => {
    const refused = openArtifactStore("s3://AKIAKEY:hidden@bucket", given);
    await expect(refused).rejects.toMatchObject({ code: "input/invalid" });
    await expect(refused).rejects.not.toThrow(/hidden/);
  });

  test("a server needs a token", async () => {
    await expect(openArtifactStore("http://localhost:1", { dataDirectory: folder })).rejects.toMatchObject({
      code: "access/denied",
    });
  });
});
