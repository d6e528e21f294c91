/** Uploads, spoken to in plain HTTP, with what a hostile page would try. */
import { createHash, randomBytes } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { createServer, request } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openUploads, type Uploads } from "./upload.ts";

const root = mkdtempSync(join(tmpdir(), "espalier-upload-"));
const dataDirectory = join(root, "data");
let skewMs = 0;
const clock = { nowMs: () => Date.now() + skewMs };
const limits = { maxFileBytes: 100_000, maxBatchBytes: 150_000, maxFiles: 4, idleMs: 200 };
let uploads: Uploads;
let port = 0;
const server = createServer(async (req, res) => {
  if (!(await uploads.handle(req, res))) res.writeHead(418).end();
});
beforeAll(async () => {
  uploads = await openUploads({ dataDirectory, clock, ...limits });
  await new Promise<void>((go) => server.listen(0, "127.0.0.1", go));
  port = (server.address() as AddressInfo).port;
});
afterAll(() => {
  uploads.close();
  server.closeAllConnections();
  server.close();
  rmSync(root, { recursive: true, force: true });
});

const incoming = (): string[] => readdirSync(join(dataDirectory, "uploads", "incoming"));

function post(
  query: string,
  body: Uint8Array,
  headers: Record<string, string> = {},
  method = "POST",
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const all = { "content-type": "application/octet-stream", "content-length": String(body.length), ...headers };
    const req = request(
      { host: "127.0.0.1", port, method, path: `/api/upload${query}`, headers: all, agent: false },
      (res) => {
        let text = "";
        res.on("data", (chunk) => (text += String(chunk)));
        res.on("end", () => resolve({ status: res.statusCode ?? 0, text: text.trim() }));
      },
    );
    req.on("error", reject);
    req.end(body);
  });
}

test("other addresses are somebody else's", async () => {
  expect((await post("s", Buffer.alloc(0))).status).toBe(418);
  expect((await post("/x", Buffer.alloc(0))).status).toBe(418);
  expect((await post("?name=a", Buffer.alloc(0), {}, "PUT")).status).toBe(405);
});

test("several files make a folder", async () => {
  const data = randomBytes(90_000);
  const first = await post("?name=model.safetensors", data);
  expect(first.status).toBe(201);
  const { batch, ...file } = JSON.parse(first.text);
  expect(file).toEqual({
    name: "model.safetensors",
    sizeBytes: data.length,
    sha256: createHash("sha256").update(data).digest("hex"),
  });
  expect((await post(`?name=config.json&batch=${batch}`, Buffer.from("{}"))).status).toBe(201);
  expect((await post(`?name=empty.txt&batch=${batch}`, Buffer.alloc(0))).status).toBe(201);
  const folder = await uploads.finishUpload(batch);
  expect(folder.startsWith(dataDirectory)).toBe(true);
  expect(readdirSync(folder).sort()).toEqual(["config.json", "empty.txt", "model.safetensors"]);
  expect(readFileSync(join(folder, "model.safetensors")).equals(data)).toBe(true);
  expect(await uploads.finishUpload(batch)).toBe(folder);
  const late = await post(`?name=late.txt&batch=${batch}`, Buffer.from("late"));
  expect([late.status, late.text]).toEqual([409, expect.stringContaining("is finished")]);
  await uploads.discardUpload(batch);
  expect(existsSync(folder)).toBe(false);
  expect(incoming()).toEqual([]);
});

test("a chosen folder is found inside its batch", async () => {
  expect((await post("?name=tiny/config.json&batch=chosen-folder", Buffer.from("{}"))).status).toBe(201);
  expect((await post("?name=tiny/vocab.txt&batch=chosen-folder", Buffer.from("a"))).status).toBe(201);
  const folder = await uploads.finishUpload("chosen-folder");
  expect(folder.endsWith("chosen-folder/tiny")).toBe(true);
  expect(readdirSync(folder).sort()).toEqual(["config.json", "vocab.txt"]);
});

describe("names", () => {
  test.each([
    "",
    ".",
    "..",
    "../x",
    "a/../b",
    "a/b/c",
    "/etc/passwd",
    "a//b",
    "a/",
    ".hidden",
    "a/.hidden",
    "a\\b",
    "C:x",
    "a b",
    "a%00b",
    "ä",
    "a\nb",
    "con",
    "NUL.txt",
    "a.",
    "-".repeat(129),
  ])("%j is refused", async (name) => {
    const got = await post(`?batch=hostile-name&name=${encodeURIComponent(name)}`, Buffer.from("evil"));
    expect([got.status, got.text]).toEqual([400, expect.stringContaining("is not a valid name")]);
  });

  test.each(["..", "../../x", "a", "ABCDEFGHIJ", "-abcdefgh", "a".repeat(65), "abcdefg/h"])(
    "%j is refused for a batch",
    async (batch) => {
      const got = await post(`?name=a&batch=${encodeURIComponent(batch)}`, Buffer.from("evil"));
      expect([got.status, got.text]).toEqual([400, expect.stringContaining("is not the id")]);
      await expect(uploads.finishUpload(batch)).rejects.toMatchObject({ code: "input/invalid" });
      await expect(uploads.discardUpload(batch)).rejects.toMatchObject({ code: "input/invalid" });
    },
  );

  test("leave nothing anywhere", () => {
    expect(existsSync(join(dataDirectory, "uploads", "open", "hostile-name"))).toBe(false);
    expect(readdirSync(root)).toEqual(["data"]);
    expect(readdirSync(dataDirectory)).toEqual(["uploads"]);
  });

  test("are taken once, whatever their capitals", async () => {
    expect((await post("?name=Config.json&batch=same-names", Buffer.from("1"))).status).toBe(201);
    for (const name of ["Config.json", "config.JSON", "config.json/x"])
      expect((await post(`?name=${name}&batch=same-names`, Buffer.from("2"))).status).toBe(409);
    expect(readFileSync(join(await uploads.finishUpload("same-names"), "Config.json"), "utf8")).toBe("1");
  });

  test("are taken once, even at the same time", async () => {
    const answers = await Promise.all(
      [1, 2, 3, 4, 5].map((i) => post("?name=race.txt&batch=racing-five", Buffer.alloc(5000, i))),
    );
    expect(answers.map((a) => a.status).sort()).toEqual([201, 409, 409, 409, 409]);
  });
});

