import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { mkdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { toEspalierError } from "./errors.ts";

const folder = mkdtempSync(join(tmpdir(), "espalier-errors-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = join(folder, "file");
writeFileSync(file, "text");
mkdirSync(join(folder, "full"));
writeFileSync(join(folder, "full", "x"), "x");
symlinkSync(join(folder, "loop"), join(folder, "loop"));

// Each is really made by the operating system, not written down here.
test.each<[string, () => Promise<unknown>, string, string]>([
  ["a name where nothing is", () => readFile(join(folder, "nothing")), "model/missing-file", "nothing is there"],
  ["a folder where a file is needed", () => readFile(folder), "input/invalid", "it is a folder"],
  ["a path through a file", () => readFile(join(file, "x")), "input/invalid", "is a file, not a folder"],
  ["an output below a file", () => mkdir(join(file, "x")), "input/invalid", "is a file, not a folder"],
  ["a name of 300 letters", () => writeFile(join(folder, "a".repeat(300)), ""), "input/invalid", "too long"],
  ["a link that leads to itself", () => readFile(join(folder, "loop")), "input/invalid", "circle"],
  ["a folder that is there", () => mkdir(folder), "store/exists", "something is there already"],
  ["a folder that is not empty", () => rmdir(join(folder, "full")), "store/exists", "not empty"],
])("%s is said in words, with the path", async (_what, act, code, words) => {
  const thrown = await act().then(
    () => undefined,
    (e: unknown) => e,
  );
  const error = toEspalierError(thrown);
  expect(error.code).toBe(code);
  expect(error.message).toContain(words);
  expect(error.hint).toBeTruthy();
});

test.each(["EROFS", "EACCES", "EPERM", "EBUSY", "EMFILE", "EIO"])(
  "%s, which a test cannot make everywhere, has words too",
  (code) => {
    const error = toEspalierError(Object.assign(new Error(`${code}: no, open '/somewhere'`), { code }));
    expect(error).toMatchObject({ code: "store/io", message: expect.stringContaining("/somewhere: ") });
    expect(error.hint).toBeTruthy();
  },
);
