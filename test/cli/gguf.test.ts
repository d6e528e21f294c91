/** A .gguf file wherever a folder is taken: measured, made from, imported, looked at. */
import { spawnSync } from "node:child_process";
import { readdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { tinyGguf, tinyGgufBytes } from "../fixtures/tiny-gguf.ts";
import { temporaryFolder } from "../fixtures/tiny-model.ts";

const root = resolve(import.meta.dirname, "../..");
const folder = await temporaryFolder();
const text = join(folder, "text.txt");
writeFileSync(text, "hello world 12, ".repeat(20));
const file = join(folder, "tiny.gguf");
writeFileSync(file, tinyGgufBytes("llama"));

function espalier(...args: string[]) {
  const run = spawnSync(process.execPath, ["bin/espalier.js", ...args, "--json"], {
    cwd: root,
    encoding: "utf8",
    env: { ...process.env, ESPALIER_DATA: join(folder, "data"), NO_COLOR: "1" },
  });
  return JSON.parse(run.stdout);
}
const nats = (model: string): number => espalier("evaluate", model, "--text", text, "--context", "32").nllPerToken;

test("evaluate, prune, quantize and import take a .gguf file", () => {
  const base = nats(file);
  expect(base).toBeGreaterThan(0);

  const pruned = join(folder, "pruned");
  expect(espalier("prune", file, "--drop", "L0.H0", "--out", pruned).heads).toEqual({ before: 8, after: 7 });
  for (const name of [
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
  ])
    expect(readdirSync(pruned)).toContain(name);
  expect(nats(pruned)).not.toBe(base);

  const small = join(folder, "small");
  expect(espalier("quantize", file, "--bits", "8", "--out", small).bitsPerWeight).toBeGreaterThan(7);
  expect(Math.abs(nats(small) - base)).toBeLessThan(0.05 * base);

  const imported = espalier("import", file);
  expect(imported).toMatchObject({ id: "tiny", hash: espalier("inspect", file).model.hash });
  expect(nats("tiny")).toBe(base);
  expect(espalier("models").models).toContainEqual(
    // As a package keeps them: in fp16.
    expect.objectContaining({ id: "tiny", family: "llama", bitsPerWeight: 16, weightBytes: 2 * 31_584 }),
  );
}, 300_000);

test("inspect shows metadata, types and tensors, of a file that is no model too", () => {
  const { keys, tensors } = tinyGguf("llama");
  const seen = espalier("inspect", file);
  expect(seen).toMatchObject({ version: 3, model: { family: "llama" } });
  expect(seen.tensors).toHaveLength(tensors.length);
  expect(Object.keys(seen.metadata)).toEqual(keys.map((k) => k.key));
  const golden = espalier("inspect", join(root, "test/golden/gguf/types.gguf"));
  expect(golden).toMatchObject({ model: null, notAModel: expect.stringContaining('"none"') });
  expect(espalier("inspect", join(root, "LICENSE"))).toMatchObject({ error: { code: /^format\// } });
  expect(espalier("evaluate", join(root, "LICENSE"), "--text", text)).toMatchObject({
    error: { code: "format/unsupported" },
  });
}, 300_000);
