/** A page whose server dies says so, and is up to date again by itself when the server is back. */
import { createServer } from "node:http";
import { chromium } from "playwright-core";
import { afterAll, expect, test } from "vitest";
import { endAll, server, until } from "../faults/processes.ts";
import { temporaryFolder } from "../fixtures/tiny-model.ts";

afterAll(endAll);

test("offline while the server is away or a proxy answers for it, then live again, with what happened meanwhile", async () => {
  const env = { ESPALIER_DATA: await temporaryFolder() };
  let now = await server(env, { host: false, pages: true });
  const port = Number(new URL(now.url).port);
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
  });
  try {
    const page = await browser.newPage();
    await page.goto(`${now.url}/runs`);
    const isOffline = async (): Promise<boolean> => (await page.locator(".offline").count()) > 0;
    const submit = (name: string) =>
      now.client.runs.submit.mutate({
        evaluation: "none",
        kind: "prune",
        name,
        config: { model: "starter", drop: ["L0.H0"] },
      });
    await until("the page is live", async () => !(await isOffline()));
    await submit("before");
    await page.getByText("before", { exact: true }).waitFor({ timeout: 120_000 });

    await now.kill("SIGKILL");
    await until("the page says that it is offline", isOffline);
    expect(await page.locator(".offline").first().getAttribute("title")).toBe("offline, reconnecting");
    // A browser gives a stream up that is answered with an error.
    const proxy = createServer((_request, response) => response.writeHead(502).end());
    let asked = 0;
    proxy.on("request", (request) => {
      if (request.url?.includes("events.stream")) asked++;
    });
    await new Promise<void>((ready) => proxy.listen(port, "127.0.0.1", ready));
    await until("the page has asked the proxy twice", () => asked >= 2);
    await new Promise<void>((closed) => {
      proxy.close(() => closed());
      proxy.closeAllConnections();
    });

    now = await server(env, { host: false, port, pages: true });
    await submit("after");
    await page.getByText("after", { exact: true }).waitFor({ timeout: 120_000 });
    await until("the page is live again", async () => !(await isOffline()));
  } finally {
    await browser.close();
  }
});
