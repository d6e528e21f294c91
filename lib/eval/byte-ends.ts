/**
 * @file Where the tokens of a text end in its UTF-8 bytes.
 *
 * A token stands for known bytes (its surface), so the surfaces are matched along the text one
 * after another. Tokenizers also add a leading space, compose characters and replace unknown ones:
 * there a surface does not fit. The next token whose surface is found further on then fixes the
 * position, and the tokens in between share the skipped bytes by their length.
 *
 * Not included: which bytes of a changed stretch belong to which of its tokens. Their sum is exact.
 */

/** Bytes searched for the next matching surface, beyond those of the skipped surfaces. */
const REACH_BYTES = 4096;
/** Tokens that may be skipped before we give up on the rest of a stretch. */
const MOST_PASSED = 64;

/** Never falling; the last is the length of the text. `surfaces`: null for a token with unknown
 * bytes, such as <unk>. */
export function byteEnds(text: Uint8Array, surfaces: readonly (Uint8Array | null)[]): Int32Array {
  const bytes = Buffer.from(text.buffer, text.byteOffset, text.byteLength);
  const ends = new Int32Array(surfaces.length);
  let at = 0;
  for (let i = 0; i < surfaces.length; ) {
    const surface = surfaces[i];
    const fitted = surface ? fittedBytes(bytes, at, surface) : null;
    if (fitted !== null) {
      at += fitted;
      ends[i++] = at;
      continue;
    }
    const { next, place } = nextFit(bytes, at, surfaces, i);
    share(ends, surfaces, i, next, at, place);
    at = place;
    i = next;
  }
  if (surfaces.length > 0) ends[surfaces.length - 1] = bytes.length;
  return ends;
}

/** How many bytes of the text a surface takes up here; null where it does not fit. */
function fittedBytes(bytes: Buffer, at: number, surface: Uint8Array): number | null {
  if (matches(bytes, at, surface)) return surface.length;
  // A space that the tokenizer added.
  return surface[0] === 0x20 && matches(bytes, at, surface.subarray(1)) ? surface.length - 1 : null;
}

function matches(bytes: Buffer, at: number, surface: Uint8Array): boolean {
  if (at + surface.length > bytes.length) return false;
  for (let i = 0; i < surface.length; i++) if (bytes[at + i] !== surface[i]) return false;
  return true;
}

function nextFit(
  bytes: Buffer,
  at: number,
  surfaces: readonly (Uint8Array | null)[],
  from: number,
): { next: number; place: number } {
  let passed = surfaces[from]?.length ?? 0;
  for (let next = from + 1; next < Math.min(surfaces.length, from + MOST_PASSED); next++) {
    const surface = surfaces[next];
    if (surface && surface.length > 0) {
      const place = bytes.subarray(0, at + REACH_BYTES + 4 * passed).indexOf(surface, at);
      if (place >= 0) return { next, place };
    }
    passed += surface?.length ?? 0;
  }
  return { next: surfaces.length, place: bytes.length };
}

/** The bytes from `at` to `place` among tokens `from` to `next`, by the length of their surfaces. */
function share(
  ends: Int32Array,
  surfaces: readonly (Uint8Array | null)[],
  from: number,
  next: number,
  at: number,
  place: number,
): void {
  const weight = (i: number): number => surfaces[i]?.length ?? 1;
  let total = 0;
  for (let i = from; i < next; i++) total += weight(i);
  let before = 0;
  for (let i = from; i < next; i++) {
    before += weight(i);
    ends[i] = at + Math.round(((place - at) * before) / Math.max(1, total));
  }
}
