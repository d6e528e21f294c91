/**
 * @file The texts that a person brings as files: UTF-8, of ordinary files and of pipes.
 *
 * A pipe (`<(zcat a.gz)`, `/dev/stdin`) can be read only once, and a text is read more than once, to be hashed and to be measured;
 * so what came out of one is kept. Lists of records are no texts: measured as they stand, their braces and keys would count.
 */
import { readFile, stat } from "node:fs/promises";
import { z } from "zod";
import { EspalierError } from "../lib/errors.ts";
import { refuseMistakenFile } from "../lib/files/mistaken-file.ts";
import { utf8Text } from "../lib/files/utf8-text.ts";

const fromPipes = new Map<string, Promise<Uint8Array>>();

async function bytesOf(path: string): Promise<Uint8Array> {
  const found = await stat(path);
  if (found.isDirectory())
    throw new EspalierError("input/invalid", `${path} is a folder, a text file was expected`, {
      hint: "Give one file; several are joined with cat.",
    });
  if (found.isFile()) return readFile(path);
  const kept = fromPipes.get(path) ?? readFile(path);
  fromPipes.set(path, kept);
  return kept;
}

/** The content of a text file. Throws `model/missing-file`, `input/empty`, `format/malformed` for another encoding, and
 * `format/unsupported` for what is no text. */
export async function fileText(path: string): Promise<string> {
  const bytes = await bytesOf(path).catch((cause: unknown) => {
    if (cause instanceof EspalierError) throw cause;
    throw new EspalierError("model/missing-file", `cannot read the text ${path}`, {
      hint: path === "-" ? "For standard input give /dev/stdin." : "Check the path and its permissions.",
      cause,
    });
  });
  refuseMistakenFile(path, bytes.subarray(0, 64), "text");
  const text = utf8Text(bytes, path);
  if (text.trim() === "") throw new EspalierError("input/empty", `${path} contains no text`);
  return text;
}

/** As `fileText`, for a text to measure or train on. Throws `input/invalid` for a list of records. */
export async function readText(path: string): Promise<string> {
  const text = await fileText(path);
  if (/\.(jsonl|ndjson|json)$/i.test(path)) refuseRecords(text, path);
  return text;
}

const record = z.record(z.string(), z.unknown());

/** Texts that lie in a field of JSON records, one record a line or all in one list. */
function refuseRecords(text: string, path: string): void {
  const first = firstRecord(text);
  if (first === null) return;
  const fields = Object.entries(first).flatMap(([key, value]) => (typeof value === "string" ? [key] : []));
  if ("choices" in first)
    throw new EspalierError("input/invalid", `${path} is a list of questions, not a text`, {
      hint: "Give it as --tasks.",
    });
  const field = ["text", "content"].find((key) => fields.includes(key)) ?? fields[0];
  if (field === undefined) return;
  const records = text.trimStart().startsWith("[") ? ".[]" : "";
  throw new EspalierError("input/invalid", `${path} is a list of JSON records, not a text`, {
    hint: `Its braces and keys would be measured too. Take the texts out first, for example with jq -r '${records}${records ? " | " : ""}.${field} + "\\n<|endoftext|>"', and give --separator '<|endoftext|>'; or call it .txt if it is the JSON you mean.`,
  });
}

function firstRecord(text: string): Record<string, unknown> | null {
  const list = text.trimStart().startsWith("[");
  const part = list ? text : (text.trimStart().split("\n", 1)[0] ?? "");
  try {
    const value: unknown = JSON.parse(part);
    const found = record.safeParse(Array.isArray(value) ? value[0] : value);
    return found.success ? found.data : null;
  } catch {
    return null;
  }
}
