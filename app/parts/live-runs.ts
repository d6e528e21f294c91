/**
 * @file What an event about a run changes in lists a page already has: its progress in place, and nothing is asked for again.
 *
 * A list is whole when it was requested without a filter; a run that is new to it, or changed its state, is then fetched by
 * itself.
 * A filtered list may gain or lose such a run and is asked for again.
 */

export interface RunEvent {
  readonly id: string;
  readonly name: string;
  readonly state: string;
  readonly progress: unknown;
  readonly tags?: readonly string[];
  readonly archived?: boolean;
}

export const isRunEvent = (payload: unknown): payload is RunEvent =>
  typeof payload === "object" && payload !== null && "id" in payload && "state" in payload && "progress" in payload;

interface ListedRun {
  readonly id: string;
  readonly state: string;
  readonly archived: boolean;
  readonly tags: readonly string[];
}

/** The list with these runs' progress; the very list when none is in it. Runs that changed more are named in `changed`. */
export function patched<R extends ListedRun>(
  rows: readonly R[],
  events: ReadonlyMap<string, RunEvent>,
): { rows: readonly R[]; changed: string[] } {
  const unseen = new Set(events.keys());
  const changed: string[] = [];
  let isTouched = false;
  const next = rows.map((r) => {
    const event = events.get(r.id);
    if (!event) return r;
    unseen.delete(r.id);
    isTouched = true;
    const isMoved = event.state !== r.state || (event.archived ?? r.archived) !== r.archived;
    if (isMoved || (event.tags ?? r.tags).join() !== r.tags.join()) changed.push(r.id);
    return { ...r, name: event.name, state: event.state, progress: event.progress } as R;
  });
  return { rows: isTouched ? next : rows, changed: [...changed, ...unseen] };
}

/** Fresh rows in their places, new ones first. */
export function merged<R extends ListedRun>(rows: readonly R[], fresh: readonly R[], archived: boolean): R[] {
  const byId = new Map(fresh.map((r) => [r.id, r]));
  const kept = rows.flatMap((r) => {
    const found = byId.get(r.id) ?? r;
    byId.delete(r.id);
    return found.archived === archived ? [found] : [];
  });
  return [...[...byId.values()].filter((r) => r.archived === archived), ...kept];
}

/** Whether an input of `runs.list` asks for all runs, and for archived ones. */
export function wholeList(input: unknown): { archived: boolean } | null {
  if (input === undefined || input === null) return { archived: false };
  if (typeof input !== "object") return null;
  const filters = ["ids", "states", "kinds", "studyId", "sweepId"];
  if (filters.some((f) => f in input && Reflect.get(input, f) !== undefined)) return null;
  return { archived: Reflect.get(input, "archived") === true };
}
