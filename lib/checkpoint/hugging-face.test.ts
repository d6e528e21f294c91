/** Folders as people have them: configs that say one thing and weights that say another, shards with leftovers, foreign tensors. */
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { loadWeights } from "../../experiments/model-session.ts";
import { type Config, folderOf, matrix, tensorsOf } from "../../test/fixtures/checkpoint-folder.ts";
import { temporaryFolder, tinyConfigs } from "../../test/fixtures/tiny-model.ts";
import { emptySelection, selectionByName } from "../compress/prune/prune-selection.ts";
import { pruneModel } from "../compress/prune/slice.ts";
import { openSafetensors, type TensorToWrite, writeSafetensors } from "../formats/safetensors.ts";
import { elementCount } from "../mil/types.ts";
import type { CompressedWeight } from "../weights/weight.ts";
import { openCheckpoint } from "./checkpoint.ts";
import { madeFrom } from "./made-from.ts";
import { writeCheckpoint } from "./write-checkpoint.ts";

/** What `madeFrom` writes of the units that are left. */
async function pruned(from: string, units: readonly string[]): Promise<string> {
  const origin = await openCheckpoint(from);
  const before = await loadWeights(origin);
  const drop = units.length > 0 ? selectionByName(before.arch, units) : emptySelection(before.arch);
  const made = pruneModel(before, drop);
  const layers = before.arch.layers.flatMap((_, l) => (drop.layers.includes(l) ? [] : [l]));
  const out = join(await temporaryFolder(), "out");
  await writeCheckpoint(out, {
    architecture: made.arch,
    config: origin.config,
    copyFrom: origin,
    ...madeFrom(origin, before, made, layers),
  });
  await origin.close();
  return out;
}

async function bytesIn(folder: string): Promise<Map<string, { dtype: string; bytes: Uint8Array }>> {
  const file = await openSafetensors(join(folder, "model.safetensors"));
  const found = new Map<string, { dtype: string; bytes: Uint8Array }>();
  for (const [name, { dtype }] of file.tensors) found.set(name, { dtype, bytes: await file.readBytes(name) });
  await file.close();
  return found;
}

test("weights in fp32 under dtype bfloat16 stay as they are, byte for byte, and what is cut keeps their type", async () => {
  const config = { ...tinyConfigs.llama, torch_dtype: "bfloat16", dtype: "bfloat16" };
  const from = await folderOf(config, tensorsOf(config).values());
  const before = await bytesIn(from);
  const after = await bytesIn(await pruned(from, ["L0.N0-7"]));
  expect(after.size).toBe(before.size);
  for (const [name, { dtype, bytes }] of after) {
    expect(dtype).toBe("F32");
    if (!name.startsWith("model.layers.0.mlp")) expect(bytes, name).toEqual(before.get(name)?.bytes);
  }
  const cut = await pruned(from, ["L0.N0-7"]);
  const written: unknown = JSON.parse(await readFile(join(cut, "config.json"), "utf8"));
  expect(written).toMatchObject({ torch_dtype: "float32", dtype: "float32" });
});

test("each tensor keeps its own type, also where layers are numbered anew", async () => {
  const config = { ...tinyConfigs.llama, num_hidden_layers: 3, torch_dtype: "bfloat16" };
  const mixed = [...tensorsOf(config).values()].map((t): TensorToWrite => {
    if (t.name.includes("norm") || t.name.includes("layers.1.")) return t;
    const size = 2 * elementCount(t.shape);
    return { ...t, dtype: "BF16", bytes: () => new Uint8Array(size).fill(0x3f) };
  });
  const from = await folderOf(config, mixed);
  const before = await bytesIn(from);
  const after = await bytesIn(await pruned(from, ["L0", "L1.N0-7"]));
  for (const [name, { dtype, bytes }] of after) {
    const was = before.get(name.replace("layers.1.", "layers.2.").replace("layers.0.", "layers.1."));
    expect(dtype, name).toBe(was?.dtype);
    if (!name.startsWith("model.layers.0.mlp")) expect(bytes, name).toEqual(was?.bytes);
  }
});

test("numbers in the config that nobody changed are written as they were", async () => {
  const { final_logit_softcapping: _cap, rms_norm_eps: _eps, ...rest } = tinyConfigs.gemma4_dense;
  const own =
    '"final_logit_softcapping": 30.0, "rms_norm_eps": 1e-06, "initializer_range": 2E-2, "seed": 12345678901234567890';
  const text = `{${own}, ${JSON.stringify(rest).slice(1)}`;
  const tensors = tensorsOf(JSON.parse(text));
  const flat = await readFile(join(await pruned(await folderOf(text, tensors.values()), []), "config.json"), "utf8");
  const wrapper = `{"model_type": "gemma4", "text_config": ${text}}`;
  const inner = await readFile(
    join(await pruned(await folderOf(wrapper, tensors.values()), []), "config.json"),
    "utf8",
  );
  for (const written of [flat, inner]) for (const pair of own.split(", ")) expect(written).toContain(pair);
});

