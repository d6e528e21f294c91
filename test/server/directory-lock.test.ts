import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { lockDirectory, lockOwner } from "../../server/db/directory-lock.ts";
import { temporaryFolder } from "../fixtures/tiny-model.ts";

const dead = { pid: 2 ** 22 + 1, processStart: "1", since: "2020-01-01T00:00:00.000Z", address: null, token: null };

test("the lock of a dead process is taken over, even one that died while it took over another", async () => {
  const folder = await temporaryFolder();
  writeFileSync(join(folder, "db.lock"), JSON.stringify(dead));
  writeFileSync(join(folder, "db.lock.takeover"), JSON.stringify(dead));
  const lock = await lockDirectory(folder);
  expect(lockOwner(folder)?.pid).toBe(process.pid);
  lock.release();
  expect(readdirSync(folder)).toEqual([]);
});

test("a lock cut short by a power failure is nobody's; a process id used again is not its old owner", async () => {
  const folder = await temporaryFolder();
  writeFileSync(join(folder, "db.lock"), '{"pid":');
  (await lockDirectory(folder)).release();
  writeFileSync(join(folder, "db.lock"), JSON.stringify({ ...dead, pid: process.ppid }));
  (await lockDirectory(folder)).release();
});

test("a living owner keeps its lock, and is named with the address it serves", async () => {
  const folder = await temporaryFolder();
  const lock = await lockDirectory(folder);
  lock.announce("http://localhost:4600", null);
  await expect(lockDirectory(folder)).rejects.toMatchObject({
    code: "store/locked",
    message: expect.stringContaining("http://localhost:4600"),
  });
  lock.release();
});
