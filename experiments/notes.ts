/** @file Notes on single tensors, equal ones as one. */

/** `3 tensors: 16 rows a table do not divide 172 rows: 43 instead`. */
export function counted(notes: readonly string[]): string[] {
  const counts = new Map<string, number>();
  for (const note of notes) counts.set(note, (counts.get(note) ?? 0) + 1);
  return [...counts].map(([note, n]) => `${n} ${n === 1 ? "tensor" : "tensors"}: ${note}`);
}
