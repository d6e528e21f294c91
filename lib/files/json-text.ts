/** @file Parses JSON from the bytes or the text of a file; errors say what the file is instead. */
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
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new EspalierError("format/malformed", `${where} is not JSON: ${why}`, {
      hint: "Download the file again, or mend it at that place.",
      cause,
    });
  }
}
