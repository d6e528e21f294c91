/** @file The rungs of successive halving, known before it starts: what it runs, and what that costs. */

export interface Rung {
  readonly trials: number;
  readonly budget: number;
}

/** If no trial fails: 16 of 50 steps, 5 of 150, 1 of 450. */
export function rungsOf(sweep: { trials: number; budget: { from: number; eta: number } }): Rung[] {
  const { from, eta } = sweep.budget;
  const rungs: Rung[] = [];
  let [trials, budget] = [sweep.trials, from];
  while (trials >= 1) {
    rungs.push({ trials, budget });
    [trials, budget] = [Math.floor(trials / eta), budget * eta];
  }
  return rungs;
}
