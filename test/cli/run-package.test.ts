/** `run-package` is driven by what the package says of itself: where a text begins, which tokens end it. */
import { spawnSync } from "node:child_process";
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { tokenizerFiles } from "../../experiments/starter/bpe.ts";
import { temporaryFolder } from "../fixtures/tiny-model.ts";

const root = resolve(import.meta.dirname, "../..");
const folder = await temporaryFolder();

/**
 * The Qwen 3 of test/golden, whose config alone names a BOS, and whose generation config names two tokens that end a text. After [2]
 * transformers 5.24 says these 12 tokens, greedily in fp32, and stops because the next is 39.
 */
const said = [22, 33, 43, 23, 43, 13, 1, 3, 1, 1, 1, 1];
const model = join(folder, "model");
cpSync(join(root, "test/golden/qwen3"), model, { recursive: true });
const names = ["<pad>", "<eos>", "<bos>", "<unk>", ...Array.from({ length: 44 }, (_, i) => `t${i}`)];
const { tokenizer } = tokenizerFiles({ vocab: new Map(names.map((n, i) => [n, i])), merges: [] });
const json = (name: string, content: object): void => writeFileSync(join(model, name), JSON.stringify(content));
json("tokenizer.json", Object.assign({}, tokenizer, { post_processor: null }));
json("tokenizer_config.json", {});
json("generation_config.json", { eos_token_id: [5, 39] });
json("config.json", {
  ...JSON.parse(readFileSync(join(model, "config.json"), "utf8")),
  bos_token_id: 2,
  eos_token_id: 5,
});

function espalier(...args: string[]) {
  const run = spawnSync(process.execPath, ["bin/espalier.js", ...args, "--json"], {
    cwd: root,
    encoding: "utf8",
    env: { ...process.env, ESPALIER_DATA: join(folder, "data"), NO_COLOR: "1" },
  });
  if (run.stdout === "") throw new Error(run.stderr);
  return JSON.parse(run.stdout);
}

test.each(["neural-engine", "plain"])(
  "%s layout: begins and stops as transformers and `generate` do",
  (layout) => {
    expect(espalier("generate", model, "--max-tokens", "40").tokens).toEqual(said);
    const out = join(folder, layout);
    expect(espalier("export", model, "--layout", layout, "--contexts", "64", "--out", out).status).toBe("ready");
    expect(espalier("run-package", out, "--max-tokens", "40").tokens).toEqual(said);
    expect(espalier("run-package", out, "--max-tokens", "13", "--ignore-eos").tokens).toEqual([...said, 39]);
  },
  120_000,
);
