/** Folders in the artifact store, and what a hostile manifest may not do. */
import { createHash } from "node:crypto";
import {
  existsSync,
  lstatSync,
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
import { afterAll, expect, test, vi } from "vitest";
import { materializeDirectory, putDirectory, readManifest } from "./directory.ts";
import { diskStore } from "./disk.ts";

const root = mkdtempSync(join(tmpdir(), "espalier-directory-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const store = diskStore(join(root, "store"));
const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

async function* once(text: string): AsyncGenerator<Uint8Array> {
  yield new TextEncoder().encode(text);
}

function folderOf(name: string, files: Record<string, string>): string {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(root, name, path, ".."), { recursive: true });
    writeFileSync(join(root, name, path), text);
  }
  return join(root, name);
}

const sample = { "b.txt": "bee", "a/deep/c.bin": "sea", "a.json": "{}", "Zed.txt": "" };

test("the manifest is sorted, and its digest that of its JSON", async () => {
  const kept = await putDirectory(store, folderOf("sample", sample));
  const files = ["Zed.txt", "a.json", "a/deep/c.bin", "b.txt"].map((path) => {
    const text = Object.entries(sample).find(([p]) => p === path)?.[1] ?? "";
    return { path, sha256: sha256(text), sizeBytes: text.length };
  });
  expect(kept).toEqual({ sha256: sha256(JSON.stringify(files)), sizeBytes: 8, files });
  expect(await readManifest(store, kept.sha256)).toEqual(files);
});

test("what begins with a dot and empty folders stay behind; links to files are followed", async () => {
  const folder = folderOf("linked", { "model.bin": "x", ".git/config": "secret", ".DS_Store": "junk" });
  mkdirSync(join(folder, "empty"));
  folderOf("blobs", { blob: "weights" });
  symlinkSync(join(root, "blobs", "blob"), join(folder, "weights.bin"));
  const { files } = await putDirectory(store, folder);
  expect(files.map((f) => f.path)).toEqual(["model.bin", "weights.bin"]);
  expect(files[1]?.sha256).toBe(sha256("weights"));
});

test("links to folders, and folders without files, are refused", async () => {
  const folder = folderOf("looped", { "a.txt": "a" });
  symlinkSync(folder, join(folder, "again"));
  await expect(putDirectory(store, folder)).rejects.toMatchObject({ code: "input/invalid" });
  mkdirSync(join(root, "bare"));
  await expect(putDirectory(store, join(root, "bare"))).rejects.toMatchObject({ code: "input/empty" });
});

test("a folder comes back as it was, once, and is left alone when it is there", async () => {
  const kept = await putDirectory(store, folderOf("sample", sample));
  const target = join(root, "out", "here");
  const fetchTo = vi.spyOn(store, "fetchTo");
  await Promise.all([1, 2, 3].map(() => materializeDirectory(store, kept.sha256, target)));
  expect(fetchTo).toHaveBeenCalledTimes(4);
  await materializeDirectory(store, kept.sha256, target);
  expect(fetchTo).toHaveBeenCalledTimes(4);
  fetchTo.mockRestore();
  for (const [path, text] of Object.entries(sample)) {
    expect(readFileSync(join(target, path), "utf8")).toBe(text);
    expect(lstatSync(join(target, path)).mode & 0o222).toBe(0);
  }
  expect(await putDirectory(store, target)).toEqual(kept);
  expect(readdirSync(join(root, "out"))).toEqual(["here"]);
});

test("something else under the name is kept", async () => {
  const { sha256: manifest } = await putDirectory(store, folderOf("sample", sample));
  const target = folderOf("taken", { ...sample, "mine.txt": "mine" });
  await expect(materializeDirectory(store, manifest, target)).rejects.toMatchObject({ code: "store/exists" });
  expect(readFileSync(join(target, "mine.txt"), "utf8")).toBe("mine");
});

test("a missing file leaves nothing behind", async () => {
  const { sha256: there } = await store.put(once("there"));
  const manifest = [
    { path: "a", sha256: there, sizeBytes: 5 },
    { path: "b", sha256: sha256("never put"), sizeBytes: 9 },
  ];
  const kept = await store.put(once(JSON.stringify(manifest)));
  const target = join(root, "half", "folder");
  await expect(materializeDirectory(store, kept.sha256, target)).rejects.toMatchObject({ code: "store/io" });
  expect(readdirSync(join(root, "half"))).toEqual([]);
});

test.each([
  "../escape",
  "/etc/passwd",
  "a/../../escape",
  "a//b",
  "./a",
  "a/.",
  "a\\..\\b",
  "C:/x",
  "",
  "a\u0000b",
  "a\nb",
  "x".repeat(1025),
])("a manifest with the path %j is refused", async (path) => {
  const { sha256: file } = await store.put(once("evil"));
  const kept = await store.put(once(JSON.stringify([{ path, sha256: file, sizeBytes: 4 }])));
  await expect(materializeDirectory(store, kept.sha256, join(root, "evil", "x"))).rejects.toMatchObject({
    code: "format/malformed",
  });
  expect(existsSync(join(root, "evil"))).toBe(false);
  expect(existsSync(join(root, "escape"))).toBe(false);
});

test.each([
  ["not JSON", "hello"],
  ["no list", `{"path":"a"}`],
  ["a digest that is none", `[{"path":"a","sha256":"../../x","sizeBytes":1}]`],
  ["a negative size", `[{"path":"a","sha256":"${"a".repeat(64)}","sizeBytes":-1}]`],
  ["a field too many", `[{"path":"a","sha256":"${"a".repeat(64)}","sizeBytes":1,"mode":511}]`],
])("%s is no manifest", async (_name, text) => {
  const kept = await store.put(once(text));
  await expect(readManifest(store, kept.sha256)).rejects.toMatchObject({ code: "format/malformed" });
});

test("a manifest names no file twice", async () => {
  const entry = { path: "a", sha256: sha256("a"), sizeBytes: 1 };
  const kept = await store.put(once(JSON.stringify([entry, entry])));
  await expect(readManifest(store, kept.sha256)).rejects.toThrow(/twice/);
});
