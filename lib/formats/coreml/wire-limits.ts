/**
 * @file Bounds on a protobuf before objects are made of it.
 *
 * Two bytes on the wire can become an object of a hundred, and nesting becomes recursion. One pass over the bytes, guided by
 * the schema, counts messages, unknown fields, depth and numbers; a file beyond the bounds is refused in time and memory
 * that do not depend on what it claims.
 */

import type { DescField, DescMessage } from "@bufbuild/protobuf";
import { u8At } from "../../elements.ts";
import { EspalierError } from "../../errors.ts";

/** Of messages and unknown fields; a program of 100 000 operations stays below. */
const MAX_MESSAGES = 6_000_000;
const MAX_DEPTH = 64;
/** Of packed numbers: immediate tensors and shapes. */
const MAX_NUMBER_BYTES = 32_000_000;

const tooMuch = (what: string): EspalierError =>
  new EspalierError("format/malformed", what, {
    hint: "The file is damaged or was cut short; copy or export the package again.",
  });

type Fields = ReadonlyMap<number, DescField>;

/** What a length-delimited field holds: a message to walk, numbers, or text and bytes. */
function contentOf(field: DescField): DescMessage | "numbers" | "bytes" {
  if (field.fieldKind === "message") return field.message;
  if (field.fieldKind === "list") {
    if (field.listKind === "message") return field.message;
    // 9 is string, 12 is bytes.
    return field.listKind === "scalar" && (field.scalar === 9 || field.scalar === 12) ? "bytes" : "numbers";
  }
  return "bytes";
}

/** Throws `format/malformed` for a wire form that is broken or beyond the bounds. */
export function checkWire(bytes: Uint8Array, schema: DescMessage, path: string): void {
  const refuse = (what: string): EspalierError => tooMuch(`${path}: ${what}`);
  const known = new Map<DescMessage, Fields>();
  const fieldsOf = (message: DescMessage): Fields => {
    let fields = known.get(message);
    if (!fields) {
      fields = new Map(message.fields.map((f) => [f.number, f]));
      known.set(message, fields);
    }
    return fields;
  };
  const stack: { fields: Fields; end: number; map: DescField | null }[] = [
    { fields: fieldsOf(schema), end: bytes.length, map: null },
  ];
  let at = 0;
  let messages = 0;
  let numberBytes = 0;
  const varint = (end: number): number => {
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (at >= end) throw refuse(`the message ends at byte ${at}, inside a number`);
      const byte = u8At(bytes, at++);
      if (shift < 49) value += (byte & 0x7f) * 2 ** shift;
      else if ((byte & 0x7f) !== 0) value = Number.MAX_SAFE_INTEGER;
      if (byte < 0x80) return value;
    }
    throw refuse(`a number of more than ten bytes at byte ${at}`);
  };
  for (let top = stack.at(-1); top; top = stack.at(-1)) {
    if (at >= top.end) {
      stack.pop();
      continue;
    }
    const tag = varint(top.end);
    const [number, wire] = [Math.floor(tag / 8), tag % 8];
    const field = top.map ? null : top.fields.get(number);
    if (!field && !top.map && ++messages > MAX_MESSAGES) throw refuse(`more than ${MAX_MESSAGES} fields nobody knows`);
    if (wire === 0) varint(top.end);
    else if (wire === 1) at += 8;
    else if (wire === 5) at += 4;
    else if (wire !== 2) throw refuse(`wire type ${wire} at byte ${at}`);
    else {
      const length = varint(top.end);
      if (length > top.end - at) throw refuse(`a field of ${length} bytes at byte ${at}, ${top.end - at} are left`);
      const entryValue =
        top.map?.fieldKind === "map" && number === 2 && top.map.mapKind === "message" ? top.map.message : null;
      const isMap = field?.fieldKind === "map";
      const content = entryValue ?? (field && !isMap ? contentOf(field) : "bytes");
      if (isMap || typeof content === "object") {
        if (++messages > MAX_MESSAGES) throw refuse(`more than ${MAX_MESSAGES} messages`);
        if (stack.length >= MAX_DEPTH) throw refuse(`messages nested more than ${MAX_DEPTH} deep at byte ${at}`);
        stack.push({
          fields: typeof content === "object" ? fieldsOf(content) : top.fields,
          end: at + length,
          map: isMap ? field : null,
        });
      } else {
        if (content === "numbers") numberBytes += length;
        if (numberBytes > MAX_NUMBER_BYTES) throw refuse(`more than ${MAX_NUMBER_BYTES} bytes of numbers`);
        at += length;
      }
    }
    if (at > bytes.length) throw refuse(`the message ends at byte ${bytes.length}, inside a field`);
  }
}
