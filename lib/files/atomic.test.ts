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
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { cleanUpTemporaryOutput, withOutputDirectory, writeAtomically, writeFileAtomic } from "./atomic.ts";

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

test("what is there is refused, or replaced when asked; a file as well as a folder", async () => {
  const out = join(folder, "out");
  await withOutputDirectory(out, put("first"));
  await expect(withOutputDirectory(out, put("second"))).rejects.toMatchObject({ code: "store/exists" });
  expect(content(out)).toBe("first");
  await withOutputDirectory(out, put("second"), { replace: true });
  expect(content(out)).toBe("second");
  const file = join(folder, "file");
  writeFileSync(file, "text");
  await expect(withOutputDirectory(file, put("x"))).rejects.toMatchObject({ code: "store/exists" });
  await withOutputDirectory(file, put("x"), { replace: true });
  expect(content(file)).toBe("x");
  expect(readdirSync(folder).sort()).toEqual(["file", "out"]);
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
  await withOutputDirectory(out, put("old"));
  const running = withOutputDirectory(out, async (partial) => rmSync(partial, { recursive: true }), { replace: true });
  await expect(running).rejects.toMatchObject({ code: "model/missing-file" });
  expect(content(out)).toBe("old");
  expect(readdirSync(folder)).toEqual(["out"]);
});

test("replacing what somebody has removed meanwhile just writes", async () => {
  const out = join(folder, "out");
  await withOutputDirectory(out, put("old"));
  const build = async (partial: string): Promise<void> => {
    await put("new")(partial);
    rmSync(out, { recursive: true });
  };
  await withOutputDirectory(out, build, { replace: true });
  expect(content(out)).toBe("new");
});

test("a build that fails leaves nothing, and the old folder as it was", async () => {
  const out = join(folder, "out");
  await withOutputDirectory(out, put("old"));
  const failing = async (partial: string): Promise<void> => {
    await put("half")(partial);
    throw new Error("stop");
  };
  await expect(withOutputDirectory(out, failing, { replace: true })).rejects.toThrow("stop");
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
