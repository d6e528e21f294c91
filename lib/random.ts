/**
 * @file Seeded randomness, passed in wherever it is needed.
 *
 * xoshiro128** (Blackman and Vigna, 2018) seeded through splitmix32. Not for secrets. A stream is derived from
 * a seed and a purpose, so that adding a consumer never shifts the numbers another one sees.
 */

export interface Rng {
  /** Uniform in [0, 1). */
  uniform(): number;
  /** Standard normal, by Box and Muller. */
  normal(): number;
  /** Uniform integer in [0, bound). */
  integer(bound: number): number;
  /** One element, all equally likely. */
  pick<T>(items: readonly T[]): T;
  /** A new array in random order (Fisher and Yates). */
  shuffle<T>(items: readonly T[]): T[];
  /** The whole state, four unsigned 32-bit integers, for an exact resume. */
  state(): [number, number, number, number];
}

function splitmix32(seed: number): () => number {
  let s = seed >>> 0;
  return () => {
    s = (s + 0x9e3779b9) >>> 0;
    let z = s;
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
    return (z ^ (z >>> 16)) >>> 0;
  };
}

/** FNV-1a over UTF-16 code units, 32 bits: short names and seeds, where a collision does no harm. */
export function fnv1a(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return h >>> 0;
}

/** The stream of `seed` for `purpose`. */
export function createRng(seed: number, purpose = ""): Rng {
  const next = splitmix32((seed ^ fnv1a(purpose)) >>> 0);
  return fromState([next(), next(), next(), next()]);
}

export function fromState(initial: readonly [number, number, number, number]): Rng {
  let [a, b, c, d] = initial;
  const bits = (): number => {
    const x = Math.imul(b, 5);
    const result = Math.imul((x << 7) | (x >>> 25), 9) >>> 0;
    const t = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= t;
    d = (d << 11) | (d >>> 21);
    return result;
  };
  const rng: Rng = {
    uniform: () => bits() / 4294967296,
    normal: () => Math.sqrt(-2 * Math.log(1 - rng.uniform())) * Math.cos(2 * Math.PI * rng.uniform()),
    integer: (bound) => Math.floor(rng.uniform() * bound),
    pick: (items) => {
      const item = items[rng.integer(items.length)];
      if (item === undefined) throw new RangeError("cannot pick from an empty list");
      return item;
    },
    shuffle: (items) => {
      const out = [...items];
      for (let i = out.length - 1; i > 0; i--) {
        const j = rng.integer(i + 1);
        [out[i], out[j]] = [out[j] as (typeof out)[number], out[i] as (typeof out)[number]];
      }
      return out;
    },
    state: () => [a >>> 0, b >>> 0, c >>> 0, d >>> 0],
  };
  return rng;
}

/** Time, passed in; `Date.now` never appears in `lib/` or `experiments/`. */
export interface Clock {
  nowMs(): number;
}
