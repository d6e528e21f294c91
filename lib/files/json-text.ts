/**
 * @file Parses JSON from the bytes or the text of a file; errors say what the file is instead.
 *
 * Python writes `NaN`, `Infinity` and `-Infinity` for floats that JSON cannot hold, and files of models have them (a
 * `model_max_length` without end, for one). They are read as Python reads them, as numbers.
 */
import { EspalierError } from "../errors.ts";
import { refuseMistakenFile } from "./mistaken-file.ts";
import { utf8Text } from "./utf8-text.ts";

/** `where`: the file, for messages. Throws `format/malformed`, or `format/unsupported` for a known thing under that name. */
export function parsedJson(content: Uint8Array | string, where: string): unknown {
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  refuseMistakenFile(where, bytes.subarray(0, 64), "json");
  const text = utf8Text(bytes, where);
  try {
    return JSON.parse(text);
  } catch (cause) {
    const read = withPythonNumbers(text);
    if (read !== null) return read.value;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new EspalierError("format/malformed", `${where} is not JSON: ${why}`, {
      hint: "Download the file again, or mend it at that place.",
      cause,
    });
  }
}

const pythonNumbers = new Map([
  ["NaN", Number.NaN],
  ["Infinity", Number.POSITIVE_INFINITY],
  ["-Infinity", Number.NEGATIVE_INFINITY],
]);

/** A string, which stays as it is, or one of Python's numbers. */
const stringOrNumber = /"[^"\\]*(?:\\.[^"\\]*)*"|(?:-?Infinity|NaN)(?!\s*:)/gs;

/** Before the name of a number while the text is parsed; no file begins a string so. */
const MARK = "\u0000number ";

/** The value of a text that would be JSON without Python's numbers; null for any other. */
function withPythonNumbers(text: string): { readonly value: unknown } | null {
  const marked = text.replace(stringOrNumber, (found) =>
    found.startsWith('"') ? found : JSON.stringify(MARK + found),
  );
  if (marked === text) return null;
  const numberOf = (value: unknown): unknown =>
    typeof value === "string" && value.startsWith(MARK) ? pythonNumbers.get(value.slice(MARK.length)) : value;
  try {
    return { value: JSON.parse(marked, (_, value: unknown) => numberOf(value)) };
  } catch {
    return null;
  }
}
