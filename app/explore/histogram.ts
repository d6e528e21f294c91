/** @file The distribution of what units are worth, on a signed root axis: small effects keep their room, zero its place. */
export interface Bin {
  readonly from: number;
  readonly to: number;
  readonly count: number;
  readonly dropped: number;
}

const root = (v: number): number => Math.sign(v) * Math.sqrt(Math.abs(v));
const square = (r: number): number => Math.sign(r) * r * r;

/** Bins of equal width on the root axis, one edge at zero. Empty for no values. */
export function histogram(values: readonly { value: number; dropped: boolean }[], wanted = 40): Bin[] {
  if (values.length === 0) return [];
  const low = Math.min(0, ...values.map((v) => root(v.value)));
  const high = Math.max(0, ...values.map((v) => root(v.value)));
  const width = (high - low) / wanted || 1;
  const first = Math.floor(low / width - 1e-9);
  const last = Math.max(first + 1, Math.ceil(high / width + 1e-9));
  const counts = Array.from({ length: last - first }, () => ({ count: 0, dropped: 0 }));
  for (const v of values) {
    const bin = counts[Math.min(counts.length - 1, Math.max(0, Math.floor(root(v.value) / width) - first))];
    if (!bin) continue;
    bin.count++;
    if (v.dropped) bin.dropped++;
  }
  return counts.map((c, i) => ({ from: square((first + i) * width), to: square((first + i + 1) * width), ...c }));
}
