import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { answer, answerError } from "./answer.ts";
import { boundedBody, readBody } from "./limits.ts";

let port = 0;
const seen: { code: string; message: string }[] = [];
const server = createServer(async (req, res) => {
  try {
    if (req.url === "/never-read") answer(req, res, 401, "no");
    else if (req.url === "/stream") {
      let length = 0;
      for await (const chunk of boundedBody(req, { maxBytes: 1000, idleMs: 200 })) length += chunk.length;
      answer(req, res, 200, String(length));
    } else answer(req, res, 200, String((await readBody(req, 1000)).length));
  } catch (thrown) {
    seen.push(thrown as { code: string; message: string });
    answerError(req, res, thrown);
  }
});
beforeAll(async () => {
  await new Promise<void>((go) => server.listen(0, "127.0.0.1", go));
  port = (server.address() as AddressInfo).port;
});
beforeEach(() => {
  seen.length = 0;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

const post = async (path: string, length: number): Promise<[number, string]> => {
  const got = await fetch(`http://127.0.0.1:${port}${path}`, { method: "POST", body: Buffer.alloc(length) });
  return [got.status, (await got.text()).trim()];
};

test.each(["/", "/stream"])("%s takes the limit and not a byte more", async (path) => {
  expect(await post(path, 0)).toEqual([200, "0"]);
  expect(await post(path, 1000)).toEqual([200, "1000"]);
  const [status, text] = await post(path, 1001);
  expect(status).toBe(413);
  expect(text).toMatch(/larger than 1000 bytes/);
});

/** Everything the server says until it closes. */
const raw = (head: string, write: (send: (data: string) => void, end: () => void) => void): Promise<string> =>
  new Promise((resolve) => {
    let text = "";
    const socket = connect(port, "127.0.0.1", () => {
      socket.write(`${head}\r\nHost: x\r\n`);
      write(
        (data) => socket.write(data),
        () => socket.end(),
      );
    });
    socket.on("data", (chunk) => (text += String(chunk)));
    socket.on("error", () => undefined);
    socket.on("close", () => resolve(text));
  });

test("a length that is not told is counted", async () => {
  const got = await raw("POST /stream HTTP/1.1", (send, end) => {
    send("Transfer-Encoding: chunked\r\n\r\n");
    for (let i = 0; i < 3; i++) send(`200\r\n${"x".repeat(512)}\r\n`);
    send("0\r\n\r\n");
    setTimeout(end, 100);
  });
  expect(got).toMatch(/^HTTP\/1\.1 413 /);
});

test("a sender that falls silent is cut off", async () => {
  await raw("POST /stream HTTP/1.1", (send) => send("Content-Length: 500\r\n\r\nhalf"));
  expect(seen[0]?.message).toMatch(/broke off after 4 bytes/);
});

test("a sender that goes away is noticed", async () => {
  await raw("POST /stream HTTP/1.1", (send, end) => {
    send("Content-Length: 500\r\n\r\nhalf");
    setTimeout(end, 20);
  });
  await expect.poll(() => seen[0]?.code).toBe("input/invalid");
});

test("an answer before the body is read arrives, and a sender that goes on for ever is cut off", async () => {
  expect(await post("/never-read", 5 << 20)).toEqual([401, "no"]);
  let sent = 0;
  const got = await raw("POST /never-read HTTP/1.1", (send) => {
    send(`Content-Length: ${1 << 30}\r\n\r\n`);
    const piece = "x".repeat(1 << 20);
    const timer = setInterval(() => {
      send(piece);
      if (++sent >= 200) clearInterval(timer);
    }, 1);
    timer.unref();
  });
  expect(got).toMatch(/^HTTP\/1\.1 401 /);
  expect(sent).toBeLessThan(200);
});
