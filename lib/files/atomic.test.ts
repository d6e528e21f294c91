import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import { cleanUpTemporaryOutput, withOutputDirectory, writeAtomically, writeFileAtomic } from "./atomic.ts";
import { MARK_FILE } from "./mark.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "espalier-atomic-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const put = (text: string) => async (partial: string) => writeFileSync(join(partial, "content"), text);
const content = (path: string): string => readFileSync(join(path, "content"), "utf8");

test("a folder appears under its name when it is complete, and not before", async () => {
  const out = join(folder, "deep", "out");
  const result = await withOutputDirectory(out, async (partial) => {
    await put("new")(partial);
    expect(existsSync(out)).toBe(false);
    return 7;
  });
  expect(result).toBe(7);
  expect(content(out)).toBe("new");
  expect(readdirSync(join(folder, "deep"))).toEqual(["out"]);
});

const marked = { marked: true };
const replacing = { marked: true, replace: true };

test("what is there is refused, or replaced when asked", async () => {
  const out = join(folder, "out");
  await withOutputDirectory(out, put("first"), marked);
  await expect(withOutputDirectory(out, put("second"))).rejects.toMatchObject({ code: "store/exists" });
  expect(content(out)).toBe("first");
  await withOutputDirectory(out, put("second"), replacing);
  expect(content(out)).toBe("second");
  writeFileSync(join(out, ".DS_Store"), "left by a file browser");
  await withOutputDirectory(out, put("third"), replacing);
  expect(content(out)).toBe("third");
  expect(readdirSync(folder)).toEqual(["out"]);
});

test.each([
  ["a file", (out: string) => writeFileSync(out, "theirs"), "a file or a link"],
  ["a link", (out: string) => symlinkSync(tmpdir(), out), "a file or a link"],
  ["a folder without a mark", (out: string) => put("theirs")(makeFolder(out)), "not written by Espalier"],
  ["a folder with a damaged mark", (out: string) => writeFileSync(join(makeFolder(out), MARK_FILE), "{}"), null],
])("%s of somebody's is never replaced", async (_what, make, words) => {
  const out = join(folder, "out");
  await make(out);
  const replacingIt = withOutputDirectory(out, put("new"), replacing);
  if (words === null) await replacingIt;
  else
    await expect(replacingIt).rejects.toMatchObject({ code: "store/exists", message: expect.stringContaining(words) });
  if (words?.includes("Espalier")) expect(content(out)).toBe("theirs");
});

const makeFolder = (path: string): string => {
  mkdirSync(path, { recursive: true });
  return path;
};

test("a folder of ours with one file of somebody's in it is never replaced, whenever the file came", async () => {
  const out = join(folder, "out");
  await withOutputDirectory(out, put("ours"), marked);
  mkdirSync(join(out, "deep"));
  writeFileSync(join(out, "deep", "thesis.txt"), "five years");
  await expect(withOutputDirectory(out, put("new"), replacing)).rejects.toMatchObject({
    code: "store/exists",
    message: expect.stringContaining("deep/thesis.txt"),
  });
  rmSync(join(out, "deep"), { recursive: true });
  const meanwhile = withOutputDirectory(
    out,
    async (partial) => {
      await put("new")(partial);
      writeFileSync(join(out, "thesis.txt"), "five years");
    },
    replacing,
  );
  await expect(meanwhile).rejects.toMatchObject({ code: "store/exists" });
  expect([content(out), readFileSync(join(out, "thesis.txt"), "utf8")]).toEqual(["ours", "five years"]);
});

test("an empty path names no folder", async () => {
  for (const path of ["", "  ", "\n"])
    await expect(withOutputDirectory(path, put("x"), replacing)).rejects.toMatchObject({ code: "input/invalid" });
});

test("any tree of somebody's survives any order to replace it", async () => {
  const names = fc.constantFrom("a", "b", "content", "config.json", "deep/x", "deep/deeper/y");
  let round = 0;
  await fc.assert(
    fc.asyncProperty(fc.uniqueArray(names, { minLength: 1 }), fc.boolean(), async (files, ours) => {
      const out = join(folder, `tree-${round++}`);
      if (ours) await withOutputDirectory(out, put("ours"), marked);
      const foreign = files.filter((f) => !ours || f !== "content");
      for (const f of foreign) {
        mkdirSync(dirname(join(out, f)), { recursive: true });
        writeFileSync(join(out, f), "theirs");
      }
      const done = await withOutputDirectory(out, put("new"), replacing).then(
        () => true,
        () => false,
      );
      expect(done).toBe(foreign.length === 0);
      for (const f of foreign) expect(readFileSync(join(out, f), "utf8")).toBe("theirs");
    }),
    { numRuns: 60 },
  );
});