test("a head of its own under a tied config is kept through all that is written, and the config says so", async () => {
  const config = { ...tinyConfigs.gemma3, tie_word_embeddings: true };
  const tensors = tensorsOf(config);
  const same = await openCheckpoint(await folderOf(config, tensors.values()));
  expect(same.architecture.tiedHead).toBe(true);
  const embedding = tensors.get("model.embed_tokens.weight") as TensorToWrite;
  const twice = await openCheckpoint(
    await folderOf(config, [...tensors.values(), { ...embedding, name: "lm_head.weight" }]),
  );
  expect(twice.architecture.tiedHead).toBe(true);
  expect(twice.unused).toEqual([]);
  const own = await folderOf(config, [...tensors.values(), matrix("lm_head.weight", embedding.shape, 0.5)]);
  const opened = await openCheckpoint(own);
  expect(opened.architecture.tiedHead).toBe(false);
  expect((await opened.globalTensor("head"))[0]).toBe(0.5);
  const out = await pruned(own, ["L0.N0-7"]);
  const written: unknown = JSON.parse(await readFile(join(out, "config.json"), "utf8"));
  expect(written).toMatchObject({ tie_word_embeddings: false });
  expect((await bytesIn(out)).get("lm_head.weight")?.bytes).toEqual((await bytesIn(own)).get("lm_head.weight")?.bytes);
});

/** As `LlamaModel(config).save_pretrained` names them; `AutoModelForCausalLM` of transformers 5.24 loads these. */
test("a decoder saved without its head is read under the names it has then", async () => {
  const config = { ...tinyConfigs.llama, tie_word_embeddings: true };
  const named = [...tensorsOf(config).values()];
  const bare = named.map((t) => ({ ...t, name: t.name.replace(/^model\./, "") }));
  const [whole, part] = [await folderOf(config, named), await folderOf(config, bare)];
  const opened = await openCheckpoint(part);
  expect(opened.unused).toEqual([]);
  await opened.close();
  expect(await bytesIn(await pruned(part, []))).toEqual(await bytesIn(await pruned(whole, [])));
});

test.each([
  ["torch.compile", (n: string) => `_orig_mod.${n}`, /_orig_mod\.model\.embed_tokens\.weight.*take “_orig_mod\.” off/],
  ["DDP", (n: string) => `module.${n}`, /take “module\.” off/],
  [
    "an adapter",
    (n: string) => `base_model.model.${n.replace("q_proj.weight", "q_proj.base_layer.weight")}`,
    /base_layer\.weight is there.*merge_and_unload/,
  ],
])("a model saved inside %s: the hint says what was saved", async (_, name, hint) => {
  const tensors = [...tensorsOf(tinyConfigs.llama).values()].map((t) => ({ ...t, name: name(t.name) }));
  await expect(openCheckpoint(await folderOf(tinyConfigs.llama, tensors))).rejects.toMatchObject({
    code: "model/missing-tensor",
    hint: expect.stringMatching(hint),
  });
});

test("a head that is nowhere: the hint says how a tied one is declared", async () => {
  const config = { ...tinyConfigs.llama, tie_word_embeddings: false };
  const tensors = [...tensorsOf(config).values()].filter((t) => t.name !== "lm_head.weight");
  await expect(openCheckpoint(await folderOf(config, tensors))).rejects.toMatchObject({
    hint: expect.stringContaining("set tie_word_embeddings to true"),
  });
});

test("a config with Python's numbers opens, and what is made of it has them too", async () => {
  const text = JSON.stringify({ ...tinyConfigs.llama, limit: 12345 }).replace("12345", "[Infinity, NaN]");
  const out = await pruned(await folderOf(text, tensorsOf(tinyConfigs.llama).values()), ["L0.N0-7"]);
  const written = await readFile(join(out, "config.json"), "utf8");
  expect(written.replaceAll(/\s/g, "")).toContain('"limit":[Infinity,NaN]');
});

test("tensors of which the decoder has no use are named", async () => {
  const config = tinyConfigs.llama;
  const foreign = ["vision_tower.patch.weight", "model.layers.0.self_attn.q_proj.bias"].map((n) => matrix(n, [4], 1));
  const computed = matrix("model.layers.0.self_attn.rotary_emb.inv_freq", [4], 1);
  const checkpoint = await openCheckpoint(
    await folderOf(config, [...tensorsOf(config).values(), ...foreign, computed]),
  );
  expect(checkpoint.unused).toEqual(["model.layers.0.self_attn.q_proj.bias", "vision_tower.patch.weight"]);
});

/** Shards a.safetensors, b.safetensors … and an index. */
async function sharded(
  config: Config,
  shards: Readonly<Record<string, readonly TensorToWrite[]>>,
  map: Readonly<Record<string, string>>,
): Promise<string> {
  const folder = await temporaryFolder();
  await writeFile(join(folder, "config.json"), JSON.stringify(config));
  for (const [name, tensors] of Object.entries(shards)) await writeSafetensors(join(folder, name), tensors);
  await writeFile(join(folder, "model.safetensors.index.json"), JSON.stringify({ weight_map: map }));
  return folder;
}

