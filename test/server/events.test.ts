/** Events that are kept reach whoever follows later; what is only told reaches whoever follows now, and no table. */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Core } from "../../server/core.ts";
import { openTestCore } from "./workbench-fixture.ts";

let core: Core;
beforeAll(async () => {
  core = await openTestCore("embedded");
}, 60_000);
afterAll(() => core.close());

test("what is told is heard under its topic, in order, between events, and written nowhere", async () => {
  const { events } = core;
  events.tell("what-if:a", "before anybody follows");
  const end = new AbortController();
  const before = await events.lastSeq();
  const heard: unknown[] = [];
  const following = (async () => {
    for await (const { seq, payload } of events.follow(["what-if:a", "runs"], before, end.signal)) {
      heard.push([seq - before, payload]);
      if (heard.length === 4) end.abort();
    }
  })();
  // The follower listens once it has looked at the table.
  await events.idle(200, end.signal);
  events.tell("what-if:a", 1);
  events.tell("what-if:b", "of somebody else");
  events.tell("what-if:a", 2);
  await events.idle(200, end.signal);
  await events.publish("runs", 3);
  await events.idle(200, end.signal);
  events.tell("what-if:a", 4);
  await following;
  // Under the number of the last event, from which a broken stream goes on.
  expect(heard).toEqual([
    [0, 1],
    [0, 2],
    [1, 3],
    [1, 4],
  ]);
  expect(await events.lastSeq()).toBe(before + 1);
}, 30_000);
