import { expect, test } from "vitest";
import { merged, patched, wholeList } from "./live-runs.ts";

const row = (id: string, state = "running") => ({
  id,
  state,
  name: id,
  progress: null as unknown,
  archived: false,
  tags: [] as string[],
});
const event = (id: string, state = "running") => ({ id, state, name: `${id}!`, progress: { share: 0.5 } });

test("progress is put in place; a new run and a changed state are named", () => {
  const rows = [row("a"), row("b"), row("c")];
  const events = new Map([event("a"), event("b", "succeeded"), event("z")].map((e) => [e.id, e]));
  const { rows: next, changed } = patched(rows, events);
  expect(next[0]).toMatchObject({ name: "a!", progress: { share: 0.5 } });
  expect(next[2]).toBe(rows[2]);
  expect(changed).toEqual(["b", "z"]);
  expect(patched(rows, new Map([["z", event("z")]])).rows).toBe(rows);
});

test("fresh rows take their places, new ones come first, archived ones leave", () => {
  const rows = [row("a"), row("b")];
  expect(merged(rows, [row("n"), { ...row("b"), archived: true }], false).map((r) => r.id)).toEqual(["n", "a"]);
});

test("a list without a filter is whole", () => {
  expect(wholeList(undefined)).toEqual({ archived: false });
  expect(wholeList({ limit: 500 })).toEqual({ archived: false });
  expect(wholeList({ archived: true })).toEqual({ archived: true });
  expect(wholeList({ states: ["running"] })).toBeNull();
});
