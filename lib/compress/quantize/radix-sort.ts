/**
 * @file Sorting of fp32 numbers by the bits of their patterns.
 *
 * Reference: Herf, "Radix Tricks" (2001). The pattern of a number ≥ 0 has its sign bit set, that of one below 0 all bits
 * flipped; unsigned order of the results is the order of the numbers (−0 before 0). Three stable
 * passes of 11 bits; a pass is skipped when all digits agree, as in the lowest one for bf16 values.
 * Not included: NaN, which has no place in the order.
 */

const DIGIT_BITS = 11;
const DIGITS = 1 << DIGIT_BITS;
const PASSES = 3;

const counts = new Uint32Array(PASSES * DIGITS);

/** The positions of `values`, smallest value first; equal values keep their order. */
export function sortedOrder(values: Float32Array): Uint32Array {
  const order = new Uint32Array(values.length);
  for (let i = 0; i < order.length; i++) order[i] = i;
  return sortByKey(sortableKeys(values), order).order;
}

/** `values` in ascending order, as a new array. */
export function sortedValues(values: Float32Array): Float32Array {
  const { keys } = sortByKey(sortableKeys(values), new Uint32Array(0));
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i] as number;
    keys[i] = key >>> 31 ? key ^ 0x80000000 : ~key;
  }
  return new Float32Array(keys.buffer, keys.byteOffset, keys.length);
}

function sortableKeys(values: Float32Array): Uint32Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const keys = new Uint32Array(values.length);
  for (let i = 0; i < keys.length; i++) {
    const b = bits[i] as number;
    keys[i] = b >>> 31 ? ~b : b | 0x80000000;
  }
  return keys;
}

/** Sorts `keys` (n) and, along with it, `order` (n, or 0 if not needed). The given arrays are used
 * as scratch. */
function sortByKey(keys: Uint32Array, order: Uint32Array): { keys: Uint32Array; order: Uint32Array } {
  const n = keys.length;
  counts.fill(0);
  for (let i = 0; i < n; i++) {
    const key = keys[i] as number;
    const low = key & (DIGITS - 1);
    const middle = DIGITS + ((key >>> DIGIT_BITS) & (DIGITS - 1));
    const high = 2 * DIGITS + (key >>> (2 * DIGIT_BITS));
    counts[low] = (counts[low] as number) + 1;
    counts[middle] = (counts[middle] as number) + 1;
    counts[high] = (counts[high] as number) + 1;
  }
  let from: Uint32Array = keys;
  let to: Uint32Array = new Uint32Array(n);
  const ordered = order.length === n;
  let orderFrom: Uint32Array = order;
  let orderTo: Uint32Array = new Uint32Array(order.length);
  for (let pass = 0; pass < PASSES; pass++) {
    const starts = counts.subarray(pass * DIGITS, (pass + 1) * DIGITS);
    const shift = pass * DIGIT_BITS;
    if (n > 0 && starts[((from[0] as number) >>> shift) & (DIGITS - 1)] === n) continue;
    let start = 0;
    for (let d = 0; d < DIGITS; d++) {
      const count = starts[d] as number;
      starts[d] = start;
      start += count;
    }
    for (let i = 0; i < n; i++) {
      const key = from[i] as number;
      const digit = (key >>> shift) & (DIGITS - 1);
      const at = starts[digit] as number;
      starts[digit] = at + 1;
      to[at] = key;
      if (ordered) orderTo[at] = orderFrom[i] as number;
    }
    [from, to] = [to, from];
    [orderFrom, orderTo] = [orderTo, orderFrom];
  }
  return { keys: from, order: orderFrom };
}
