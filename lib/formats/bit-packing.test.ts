import fc from "fast-check";
import { expect, test } from "vitest";
import { type PackedBits, packBits, unpackBits, unpackPieces } from "./bit-packing.ts";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

// Payloads written by Apple's own blob writer.
test.each<[string, PackedBits, Uint8Array | Int8Array, string]>([
  ["int4", 4, Int8Array.of(1, -2, 3, -8, 7), "e18307"],
  ["uint4", 4, Uint8Array.of(1, 2, 3, 4, 5), "214305"],
  ["uint1", 1, Uint8Array.of(1, 0, 1, 1, 0, 0, 0, 1, 1), "8d01"],
  ["uint2", 2, Uint8Array.of(0, 1, 2, 3, 1), "e401"],
  ["uint3", 3, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 0, 1), "d1581f01"],
  ["uint6", 6, Uint8Array.of(1, 2, 3, 63, 32), "8130fc20"],
])("%s packs as Apple packs it", (_name, bits, values, expected) => {
  expect(hex(packBits(values, bits))).toBe(expected);
  const back = unpackBits(Buffer.from(expected, "hex"), bits, values.length, values instanceof Int8Array);
  expect(back).toEqual(values);
});

test("packing equals writing every bit in order, and unpacking undoes it", () => {
  fc.assert(
    fc.property(
      fc.constantFrom<PackedBits>(1, 2, 3, 4, 6, 8),
      fc.boolean(),
      fc.array(fc.nat(255), { maxLength: 70 }),
      (bits, signed, raw) => {
        const codes = raw.map((v) => v % 2 ** bits);
        const values = signed
          ? Int8Array.from(codes, (v) => (v >= 2 ** (bits - 1) ? v - 2 ** bits : v))
          : Uint8Array.from(codes);
        const stream = codes.flatMap((v) => Array.from({ length: bits }, (_, k) => (v >> k) & 1));
        const naive = new Uint8Array(Math.ceil(stream.length / 8));
        stream.forEach((bit, i) => {
          naive[i >> 3] = (naive[i >> 3] as number) | (bit << (i & 7));
        });
        const packed = packBits(values, bits);
        expect(packed).toEqual(naive);
        expect(unpackBits(packed, bits, values.length, signed)).toEqual(values);
      },
    ),
  );
});

test("what does not fit is refused", () => {
  expect(() => packBits(Uint8Array.of(1, 8), 3)).toThrow(/element 1 is 8; 3 bits hold 0 to 7/);
  expect(() => packBits(Int8Array.of(-9), 4)).toThrow(/-8 to 7/);
  expect(() => unpackBits(Uint8Array.of(0), 3, 3, false)).toThrow(/need 2 bytes, found 1/);
});

test.each([1, 2, 3, 4, 6, 8] as const)("%i bits in pieces of any length are the whole", async (bits) => {
  const values = Uint8Array.from({ length: 131 }, (_, i) => (i * 37) % 2 ** bits);
  const packed = packBits(values, bits);
  for (const length of [1, 2, 5, 7, packed.length]) {
    async function* pieces(): AsyncGenerator<Uint8Array> {
      for (let at = 0; at < packed.length; at += length) yield packed.subarray(at, at + length);
    }
    const found: number[] = [];
    for await (const piece of unpackPieces(pieces(), bits, values.length)) found.push(...piece);
    expect(found).toEqual([...values]);
    const short = unpackPieces(pieces(), bits, values.length + 9);
    await expect(
      (async () => {
        for await (const _ of short);
      })(),
    ).rejects.toMatchObject({ code: "format/truncated" });
  }
});
