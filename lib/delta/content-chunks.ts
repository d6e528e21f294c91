/**
 * @file Cuts bytes into chunks at places that the content decides, so that an insertion moves no cut beyond its own.
 *
 * Reference: Xia et al., "FastCDC: a Fast and Efficient Content-Defined Chunking Approach for Data Deduplication" (2016): a gear
 * hash over the last bytes, and two masks, a stricter one below the usual size and a looser one above it.
 *
 *   h ← 2 h + gear[b] (mod 2³²);   a cut stands after a byte where h & mask = 0
 *
 * The gear table is part of nothing that is stored: a delta names ranges of bytes, whatever cut them.
 */
import { u8At, u32At } from "../elements.ts";
import { createRng } from "../random.ts";

const LEAST_BYTES = 2048;
const USUAL_BYTES = 8192;
export const MOST_BYTES = 65_536;
/** Bits from the top, where the hash depends on the most bytes: 15 below the usual size, 11 above it. */
const STRICT = 0xfffe0000;
const LOOSE = 0xffe00000;

const rng = createRng(0, "gear");
const gear = Uint32Array.from({ length: 256 }, () => rng.integer(2 ** 16) * 2 ** 16 + rng.integer(2 ** 16));

/** Bytes of the first chunk of `bytes`; all of them where they end first. Call again with what follows. */
export function firstChunk(bytes: Uint8Array): number {
  const end = Math.min(bytes.length, MOST_BYTES);
  if (end <= LEAST_BYTES) return end;
  const usual = Math.min(end, USUAL_BYTES);
  let h = 0;
  let i = LEAST_BYTES;
  for (; i < usual; i++) {
    h = ((h << 1) + u32At(gear, u8At(bytes, i))) >>> 0;
    if ((h & STRICT) === 0) return i + 1;
  }
  for (; i < end; i++) {
    h = ((h << 1) + u32At(gear, u8At(bytes, i))) >>> 0;
    if ((h & LOOSE) === 0) return i + 1;
  }
  return end;
}
