import { expect, test } from "vitest";
import { utf8Text } from "./utf8-text.ts";

const bytes = (...parts: (string | number[])[]): Uint8Array =>
  Buffer.concat(parts.map((p) => (typeof p === "string" ? Buffer.from(p, "utf8") : Buffer.from(p))));

test("UTF-8 is read, without its mark", () => {
  expect(utf8Text(bytes("Zoë 東京 🙂\n"), "a.txt")).toBe("Zoë 東京 🙂\n");
  expect(utf8Text(bytes([0xef, 0xbb, 0xbf], "a"), "a.txt")).toBe("a");
});

test.each([
  ["UTF-16 with a mark", bytes([0xff, 0xfe, 0x61, 0x00]), /a\.txt is not UTF-8: .*mark of UTF-16/],
  ["UTF-16, high byte first", bytes([0xfe, 0xff, 0x00, 0x61]), /mark of UTF-16/],
  ["UTF-32", bytes([0xff, 0xfe, 0x00, 0x00, 0x61, 0, 0, 0]), /mark of UTF-32/],
  ["UTF-16 without a mark", bytes([0x61, 0x00, 0x62, 0x00]), /byte 1 is 0/],
  ["Latin-1", bytes("caf", [0xe9], " au lait"), /byte 3 is 0xe9, as in Latin-1/],
  ["a broken end", bytes("東", [0xe6, 0x9d]), /byte 3 is 0xe6/],
])("%s is refused by name", (_, content, message) => {
  expect(() => utf8Text(content, "a.txt")).toThrow(
    expect.objectContaining({ code: "format/malformed", message: expect.stringMatching(message) }),
  );
});
