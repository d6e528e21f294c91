/** Zips as a browser gets them, read back with a reader of the test's own. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer, get, type IncomingHttpHeaders, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { crc32 } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { attachment, folderEntries, sendZip, type ZipEntry, zipStream } from "./zip.ts";

const root = mkdtempSync(join(tmpdir(), "espalier-zip-"));
const folder = join(root, "folder");
const weights = Buffer.alloc(300_000, "weights");
const contents: Record<string, Buffer> = {
  "Starter.mlpackage/Data/weights.bin": weights,
  "Starter.mlpackage/Manifest.json": Buffer.from("{}"),
  "card.json": Buffer.from(`{"ready":true}`),
  "empty.txt": Buffer.alloc(0),
  "naïve 名.txt": Buffer.from("unicode"),
};

let send: (response: ServerResponse) => Promise<void>;
let last: Promise<void> = Promise.resolve();
let port = 0;
const server = createServer((_req, res) => {
  last = send(res);
  last.catch(() => undefined);
});
beforeAll(async () => {
  for (const [path, data] of Object.entries(contents)) {
    mkdirSync(join(folder, path, ".."), { recursive: true });
    writeFileSync(join(folder, path), data);
  }
  await new Promise<void>((go) => server.listen(0, "127.0.0.1", go));
  port = (server.address() as AddressInfo).port;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
  rmSync(root, { recursive: true, force: true });
});

async function bytesOf(stream: Readable): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const chunk of stream) parts.push(chunk);
  return Buffer.concat(parts);
}

const fetchZip = (): Promise<{ headers: IncomingHttpHeaders; body: Buffer }> =>
  new Promise((resolve, reject) => {
    get({ host: "127.0.0.1", port, agent: false }, (res) => {
      bytesOf(res).then((body) => resolve({ headers: res.headers, body }), reject);
    }).on("error", reject);
  });

/** APPNOTE.TXT 4.3: the central directory, then each local header; stored files only. */
function unzip(zip: Buffer): Record<string, Buffer> {
  const end = zip.lastIndexOf(Buffer.from([0x50, 0x4b, 5, 6]));
  const files: Record<string, Buffer> = {};
  let at = zip.readUInt32LE(end + 16);
  for (let i = 0; i < zip.readUInt16LE(end + 10); i++) {
    expect(zip.readUInt32LE(at)).toBe(0x02014b50);
    expect(zip.readUInt16LE(at + 10)).toBe(0);
    const [crc, size] = [zip.readUInt32LE(at + 16), zip.readUInt32LE(at + 24)];
    const nameLength = zip.readUInt16LE(at + 28);
    const name = zip.toString("utf8", at + 46, at + 46 + nameLength);
    const local = zip.readUInt32LE(at + 42);
    const start = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28);
    const data = zip.subarray(start, start + size);
    expect(crc32(data)).toBe(crc);
    files[name] = data;
    at += 46 + nameLength + zip.readUInt16LE(at + 30) + zip.readUInt16LE(at + 32);
  }
  return files;
}

const expected = Object.fromEntries(Object.entries(contents).map(([path, data]) => [`Starter/${path}`, data]));

test("a folder arrives whole, with its size told beforehand", async () => {
  send = (res) => sendZip(res, folder, "Starter");
  const { headers, body } = await fetchZip();
  expect(headers["content-type"]).toBe("application/zip");
  expect(Number(headers["content-length"])).toBe(body.length);
  expect(headers["content-disposition"]).toBe(`attachment; filename="Starter.zip"`);
  expect(unzip(body)).toEqual(expected);
});

test("a folder gives the same bytes in any time zone", async () => {
  const zone = process.env.TZ;
  const zips: Buffer[] = [];
  for (const [TZ, entries] of [
    ["UTC", await folderEntries(folder)],
    ["America/Los_Angeles", await folderEntries(folder)],
    ["Asia/Kathmandu", await folderEntries(folder)],
  ] as const) {
    process.env.TZ = TZ;
    const { stream, sizeBytes } = await zipStream(entries, "Starter");
    const zip = await bytesOf(stream);
    expect(zip.length).toBe(sizeBytes);
    zips.push(zip);
  }
  if (zone === undefined) delete process.env.TZ;
  else process.env.TZ = zone;
  expect(unzip(zips[0] ?? Buffer.alloc(0))).toEqual(expected);
  for (const zip of zips) expect(zip.equals(zips[0] ?? zip)).toBe(true);
});

test("a link that leads out of the folder is not followed", async () => {
  const linked = join(root, "linked");
  mkdirSync(linked);
  writeFileSync(join(linked, "mine"), "mine");
  symlinkSync("/etc/passwd", join(linked, "theirs"));
  symlinkSync("/etc", join(linked, "folder"));
  expect((await folderEntries(linked)).map((e) => e.path)).toEqual(["mine"]);
});

describe("what goes wrong on the way", () => {
  const entry = (path: string, open: () => Promise<Readable>, sizeBytes: number): ZipEntry => ({
    path,
    sizeBytes,
    open,
  });

  test.each([
    ["a file that cannot be opened", () => Promise.reject(new Error("gone")), 4],
    ["a file that breaks off", async () => Readable.from(failing()), 10],
    ["a file that is not as long as was said", async () => Readable.from([Buffer.from("four")]), 5],
  ])("%s breaks the connection", async (_name, open: () => Promise<Readable>, size) => {
    send = (res) => sendZip(res, [entry("a", open, size), entry("b", async () => Readable.from([]), 0)], "x");
    await expect(fetchZip()).rejects.toThrow(/aborted|hang up/);
    await expect(last).rejects.toThrow(/gone|broke|unexpected number of bytes/);
  });

  test("a reader that goes away ends the reading", async () => {
    const endless = new Readable({
      read() {
        this.push(Buffer.alloc(65_536));
      },
    });
    send = (res) => sendZip(res, [entry("a", async () => endless, 2 ** 31)], "x");
    await new Promise<void>((resolve) => {
      const req = get({ host: "127.0.0.1", port, agent: false }, (res) => {
        res.once("data", () => {
          req.destroy();
          resolve();
        });
        res.on("error", () => undefined);
      });
      req.on("error", () => undefined);
    });
    await last;
    await expect.poll(() => endless.destroyed).toBe(true);
  });
});

async function* failing(): AsyncGenerator<Uint8Array> {
  yield Buffer.from("four");
  throw new Error("it broke");
}

test.each([
  ["plain-1.zip", `attachment; filename="plain-1.zip"`],
  ["two words.zip", `attachment; filename="two-words.zip"; filename*=UTF-8''two%20words.zip`],
  ["Äpfel (2).zip", `attachment; filename="-pfel--2-.zip"; filename*=UTF-8''%C3%84pfel%20%282%29.zip`],
  [
    `a"; x="b\r\nSet-Cookie: y.zip`,
    `attachment; filename="a---x--b--Set-Cookie--y.zip"; filename*=UTF-8''a%22%3B%20x%3D%22b--Set-Cookie%3A%20y.zip`,
  ],
  ["../../etc/passwd", `attachment; filename="-..-etc-passwd"; filename*=UTF-8''..-..-etc-passwd`],
])("the name %j stays inside its header", (name, header) => {
  expect(attachment(name)).toBe(header);
});
