import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "../test/fixtures/tiny-model.ts";
import { arrayFiles } from "./array-files.ts";

test("arrays come back as they were, by key; a damaged file counts as none", async () => {
  const folder = await temporaryFolder();
  const store = arrayFiles(join(folder, "statistics"));
  expect(await store.get("a")).toBeNull();
  const arrays = new Map([
    ["L0_query", Float32Array.of(1, 2.5, -3)],
    ["head", Float32Array.of(0.1)],
  ]);
  await store.put("a", arrays);
  expect(await arrayFiles(join(folder, "statistics")).get("a")).toEqual(arrays);
  expect(await store.get("b")).toBeNull();
  const [name = ""] = await readdir(join(folder, "statistics"));
  await writeFile(join(folder, "statistics", name), "not safetensors");
  expect(await store.get("a")).toBeNull();
});
