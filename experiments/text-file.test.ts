/** What people give as a text: pipes, folders, archives, tables, lists of records. */
import { execFileSync } from "node:child_process";
import { createWriteStream } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { temporaryFolder } from "../test/fixtures/tiny-model.ts";
import { fileText, readText } from "./text-file.ts";

const folder = await temporaryFolder();

async function written(name: string, content: string | Uint8Array): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, content);
  return path;
}

test.runIf(process.platform !== "win32")("a pipe is read once and gives its text each time", async () => {
  const path = join(folder, "pipe");
  execFileSync("mkfifo", [path]);
  const sent = createWriteStream(path);
  sent.end("Once upon a time");
  expect(await fileText(path)).toBe("Once upon a time");
  expect(await readText(path)).toBe("Once upon a time");
});

test.each<[string, string | Uint8Array, RegExp]>([
  ["a.txt.gz", gzipSync("Once upon a time"), /compressed with gzip/],
  ["a.zst", Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 4, 0), /compressed with zstd/],
  ["a.parquet", "PAR1\u0015\u0004", /Parquet table/],
  ["a.pdf", "%PDF-1.7\n", /PDF document/],
  ["a.docx", `PK\u0003\u0004${"\0".repeat(22)}\u0004\0\0\0word`, /zip archive/],
  ["pointer.txt", "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n", /Git LFS pointer/],
])("%s is named for what it is", async (name, content, message) => {
  await expect(readText(await written(name, content))).rejects.toMatchObject({
    code: "format/unsupported",
    message: expect.stringMatching(message),
    hint: expect.any(String),
  });
});

test("a folder, nothing there, nothing in it", async () => {
  await expect(readText(folder)).rejects.toThrow(/is a folder, a text file was expected/);
  await expect(readText("-")).rejects.toMatchObject({ hint: "For standard input give /dev/stdin." });
  await expect(readText(await written("blank.txt", " \n\t"))).rejects.toMatchObject({ code: "input/empty" });
});

test.each([
  ["lines.jsonl", '{"text": "Once", "n": 1}\n{"text": "upon"}\n', /jq -r '\.text \+/],
  ["list.json", '[{"id": "a", "content": "Once"}]', /jq -r '\.\[\] \| \.content \+/],
  ["items.ndjson", '{"prompt": "a", "choices": ["b"], "answer": 0}\n', /--tasks/],
])("records in %s are no text, and the hint says how to take theirs", async (name, content, hint) => {
  const path = await written(name, content);
  await expect(readText(path)).rejects.toMatchObject({ code: "input/invalid", hint: expect.stringMatching(hint) });
  expect(await fileText(path)).toBe(content);
});

test("a page, JSON under another name, and JSON without records are texts", async () => {
  for (const [name, content] of [
    ["page.html", "<!DOCTYPE html><html>"],
    ["lines.txt", '{"text": "Once"}\n'],
    ["numbers.json", "[1, 2, 3]"],
  ] as const)
    expect(await readText(await written(name, content))).toBe(content);
});
