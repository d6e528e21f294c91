import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "../test/fixtures/tiny-model.ts";
import { arrayFiles } from "./array-files.ts";

const name = { engine: "", model: "m", subject: "activation@1", shard: "a" };

test("arrays come back as they were, by name; a damaged file counts as none", async () => {
  const folder = await temporaryFolder();
  const store = arrayFiles(join(folder, "statistics"));
  expect(await store.get(name)).toBeNull();
  const arrays = new Map([
    ["L0_query", Float32Array.of(1, 2.5, -3)],
    ["head", Float32Array.of(0.1)],
  ]);
  await store.put(name, arrays);
  expect(await arrayFiles(join(folder, "statistics")).get(name)).toEqual(arrays);
  expect(await store.get({ ...name, shard: "b" })).toBeNull();
  const [file = ""] = await readdir(join(folder, "statistics"));
  await writeFile(join(folder, "statistics", file), "not safetensors");
  expect(await store.get(name)).toBeNull();
});
