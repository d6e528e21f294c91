import { expect, test } from "vitest";
import { type OffersFor, offers } from "./offers.ts";

test("a large model is offered a first map, then the units in doubt, then all; a small one all at once", () => {
  const anatomy = (elements: number) => ({
    layers: [],
    tensors: [{ layer: null, role: "embedding", elements }],
    hidden: 1,
    vocab: 1,
    maxPositions: 1,
  });
  const on = { kind: "heads", metric: "leave-one-out", units: 270, measured: 0, estimated: 0 } as const;
  const labels = (of: OffersFor): string[] => offers(of).map((o) => o.label);
  const large = anatomy(1.345e8);
  expect(labels({ ...on, anatomy: large })).toEqual(["Draw a first map", "Measure all 270"]);
  expect(offers({ ...on, anatomy: large })[0]?.config.metric).toEqual(["taylor"]);
  expect(labels({ ...on, anatomy: large, estimated: 270 })).toEqual(["Measure the 32 in doubt", "Measure all 270"]);
  expect(labels({ ...on, anatomy: large, measured: 32, estimated: 238 })).toEqual(["Measure all 270"]);
  expect(labels({ ...on, anatomy: large, measured: 270 })).toEqual([]);
  expect(labels({ ...on, anatomy: anatomy(2e6) })).toEqual(["Measure every head"]);
  // More units cost more, and the units in doubt less than all.
  const [doubt, all] = offers({ ...on, anatomy: large, estimated: 270 }).map((o) => o.seconds);
  expect(doubt).toBeLessThan((all ?? 0) / 5);
});
