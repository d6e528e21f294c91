/** A stream of events that breaks, by the server's death or by whatever lies between: nothing is lost, nothing comes twice. */
import { connect, createServer, type Server as NetServer, type Socket } from "node:net";
import { afterAll, expect, test } from "vitest";
import { temporaryFolder } from "../fixtures/tiny-model.ts";
import { endAll, type Server, server, until } from "./processes.ts";

afterAll(endAll);

interface Received {
  readonly id: number;
  readonly topic: string;
  readonly payload: unknown;
}

/** What a browser's EventSource does: opens again by itself, with the number of the last event it has. */
function eventSource(address: () => string, topics: string[]) {
  const received: Received[] = [];
  const closing = new AbortController();
  let lastEventId: string | null = null;
  let connections = 0;
  const read = async (): Promise<void> => {
    const input = encodeURIComponent(JSON.stringify({ topics }));
    const response = await fetch(`${address()}/api/trpc/events.stream?input=${input}`, {
      headers: { accept: "text/event-stream", ...(lastEventId === null ? {} : { "last-event-id": lastEventId }) },
      signal: closing.signal,
    });
    if (!response.ok || !response.body) throw new Error(`status ${response.status}`);
    connections++;
    let rest = "";
    const decoder = new TextDecoder();
    const reader = response.body.getReader();
    for (;;) {
      const { done, value: chunk } = await reader.read();
      if (done) break;
      const blocks = (rest + decoder.decode(chunk, { stream: true })).split("\n\n");
      rest = blocks.pop() ?? "";
      for (const block of blocks) {
        const field = (name: string): string | undefined =>
          block
            .split("\n")
            .find((line) => line.startsWith(`${name}: `))
            ?.slice(name.length + 2);
        const id = field("id");
        const data = field("data");
        if (id === undefined || data === undefined) continue;
        lastEventId = id;
        received.push({ id: Number(id), ...JSON.parse(data) });
      }
    }
  };
  void (async () => {
    while (!closing.signal.aborted) {
      await read().catch(() => undefined);
      await new Promise((go) => setTimeout(go, 100));
    }
  })();
  return { received, connections: () => connections, close: () => closing.abort() };
}

/** A proxy that can be cut. */
async function proxy(target: () => number): Promise<{ port: number; cut(): void; close(): void }> {
  const sockets = new Set<Socket>();
  const net: NetServer = createServer((socket) => {
    const onward = connect(target(), "127.0.0.1");
    for (const one of [socket, onward]) {
      sockets.add(one);
      one.on("error", () => undefined);
      one.on("close", () => {
        sockets.delete(one);
        socket.destroy();
        onward.destroy();
      });
    }
    socket.pipe(onward).pipe(socket);
  });
  await new Promise<void>((ready) => net.listen(0, "127.0.0.1", ready));
  const address = net.address();
  return {
    port: typeof address === "object" && address ? address.port : 0,
    cut: () => {
      for (const socket of sockets) socket.destroy();
    },
    close: () => net.close(),
  };
}

const portOf = (s: Server): number => Number(new URL(s.url).port);

test("a stream goes on after its last event, over cut connections and a killed server", async () => {
  const data = await temporaryFolder();
  let now: Server;
  const between = await proxy(() => portOf(now));
  // A proxy passes its own name on.
  const env = { ESPALIER_DATA: data, ESPALIER_HOSTS: `localhost:${between.port}` };
  now = await server(env, { host: false });
  const through = () => `http://localhost:${between.port}`;
  const direct = eventSource(() => now.url, ["models", "runs"]);
  const proxied = eventSource(through, ["runs"]);
  const names: string[] = [];
  const submit = async (): Promise<void> => {
    const name = `event ${names.length}`;
    await now.client.runs.submit.mutate({
      evaluation: "none",
      kind: "prune",
      name,
      config: { model: "starter", drop: ["L0.H0"] },
    });
    names.push(name);
  };
  const queued = (received: readonly Received[]): string[] =>
    received.filter((e) => e.topic === "runs").map((e) => (e.payload as { name: string }).name);

  // Cut before anything came but where it begins.
  await until("both streams have begun", () => direct.received.length > 0 && proxied.received.length > 0);
  between.cut();
  for (let i = 0; i < 5; i++) await submit();
  await until("five have come", () => queued(proxied.received).length === 5);
  for (let round = 0; round < 3; round++) {
    between.cut();
    for (let i = 0; i < 5; i++) await submit();
  }
  // Submitted after the stream broke, and with a stream broken while the server is gone.
  for (let i = 0; i < 5; i++) await submit();
  await now.kill("SIGKILL");
  now = await server(env, { host: false });
  for (let i = 0; i < 5; i++) await submit();

  for (const stream of [direct, proxied]) {
    await until("all events have come", () => queued(stream.received).length >= names.length);
    expect(queued(stream.received)).toEqual(names);
    const ids = stream.received.map((e) => e.id);
    expect(ids).toEqual([...ids].sort((a, b) => a - b));
  }
  expect(proxied.connections()).toBeGreaterThanOrEqual(4);
  direct.close();
  proxied.close();
  between.close();
});

test("a number that is later than any event comes from another database: the stream begins where this one is", async () => {
  const now = await server({ ESPALIER_DATA: await temporaryFolder() }, { host: false });
  const input = encodeURIComponent(JSON.stringify({ topics: ["runs"], lastEventId: 1_000_000 }));
  const response = await fetch(`${now.url}/api/trpc/events.stream?input=${input}`);
  const reader = response.body?.getReader();
  let said = "";
  await until("the stream says where it is", async () => {
    said += new TextDecoder().decode((await reader?.read())?.value);
    return said.includes('"position"');
  });
  await now.client.runs.submit.mutate({
    evaluation: "none",
    kind: "prune",
    config: { model: "starter", drop: ["L0.H0"] },
  });
  await until("the next event comes", async () => {
    said += new TextDecoder().decode((await reader?.read())?.value);
    return said.includes('"queued"');
  });
  await reader?.cancel();
});
