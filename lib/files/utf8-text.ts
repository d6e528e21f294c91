/**
 * @file Text from bytes that must be UTF-8. A byte order mark of UTF-8 is left out.
 *
 * Other encodings are refused with their likely name and never converted: read as UTF-8, they give numbers that mean nothing.
 */
import { EspalierError } from "../errors.ts";

const marks: readonly (readonly [string, readonly number[]])[] = [
  ["UTF-32", [0xff, 0xfe, 0x00, 0x00]],
  ["UTF-32", [0x00, 0x00, 0xfe, 0xff]],
  ["UTF-16", [0xff, 0xfe]],
  ["UTF-16", [0xfe, 0xff]],
];

/** `where`: the file, for messages. Throws `format/malformed` with the encoding it looks like and the place of the first wrong byte. */
export function utf8Text(bytes: Uint8Array, where: string): string {
  const mark = marks.find(([, start]) => start.every((b, i) => bytes[i] === b));
  if (mark) throw notUtf8(where, `it begins with the byte order mark of ${mark[0]}`, mark[0]);
  const nul = bytes.indexOf(0);
  if (nul >= 0) throw notUtf8(where, `byte ${nul} is 0, as in UTF-16 or in a file that is not text`, "UTF-16");
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    const at = firstWrongByte(bytes);
    const value = (bytes[at] ?? 0).toString(16).padStart(2, "0");
    throw notUtf8(where, `byte ${at} is 0x${value}, as in Latin-1 or Windows-1252`, "WINDOWS-1252");
  }
}

const notUtf8 = (where: string, why: string, name: string): EspalierError =>
  new EspalierError("format/malformed", `${where} is not UTF-8: ${why}`, {
    hint: `Convert it first, for example with iconv -f ${name} -t UTF-8.`,
  });

/** Where the first invalid character begins: the longest beginning that decodes as a stream, less
 * an unfinished end. */
function firstWrongByte(bytes: Uint8Array): number {
  let good = 0;
  let bad = bytes.length;
  while (bad - good > 1) {
    const middle = (good + bad) >> 1;
    if (decodes(bytes.subarray(0, middle), true)) good = middle;
    else bad = middle;
  }
  while (!decodes(bytes.subarray(0, good), false)) good--;
  return good;
}

function decodes(start: Uint8Array, stream: boolean): boolean {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(start, { stream });
    return true;
  } catch {
    return false;
  }
}
