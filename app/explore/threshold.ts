/**
 * @file Choosing by what units are worth: the lowest k, a threshold, so many bytes; whole KV groups first if wanted.
 *
 *   lowest k      the k units of least value; a layer never loses its last unit
 *   whole groups  a group goes as a whole when the mean of its heads is below the k-th lowest value and it fits into k; what
 *                 is left of k is filled with single heads
 *   bytes         the least k whose units, taken together, save at least so many bytes
 */
export interface Candidate {
  readonly unit: string;
  readonly value: number;
  /** Units of one row share a limit: one of them stays. */
  readonly row: number;
  readonly group: string | null;
}

export interface ChoiceOptions {
  readonly wholeGroups: boolean;
}

const ascending = (candidates: readonly Candidate[]): Candidate[] =>
  [...candidates].sort((a, b) => a.value - b.value || (a.unit < b.unit ? -1 : 1));

/** At most `k` units, the least valuable first. */
export function lowest(candidates: readonly Candidate[], k: number, { wholeGroups }: ChoiceOptions): Candidate[] {
  const room = new Map<number, number>();
  for (const c of candidates) room.set(c.row, (room.get(c.row) ?? -1) + 1);
  const chosen = new Map<string, Candidate>();
  const take = (units: readonly Candidate[]): boolean => {
    const row = units[0]?.row ?? -1;
    const left = room.get(row) ?? 0;
    if (units.length > left || chosen.size + units.length > k) return false;
    room.set(row, left - units.length);
    for (const u of units) chosen.set(u.unit, u);
    return true;
  };
  const sorted = ascending(candidates);
  if (wholeGroups && k > 0) {
    const limit = sorted[Math.min(k, sorted.length) - 1]?.value ?? 0;
    const groups = new Map<string, Candidate[]>();
    for (const c of sorted) if (c.group !== null) groups.set(c.group, [...(groups.get(c.group) ?? []), c]);
    const scored = [...groups.values()].map((units) => ({
      units,
      mean: units.reduce((n, u) => n + u.value, 0) / units.length,
    }));
    for (const g of scored.sort((a, b) => a.mean - b.mean)) if (g.mean <= limit) take(g.units);
  }
  for (const c of sorted) {
    if (chosen.size >= k) break;
    if (!chosen.has(c.unit)) take([c]);
  }
  return [...chosen.values()];
}

/** Units of a value below `threshold`. */
export const countBelow = (candidates: readonly Candidate[], threshold: number): number =>
  candidates.filter((c) => c.value < threshold).length;

/** A threshold that the k lowest lie below and the others do not: halfway between the neighbours. */
export function thresholdFor(candidates: readonly Candidate[], k: number): number {
  const sorted = ascending(candidates);
  const below = sorted[k - 1]?.value;
  const above = sorted[k]?.value;
  if (below === undefined) return above ?? 0;
  if (above === undefined) return below + Math.abs(below) * 0.05 + 1e-12;
  return (below + above) / 2;
}

/** How many were asked for when a choice of the lowest gave exactly these; null when it was made by hand. */
export function askedFor(
  candidates: readonly Candidate[],
  dropped: ReadonlySet<string>,
  options: ChoiceOptions,
): number | null {
  const own = candidates.filter((c) => dropped.has(c.unit)).length;
  const chosen = lowest(candidates, own, options);
  return chosen.length === own && chosen.every((c) => dropped.has(c.unit)) ? own : null;
}

/** The least k that saves at least `bytes`; all there is to take when that is not enough. */
export function savingAtLeast(
  candidates: readonly Candidate[],
  bytes: number,
  saved: (units: readonly Candidate[]) => number,
  options: ChoiceOptions,
): Candidate[] {
  if (bytes <= 0) return [];
  const enough = (k: number): boolean => saved(lowest(candidates, k, options)) >= bytes;
  let [low, high] = [0, candidates.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (enough(middle)) high = middle;
    else low = middle + 1;
  }
  // Whole groups make the savings jump: a little less may do as well.
  while (low > 1 && enough(low - 1)) low--;
  return lowest(candidates, low, options);
}