const makeFull = (out: string): void => {
  mkdirSync(out);
  writeFileSync(join(out, "content"), "theirs");
};

test.each([
  ["a folder with something in it", makeFull],
  ["an empty folder", (out: string) => mkdirSync(out)],
  ["a file", (out: string) => writeFileSync(out, "theirs")],
  ["a link to nowhere", (out: string) => symlinkSync("/nonexistent/nowhere", out)],
])("%s that somebody else makes meanwhile is left alone", async (what, make) => {
  for (const replace of [false, true]) {
    const out = join(folder, `out-${replace}`);
    const running = withOutputDirectory(
      out,
      async (partial) => {
        await put("ours")(partial);
        make(out);
      },
      { replace },
    );
    await expect(running).rejects.toMatchObject({ code: "store/exists" });
    if (what === "an empty folder") expect(readdirSync(out)).toEqual([]);
    if (what === "a file") expect(readFileSync(out, "utf8")).toBe("theirs");
    if (what.includes("something")) expect([readdirSync(out), content(out)]).toEqual([["content"], "theirs"]);
  }
  expect(readdirSync(folder).sort()).toEqual(["out-false", "out-true"]);
});

test("two builders of one name: one wins, the other is told, nothing is mixed", async () => {
  const out = join(folder, "out");
  const results = await Promise.allSettled(["a", "b", "c"].map((text) => withOutputDirectory(out, put(text))));
  const won = results.findIndex((r) => r.status === "fulfilled");
  expect(results.filter((r) => r.status === "fulfilled")).toHaveLength(1);
  for (const r of results) if (r.status === "rejected") expect(r.reason).toMatchObject({ code: "store/exists" });
  expect(content(out)).toBe("abc"[won]);
  expect(readdirSync(folder)).toEqual(["out"]);
});

test("an old folder comes back when the new one cannot take its place", async () => {
  const out = join(folder, "out");
  await withOutputDirectory(out, put("old"), marked);
  const running = withOutputDirectory(out, async (partial) => rmSync(partial, { recursive: true }), replacing);
  await expect(running).rejects.toMatchObject({ code: "model/missing-file" });
  expect(content(out)).toBe("old");
  expect(readdirSync(folder)).toEqual(["out"]);
});

test("replacing what somebody has removed meanwhile just writes", async () => {
  const out = join(folder, "out");
  await withOutputDirectory(out, put("old"), marked);
  const build = async (partial: string): Promise<void> => {
    await put("new")(partial);
    rmSync(out, { recursive: true });
  };
  await withOutputDirectory(out, build, replacing);
  expect(content(out)).toBe("new");
});

test("a build that fails leaves nothing, and the old folder as it was", async () => {
  const out = join(folder, "out");
  await withOutputDirectory(out, put("old"), marked);
  const failing = async (partial: string): Promise<void> => {
    await put("half")(partial);
    throw new Error("stop");
  };
  await expect(withOutputDirectory(out, failing, replacing)).rejects.toThrow("stop");
  await expect(withOutputDirectory(join(folder, "other"), failing)).rejects.toThrow("stop");
  await expect(writeAtomically(join(folder, "file"), failing)).rejects.toMatchObject({ name: "EspalierError" });
  expect(content(out)).toBe("old");
  expect(readdirSync(folder)).toEqual(["out"]);
});

test("files are replaced whole; a signal handler can remove what is unfinished", async () => {
  const file = join(folder, "file");
  await writeFileAtomic(file, "one");
  await writeFileAtomic(file, new Uint8Array([116, 119, 111]));
  expect(readFileSync(file, "utf8")).toBe("two");
  const running = withOutputDirectory(join(folder, "out"), async (partial) => {
    await put("half")(partial);
    cleanUpTemporaryOutput();
    expect(existsSync(partial)).toBe(false);
    throw new Error("interrupted");
  });
  await expect(running).rejects.toThrow("interrupted");
  expect(readdirSync(folder)).toEqual(["file"]);
});
