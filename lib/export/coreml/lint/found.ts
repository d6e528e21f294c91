/** @file How rules report findings: one per function, naming the operations at fault. */

import type { FunctionView } from "../../../mil/function-view.ts";
import type { Operation } from "../../../mil/program.ts";
import type { FileRule, Found, ProgramRule, ProgramSubject, Severity } from "./rule.ts";

export const programRule = (rule: Omit<ProgramRule, "looksAt">): ProgramRule => ({ looksAt: "program", ...rule });
export const fileRule = (rule: Omit<FileRule, "looksAt">): FileRule => ({ looksAt: "files", ...rule });

/**
 * The operations that break a rule, among those it applies to. Null when no function has any it
 * applies to. `broken` may return a severity instead of true.
 */
export function findOperations(
  subject: ProgramSubject,
  concerned: (op: Operation, view: FunctionView) => boolean,
  broken: (op: Operation, view: FunctionView) => boolean | Severity,
  say: (ops: readonly Operation[], view: FunctionView) => string,
): Found[] | null {
  const found: Found[] = [];
  let applies = false;
  for (const view of subject.functions) {
    const bySeverity = new Map<Severity | null, Operation[]>();
    for (const op of view.computed) {
      if (!concerned(op, view)) continue;
      applies = true;
      const verdict = broken(op, view);
      if (verdict === false) continue;
      const severity = verdict === true ? null : verdict;
      const list = bySeverity.get(severity) ?? [];
      bySeverity.set(severity, list);
      list.push(op);
    }
    for (const [severity, ops] of bySeverity)
      found.push({
        function: view.fn.name,
        operations: ops.map((op) => op.name),
        message: say(ops, view),
        ...(severity ? { severity } : {}),
      });
  }
  return applies ? found : null;
}

/** `7 operations`, `1 table`. */

/** `gather 2, topk 1`, most frequent first. */
export function histogram(ops: readonly Operation[]): string {
  const counts = new Map<string, number>();
  for (const op of ops) counts.set(op.type, (counts.get(op.type) ?? 0) + 1);
  return [...counts]
    .sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1))
    .map(([type, n]) => `${type} ${n}`)
    .join(", ");
}

export function groupBy<K, T>(items: readonly T[], key: (item: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>();
  for (const item of items) {
    const k = key(item);
    const group = groups.get(k);
    if (group) group.push(item);
    else groups.set(k, [item]);
  }
  return groups;
}
