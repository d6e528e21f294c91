/**
 * @file One choice for each unit under a budget of bytes: the multiple-choice knapsack problem, solved exactly.
 *
 *   min Σ_u cost(u, c_u)  s.t.  Σ_u size(u, c_u) ≤ B, one choice c_u for every unit u
 *
 * References: Sinha and Zoltners, "The multiple-choice knapsack problem" (1979) for the relaxation and fixing by reduced costs;
 * Nemhauser and Ullmann (1969) for lists of undominated partial sums; Pisinger (1995) for both together.
 *
 *   1. The Lagrangian bound L(λ) = Σ_u min_c (cost + λ · size) − λ B is the lower convex hull of every unit at slope λ; the best λ
 *      is a slope of a hull, found by upgrading units in the order of their slopes.
 *   2. The upgrades that fit give a solution, the upper bound. A choice whose reduced cost alone exceeds the gap is in no better one.
 *   3. Units are added one by one to the list of undominated (size, cost), and a partial sum is dropped when its cost, its size
 *      at λ and the least the rest can cost come to more than the best solution known.
 *
 * Should the lists outgrow a limit, the best found is returned with the gap to the bound, and said not to be proven optimal.
 * Pure arithmetic, so that a page can solve again while a budget is dragged. Costs may be negative.
 * Not included: a second budget.
 */
import { itemAt, lastOf, numberAt } from "../../elements.ts";

export interface Choice {
  /** Whole bytes. */
  readonly sizeBytes: number;
  readonly cost: number;
}

export interface Solution {
  /** The index of the choice of every unit; null when no set of choices fits. */
  readonly choices: readonly number[] | null;
  readonly sizeBytes: number;
  readonly cost: number;
  /** No solution costs less. */
  readonly lowerBound: number;
  /** Nothing better exists; else `cost − lowerBound` is what may be missing. */
  readonly optimal: boolean;
  /** What one more byte would save here, cost per byte (λ). */
  readonly costPerByte: number;
}

/** Partial sums kept at a time at most. */
const MOST_STATES = 40_000;

interface Option extends Choice {
  readonly index: number;
}

/** Choices that no other of the unit beats in both, by ascending size. */
function undominated(choices: readonly Choice[]): Option[] {
  const sorted = choices
    .map((c, index) => ({ ...c, index }))
    .sort((a, b) => a.sizeBytes - b.sizeBytes || a.cost - b.cost || a.index - b.index);
  const kept: Option[] = [];
  for (const c of sorted) if (kept.length === 0 || c.cost < lastOf(kept).cost) kept.push(c);
  return kept;
}

/** The lower convex hull of undominated choices. */
function lowerHull(options: readonly Option[]): Option[] {
  const hull: Option[] = [];
  for (const o of options) {
    while (hull.length >= 2) {
      const [a, b] = [hull.at(-2) as Option, lastOf(hull)];
      const turns = (b.cost - a.cost) * (o.sizeBytes - a.sizeBytes) >= (o.cost - a.cost) * (b.sizeBytes - a.sizeBytes);
      if (!turns) break;
      hull.pop();
    }
    hull.push(o);
  }
  return hull;
}

interface Upgrade {
  readonly unit: number;
  readonly to: Option;
  readonly bytes: number;
  /** Cost saved per byte. */
  readonly slope: number;
}

function upgradesOf(hulls: readonly (readonly Option[])[]): Upgrade[] {
  const found: Upgrade[] = [];
  for (const [unit, hull] of hulls.entries()) {
    for (let i = 1; i < hull.length; i++) {
      const [from, to] = [itemAt(hull, i - 1), itemAt(hull, i)];
      const bytes = to.sizeBytes - from.sizeBytes;
      found.push({ unit, to, bytes, slope: (from.cost - to.cost) / bytes });
    }
  }
  return found.sort((a, b) => b.slope - a.slope || a.unit - b.unit || a.to.sizeBytes - b.to.sizeBytes);
}

const sum = (options: readonly Option[], pick: (o: Option) => number): number =>
  options.reduce((t, o) => t + pick(o), 0);

