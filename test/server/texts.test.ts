/** A text of one's own: looked at before it is kept, kept in parts, and refused in words when it is none. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { heldOutDocuments, SEPARATOR } from "../../experiments/starter/corpus.ts";
import type { Core } from "../../server/core.ts";
import { registerModel } from "../../server/models/model-registry.ts";
import { submissionIssues } from "../../server/runs/submission.ts";
import { bringText, listTexts, lookAtText } from "../../server/texts/texts.ts";
import { temporaryFolder } from "../fixtures/tiny-model.ts";
import { openTestCore } from "./workbench-fixture.ts";

let core: Core;
const documents = heldOutDocuments("calibrate", 10);
beforeAll(async () => {
  core = await openTestCore("embedded");
  await registerModel(core, join(import.meta.dirname, "../../experiments/starter/model"), { id: "starter" });
});
afterAll(() => core.close());

const given = { kind: "text", separator: SEPARATOR, use: "parts", note: "" } as const;

test("a file is looked at with the model's tokens, kept in parts, and can be measured on at once", async () => {
  const path = join(await temporaryFolder(), "mine.txt");
  await writeFile(path, documents.join(SEPARATOR));
  const look = await lookAtText(core, { path }, "starter");
  expect(look).toMatchObject({ kind: "text", separators: [{ separator: SEPARATOR, documents: 10 }] });
  expect(look.tokens).toMatchObject({ isExact: true, unknownShare: 0 });
  expect(look.tokens?.count).toBeGreaterThan(100);
  const kept = await bringText(core, { ...given, id: "mine", path });
  expect(kept.map((t) => [t.id, t.split, t.separator])).toEqual([
    ["mine-calibrate", "calibrate", SEPARATOR],
    ["mine-select", "select", SEPARATOR],
    ["mine-report", "report", SEPARATOR],
  ]);
  expect(await submissionIssues(core, "evaluate", { model: "starter", text: "mine-select" })).toEqual([]);
});

test("text that a model has no words for is told", async () => {
  const { tokens } = await lookAtText(core, { content: "数字で見る圧縮".repeat(50) }, "starter");
  expect(tokens?.bytesPerToken).toBeLessThan(1.6);
  const own = await lookAtText(core, { content: documents.join("\n") }, "starter");
  expect(own.tokens?.bytesPerToken).toBeGreaterThan(2);
});

test("what is no text, or has no parts, is refused with what to do, and nothing is kept", async () => {
  const before = await listTexts(core);
  const path = join(await temporaryFolder(), "picture.png");
  await writeFile(path, Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0, 1, 2));
  await expect(lookAtText(core, { path })).rejects.toMatchObject({
    code: "format/malformed",
    hint: expect.any(String),
  });
  await expect(lookAtText(core, { path: "/nowhere.txt" })).rejects.toMatchObject({ code: "model/missing-file" });
  await expect(lookAtText(core, { content: " \n" })).rejects.toMatchObject({ code: "input/empty" });
  const one = { ...given, id: "one", content: documents[0] ?? "" };
  await expect(bringText(core, one)).rejects.toMatchObject({ code: "input/invalid" });
  await expect(bringText(core, { ...one, use: "report" })).rejects.toMatchObject({ message: /does not occur/ });
  expect(await listTexts(core)).toEqual(before);
});
