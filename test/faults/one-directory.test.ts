/** Two servers on one data directory: one has it; of those that find a dead owner one takes it over. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { temporaryFolder } from "../fixtures/tiny-model.ts";
import { endAll, espalier, server, until } from "./processes.ts";

afterAll(endAll);

test("the second server refuses and says who has the directory; the first goes on", async () => {
  const data = await temporaryFolder();
  const first = await server({ ESPALIER_DATA: data });
  const second = espalier(["start", "--no-pages", "--port", "0"], { ESPALIER_DATA: data });
  await until("the second server ends", () => !second.isAlive());
  expect(second.said()).toContain(`${data} is in use by process ${first.pid} since `);
  expect(second.said()).toContain(`which serves ${first.url}`);
  expect(second.said()).toContain("[store/locked]");
  expect(second.said()).toContain("ESPALIER_DATA");
  expect((await first.client.system.info.query()).database).toBe("embedded");

  // Killed, it leaves its lock; of three that come at once one takes it.
  await first.kill("SIGKILL");
  expect(existsSync(join(data, "db.lock"))).toBe(true);
  const three = [0, 1, 2].map(() => espalier(["start", "--no-pages", "--port", "0"], { ESPALIER_DATA: data }));
  await until("one is ready and two have ended", () => {
    const ready = three.filter((p) => p.said().includes("is ready after"));
    return ready.length === 1 && three.filter((p) => !p.isAlive()).length === 2;
  });
  for (const p of three.filter((q) => !q.isAlive())) expect(p.said()).toContain("[store/locked]");

  // Asked to end, it leaves none.
  const last = three.find((p) => p.isAlive());
  await last?.kill("SIGINT");
  expect(existsSync(join(data, "db.lock"))).toBe(false);
});