describe("bounds", () => {
  test("of a file, of a batch, of their number", async () => {
    const batch = "batch=bounded-batch";
    expect((await post(`?name=a&${batch}`, Buffer.alloc(100_001))).status).toBe(413);
    expect((await post(`?name=a&${batch}`, Buffer.alloc(100_000))).status).toBe(201);
    expect((await post(`?name=b&${batch}`, Buffer.alloc(50_001))).status).toBe(413);
    expect((await post(`?name=b&${batch}`, Buffer.alloc(49_998))).status).toBe(201);
    for (const name of ["c", "d"]) expect((await post(`?name=${name}&${batch}`, Buffer.alloc(1))).status).toBe(201);
    expect((await post(`?name=e&${batch}`, Buffer.alloc(0))).status).toBe(400);
  });

  test("hold for requests at the same time, and after a restart", async () => {
    const answers = await Promise.all(
      ["a", "b", "c"].map((name) => post(`?name=${name}&batch=at-the-same-time`, Buffer.alloc(70_000))),
    );
    expect(answers.map((a) => a.status).sort()).toEqual([201, 201, 413]);
    uploads.close();
    uploads = await openUploads({ dataDirectory, clock, ...limits });
    expect((await post("?name=d&batch=at-the-same-time", Buffer.alloc(20_000))).status).toBe(413);
    expect((await post("?name=d&batch=at-the-same-time", Buffer.alloc(10_000))).status).toBe(201);
  });

  test("a length that is not told, and another kind of body", async () => {
    const chunked = { "content-type": "application/octet-stream", "transfer-encoding": "chunked" };
    const got = await fetch(`http://127.0.0.1:${port}/api/upload?name=a`, {
      method: "POST",
      headers: { "content-type": chunked["content-type"] },
      body: new ReadableStream({
        start(controller) {
          controller.enqueue(new TextEncoder().encode("chunk"));
          controller.close();
        },
      }),
      duplex: "half",
    } as RequestInit);
    expect(got.status).toBe(411);
    for (const type of ["text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", ""])
      expect((await post("?name=a", Buffer.from("x"), { "content-type": type })).status).toBe(415);
  });

  test("of the disk", async () => {
    const full = await openUploads({ dataDirectory: join(root, "full"), clock, reserveBytes: Number.MAX_SAFE_INTEGER });
    const kept = uploads;
    uploads = full;
    const got = await post("?name=a", Buffer.from("x"));
    uploads = kept;
    full.close();
    expect([got.status, got.text]).toEqual([507, expect.stringContaining("no space")]);
  });
});

/** Sends the beginning of a file and waits until it is on its way. */
async function sendHalf(query: string): Promise<ReturnType<typeof connect>> {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => undefined);
  socket.write(
    `POST /api/upload?${query} HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\nContent-Length: 1000\r\n\r\nhalf`,
  );
  await expect.poll(() => incoming().length).toBe(1);
  return socket;
}

test("a sender that goes away or falls silent leaves nothing, and its name is free again", async () => {
  const socket = await sendHalf("name=half.bin&batch=broken-off");
  await expect(uploads.finishUpload("broken-off")).rejects.toThrow(/still being sent/);
  socket.destroy();
  await expect.poll(incoming).toEqual([]);
  await sendHalf("name=half.bin&batch=broken-off");
  await expect.poll(incoming).toEqual([]);
  await expect.poll(async () => (await post("?name=half.bin&batch=broken-off", Buffer.from("whole"))).status).toBe(201);
});

test("an empty batch is no upload", async () => {
  await expect(uploads.finishUpload("never-begun")).rejects.toMatchObject({ code: "input/empty" });
});

test("leftovers go after a day, younger ones stay", async () => {
  await post("?name=old.bin&batch=left-yesterday", Buffer.from("old"));
  await post("?name=done.bin&batch=done-yesterday", Buffer.from("old"));
  await uploads.finishUpload("done-yesterday");
  const partial = join(dataDirectory, "uploads", "incoming", "killed.partial");
  mkdirSync(join(partial, ".."), { recursive: true });
  writeFileSync(partial, "half");
  await uploads.removeLeftovers();
  expect(readdirSync(join(dataDirectory, "uploads", "open"))).toContain("left-yesterday");
  const ago = Date.now() / 1000 - 25 * 3600;
  for (const path of ["open/left-yesterday/old.bin", "open/left-yesterday", "incoming/killed.partial"])
    utimesSync(join(dataDirectory, "uploads", path), ago, ago);
  await uploads.removeLeftovers();
  expect(readdirSync(join(dataDirectory, "uploads", "open"))).not.toContain("left-yesterday");
  expect(readdirSync(join(dataDirectory, "uploads", "finished"))).toContain("done-yesterday");
  expect(incoming()).toEqual([]);
  skewMs = 25 * 3600_000;
  await uploads.removeLeftovers();
  skewMs = 0;
  for (const folder of ["open", "finished"]) expect(readdirSync(join(dataDirectory, "uploads", folder))).toEqual([]);
  expect((await post("?name=old.bin&batch=left-yesterday", Buffer.from("new"))).status).toBe(201);
});
