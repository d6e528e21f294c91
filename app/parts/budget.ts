/** @file A budget that is stepped: one per cent a step, to four figures, so that what is read is what is set. */
export function stepBudget(value: number, steps: number): number {
  const next = Number((value * 1.01 ** steps).toPrecision(4));
  // Rounding must not swallow a step.
  return next === value ? value * 1.01 ** steps : next;
}
