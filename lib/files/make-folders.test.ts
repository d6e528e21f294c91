import { existsSync } from "node:fs";
import { stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "../../test/fixtures/tiny-model.ts";
import { writeFileAtomic } from "./atomic.ts";
import { makeFolders } from "./make-folders.ts";

const folder = await temporaryFolder();

test("folders above are made, those that exist stay, and several may make the same at once", async () => {
  const deep = join(folder, "a", "b", "c");
  await Promise.all([makeFolders(deep), makeFolders(deep), makeFolders(join(folder, "a", "x"))]);
  await makeFolders(deep);
  expect((await stat(deep)).isDirectory()).toBe(true);
  expect(existsSync(join(folder, "a", "x"))).toBe(true);
});

test("a file in the way is an error with its code", async () => {
  await writeFile(join(folder, "file"), "");
  await expect(makeFolders(join(folder, "file"))).rejects.toMatchObject({ code: "EEXIST" });
  await expect(makeFolders(join(folder, "file", "below"))).rejects.toMatchObject({ code: "ENOTDIR" });
});

test("a place where no folder can be made is refused, not tried for ever", async () => {
  // Only Linux has one; elsewhere the name is an ordinary missing folder at the root, which is not ours to make.
  const place = existsSync("/proc/self") ? "/proc/espalier/out" : join(folder, "file", "out");
  await expect(writeFileAtomic(join(place, "x"), "")).rejects.toMatchObject({ name: "EspalierError" });
});