test("the index decides between two tensors of one name, and a shard without anything needed may be missing", async () => {
  const config = tinyConfigs.llama;
  const tensors = [...tensorsOf(config).values()];
  const norm = "model.norm.weight";
  const stale = matrix(norm, [32], 9);
  const map = Object.fromEntries(tensors.map((t) => [t.name, t.name === norm ? "b.safetensors" : "a.safetensors"]));
  const others = tensors.filter((t) => t.name !== norm);
  const right = tensors.filter((t) => t.name === norm);
  for (const [a, b] of [
    ["a.safetensors", "b.safetensors"],
    ["b.safetensors", "a.safetensors"],
  ] as const) {
    const assigned = Object.fromEntries(Object.entries(map).map(([n, s]) => [n, s.startsWith("a") ? a : b]));
    const folder = await sharded(config, { [a]: [...others, stale], [b]: right }, assigned);
    const checkpoint = await openCheckpoint(folder);
    expect((await checkpoint.globalTensor("finalNorm"))[0]).not.toBe(9);
    await checkpoint.close();
  }

  const more = { ...map, "vision_tower.x": "c.safetensors" };
  const lacking = await sharded(config, { "a.safetensors": others, "b.safetensors": right }, more);
  await expect(openCheckpoint(lacking)).resolves.toMatchObject({ unused: [] });
  await rm(join(lacking, "b.safetensors"));
  await expect(openCheckpoint(lacking)).rejects.toThrow(
    /shard b\.safetensors is missing .*model\.norm\.weight lies in it/,
  );
});

test("whole numbers where a weight should be are refused when the model is opened", async () => {
  const config = tinyConfigs.llama;
  const tensors = [...tensorsOf(config).values()].map(
    (t): TensorToWrite =>
      t.name.includes("q_proj") ? { ...t, dtype: "I8", bytes: () => new Uint8Array(elementCount(t.shape)) } : t,
  );
  await expect(openCheckpoint(await folderOf(config, tensors))).rejects.toThrow(/q_proj\.weight is I8/);
});

test("weights that share a tensor are read as rows of it and written back into it", async () => {
  const phi3 = join(import.meta.dirname, "../../test/golden/phi3");
  const qkv = "model.layers.1.self_attn.qkv_proj.weight";
  const origin = await openCheckpoint(phi3);
  const file = await openSafetensors(join(phi3, "model.safetensors"));
  const all = await file.readFloat32(qkv); // (4 · 8 query, 2 · 8 key, 2 · 8 value rows, 32)
  await file.close();
  expect(await origin.layerTensor(1, "key")).toEqual(all.slice(32 * 32, 48 * 32));
  expect(await origin.rows("L1_value", 3, 5)).toEqual(all.slice(51 * 32, 53 * 32));
  expect(await origin.table("L1_query").rows([31])).toEqual(all.slice(31 * 32, 32 * 32));

  expect(await bytesIn(await pruned(phi3, []))).toEqual(await bytesIn(phi3));
  const fewer = ["L1.H0", "L1.H1", "L0.H2", "L0.H3", "L0.N0-7", "L1.N0-7"];
  const made = await openCheckpoint(await pruned(phi3, fewer));
  const shapes = new Map(
    [...(await openSafetensors(join(made.path, "model.safetensors"))).tensors].map(([n, t]) => [n, t.shape]),
  );
  expect(shapes.get(qkv)).toEqual([16 + 8 + 8, 32]);
  expect(shapes.get("model.layers.0.mlp.gate_up_proj.weight")).toEqual([64, 32]);
  expect(made.config.espalier).toBeUndefined();
  // The heads that are left are the last two, which read the last group.
  expect(await made.layerTensor(1, "query")).toEqual(all.slice(16 * 32, 32 * 32));
  expect(await made.layerTensor(1, "value")).toEqual(all.slice(56 * 32, 64 * 32));
});

test("a compressed weight of a shared tensor stands alone, and the weights beside it too", async () => {
  const origin = await openCheckpoint(join(import.meta.dirname, "../../test/golden/phi3"));
  const codes: CompressedWeight = {
    kind: "affine",
    bits: 8,
    shape: [16, 32],
    codes: Int8Array.from({ length: 512 }, (_, i) => (i % 255) - 127),
    scales: new Float32Array(16).fill(0.5),
    scaleShape: [16, 1],
    offsets: null,
  };
  const out = join(await temporaryFolder(), "out");
  await writeCheckpoint(out, {
    architecture: origin.architecture,
    config: origin.config,
    dtype: "f32",
    copyFrom: origin,
    weight: async (name) => (name === "L0_key" ? codes : origin.stored(name)),
  });
  const made = await openCheckpoint(out);
  expect(await made.weight("L0_key")).toEqual(codes);
  for (const name of ["L0_query", "L0_value", "L0_gate", "L1_key"])
    expect(await made.weight(name), name).toEqual(await origin.weight(name));
  const { tensors } = await openSafetensors(join(out, "model.safetensors"));
  expect(tensors.has("model.layers.0.self_attn.q_proj.weight")).toBe(true);
  expect(tensors.has("model.layers.0.mlp.gate_up_proj.weight")).toBe(true);
});