/** `units` have at least one choice each, `budgetBytes` counts all of them. */
export function allocate(units: readonly (readonly Choice[])[], budgetBytes: number): Solution {
  const options = units.map(undominated);
  const hulls = options.map(lowerHull);
  const smallest = hulls.map((h) => itemAt(h, 0));
  const leastBytes = sum(smallest, (o) => o.sizeBytes);
  if (!(leastBytes <= budgetBytes)) {
    return {
      choices: null,
      sizeBytes: leastBytes,
      cost: Number.POSITIVE_INFINITY,
      lowerBound: Number.POSITIVE_INFINITY,
      optimal: true,
      costPerByte: 0,
    };
  }
  // Up the hulls by slope; the first upgrade that does not fit sets λ, later smaller ones may still fit.
  const chosen = [...smallest];
  let bytes = leastBytes;
  let lambda = 0;
  for (const { unit, to, bytes: more, slope } of upgradesOf(hulls)) {
    const follows = itemAt(chosen, unit).sizeBytes + more === to.sizeBytes;
    if (bytes + more <= budgetBytes && follows) {
      chosen[unit] = to;
      bytes += more;
    } else if (lambda === 0) lambda = slope;
  }
  let best = { chosen, cost: sum(chosen, (o) => o.cost) };
  const reduced = (o: Option): number => o.cost + lambda * o.sizeBytes;
  const leastReduced = options.map((list) => Math.min(...list.map(reduced)));
  const bound = leastReduced.reduce((t, v) => t + v, 0) - lambda * budgetBytes;
  // Sums of costs are rounded; differences below this are ignored.
  const scale = options.reduce((t, list) => t + Math.max(...list.map((o) => Math.abs(o.cost))), 0);
  const epsilon = 1e-13 * (scale + Math.abs(bound));
  const answer = (optimal: boolean): Solution => ({
    choices: best.chosen.map((o) => o.index),
    sizeBytes: sum(best.chosen, (o) => o.sizeBytes),
    cost: best.cost,
    lowerBound: optimal ? best.cost : Math.min(bound, best.cost),
    optimal,
    costPerByte: lambda,
  });
  if (best.cost - bound <= epsilon) return answer(true);

  // What may still be part of a better solution.
  const gap = best.cost - bound;
  const open = options.map((list, u) => list.filter((o) => reduced(o) - numberAt(leastReduced, u) <= gap + epsilon));
  const order = open.map((_, u) => u).sort((a, b) => (open[b]?.length ?? 0) - (open[a]?.length ?? 0) || a - b);
  let restReduced = leastReduced.reduce((t, v) => t + v, 0);
  const leastSize = open.map((list) => Math.min(...list.map((o) => o.sizeBytes)));
  let restSize = leastSize.reduce((t, v) => t + v, 0);
  let states: State[] = [{ sizeBytes: 0, cost: 0, option: null, before: null, last: -1 }];
  let complete = true;
  for (const u of order) {
    restReduced -= numberAt(leastReduced, u);
    restSize -= numberAt(leastSize, u);
    const least = restReduced - lambda * budgetBytes - epsilon;
    const next = merged(states, itemAt(open, u), u, (s, c) => {
      return s + restSize <= budgetBytes && c + lambda * s + least < best.cost;
    });
    if (next.length > MOST_STATES) {
      // Keeps the most promising states; a discarded one may have led to the optimum.
      complete = false;
      states = next
        .sort((a, b) => a.cost + lambda * a.sizeBytes - (b.cost + lambda * b.sizeBytes))
        .slice(0, MOST_STATES);
      states.sort((a, b) => a.sizeBytes - b.sizeBytes);
    } else states = next;
    if (states.length === 0) break;
  }
  const last = states.at(-1);
  if (last && last.cost < best.cost - epsilon) {
    const found = [...chosen];
    for (let s: State | null = last; s?.option; s = s.before) found[s.last] = s.option;
    best = { chosen: found, cost: sum(found, (o) => o.cost) };
  }
  return answer(complete);
}

interface State {
  readonly sizeBytes: number;
  readonly cost: number;
  readonly option: Option | null;
  readonly before: State | null;
  /** The unit whose choice was added last. */
  readonly last: number;
}

/** Every state with every option, ascending in size and descending in cost. */
function merged(
  states: readonly State[],
  options: readonly Option[],
  unit: number,
  promises: (sizeBytes: number, cost: number) => boolean,
): State[] {
  const lists = options.map((option) => {
    const list: State[] = [];
    for (const before of states) {
      const sizeBytes = before.sizeBytes + option.sizeBytes;
      const cost = before.cost + option.cost;
      if (promises(sizeBytes, cost)) list.push({ sizeBytes, cost, option, before, last: unit });
    }
    return list;
  });
  let all = lists[0] ?? [];
  for (const list of lists.slice(1)) all = paretoMerge(all, list);
  return all;
}

function paretoMerge(a: readonly State[], b: readonly State[]): State[] {
  const out: State[] = [];
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0, j = 0; i < a.length || j < b.length; ) {
    const [x, y] = [a[i], b[j]];
    const takeA =
      y === undefined ||
      (x !== undefined && (x.sizeBytes < y.sizeBytes || (x.sizeBytes === y.sizeBytes && x.cost <= y.cost)));
    const next = (takeA ? x : y) as State;
    if (takeA) i++;
    else j++;
    if (next.cost < least) {
      out.push(next);
      least = next.cost;
    }
  }
  return out;
}

export interface CurvePoint {
  readonly choices: readonly number[];
  readonly sizeBytes: number;
  readonly cost: number;
}

/**
 * The breakpoints of the Lagrangian relaxation, smallest first: each is optimal for its own size, and between two of them
 * `allocate` finds what else there is.
 */
export function allocationCurve(units: readonly (readonly Choice[])[]): CurvePoint[] {
  const hulls = units.map((choices) => lowerHull(undominated(choices)));
  const chosen = hulls.map((h) => itemAt(h, 0));
  const point = (): CurvePoint => ({
    choices: chosen.map((o) => o.index),
    sizeBytes: sum(chosen, (o) => o.sizeBytes),
    cost: sum(chosen, (o) => o.cost),
  });
  const points = [point()];
  for (const { unit, to } of upgradesOf(hulls)) {
    chosen[unit] = to;
    points.push(point());
  }
  return points;
}
