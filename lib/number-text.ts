/** @file Counts and sizes in words, the same on pages, in the terminal and in files. Not included: grouping of digits, languages. */

/** `1 head`, `3 heads`. */
export const plural = (n: number, one: string, many = `${one}s`): string => `${n} ${n === 1 ? one : many}`;

/** `4.1 kB`, `121.70 MB`: powers of 1000, with `space` between number and unit. */
export function byteSize(n: number, space = " "): string {
  if (n < 1000) return `${n}${space}B`;
  if (n < 1e6) return `${(n / 1e3).toFixed(1)}${space}kB`;
  return n < 1e9 ? `${(n / 1e6).toFixed(2)}${space}MB` : `${(n / 1e9).toFixed(2)}${space}GB`;
}
