/** Configs and weight files with one thing wrong: a typed error that says what, or a model; never anything else, and soon. */
import { copyFile, mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { openCheckpoint } from "../../lib/checkpoint/checkpoint.ts";
import { EspalierError } from "../../lib/errors.ts";
import { temporaryFolder } from "../fixtures/tiny-model.ts";

const starter = fileURLToPath(new URL("../../experiments/starter/model", import.meta.url));
const config: unknown = JSON.parse(await readFile(join(starter, "config.json"), "utf8"));
const weights = await readFile(join(starter, "model.safetensors"));
const headerBytes = Number(weights.readBigUInt64LE(0));
const header: unknown = JSON.parse(weights.subarray(8, 8 + headerBytes).toString());
const folder = await temporaryFolder();
const seen = new Map<string, number>();

/** Opens a checkpoint of these files and reads all its weights; how it ended. */
async function outcome(directory: string): Promise<string> {
  let ended = "opened";
  try {
    const checkpoint = await openCheckpoint(directory);
    try {
      await checkpoint.weight("embedding");
      for (let i = 0; i < checkpoint.architecture.layers.length; i++) await checkpoint.weight(`L${i}_query`);
      await checkpoint.hash();
    } finally {
      await checkpoint.close();
    }
  } catch (thrown) {
    if (!(thrown instanceof EspalierError) || thrown.code.startsWith("internal/")) throw thrown;
    expect(thrown.message.length).toBeGreaterThan(10);
    expect(thrown.message).not.toContain("[object Object]");
    ended = thrown.code;
  }
  seen.set(ended, (seen.get(ended) ?? 0) + 1);
  return ended;
}

const isObject = (v: unknown): v is Record<string, unknown> => typeof v === "object" && v !== null && !Array.isArray(v);

/** Every place in a JSON value. */
function placesOf(value: unknown, at: readonly (string | number)[] = []): (string | number)[][] {
  const inner = Array.isArray(value)
    ? value.flatMap((v, i) => placesOf(v, [...at, i]))
    : isObject(value)
      ? Object.entries(value).flatMap(([k, v]) => placesOf(v, [...at, k]))
      : [];
  return [[...at], ...inner];
}

/** A copy with what `change` makes of the value at one place; undefined removes it. */
function changed(value: unknown, place: readonly (string | number)[], change: (old: unknown) => unknown): unknown {
  const [key, ...rest] = place;
  if (key === undefined) return change(value);
  if (Array.isArray(value)) {
    const next = value.map((v, i) => (i === key ? changed(v, rest, change) : v));
    return next.filter((v) => v !== undefined);
  }
  if (!isObject(value)) return value;
  const next: Record<string, unknown> = { ...value, [key]: changed(value[key], rest, change) };
  if (next[key] === undefined) delete next[key];
  return next;
}

const change: fc.Arbitrary<(old: unknown) => unknown> = fc.oneof(
  fc.jsonValue({ maxDepth: 3 }).map((v) => () => v),
  fc.constant(() => undefined),
  fc.constantFrom(...[0, -1, 1, 0.5, 1e9, 1e308, 2 ** 53, -0, null, true, "", "128", [], {}, [[]]]).map((v) => () => v),
  fc.constantFrom(0, 0.5, 2, 3, -1, 1e6).map((f) => (old: unknown) => (typeof old === "number" ? old * f : old)),
  fc.constant((old: unknown) => (Array.isArray(old) ? [...old, ...old] : [old])),
  fc.constant((old: unknown) => (typeof old === "number" ? String(old) : `${JSON.stringify(old)}x`)),
);
const changes = (value: unknown) =>
  fc.array(fc.tuple(fc.constantFrom(...placesOf(value)), change), { minLength: 1, maxLength: 3 });
const apply = (value: unknown, list: readonly (readonly [(string | number)[], (old: unknown) => unknown])[]): unknown =>
  list.reduce((v, [place, f]) => changed(v, place, f), value);

let counter = 0;
async function fresh(): Promise<string> {
  const directory = join(folder, String(counter++));
  await mkdir(directory);
  return directory;
}

async function withConfig(text: string | Uint8Array): Promise<string> {
  const directory = await fresh();
  await symlink(join(starter, "model.safetensors"), join(directory, "model.safetensors"));
  await writeFile(join(directory, "config.json"), text);
  return outcome(directory);
}

async function withWeights(headerText: Buffer, length = headerText.length): Promise<string> {
  const directory = await fresh();
  await copyFile(join(starter, "config.json"), join(directory, "config.json"));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(length));
  await writeFile(
    join(directory, "model.safetensors"),
    Buffer.concat([prefix, headerText, weights.subarray(8 + headerBytes)]),
  );
  return outcome(directory);
}

const runs = { numRuns: 250, interruptAfterTimeLimit: 20_000, markInterruptAsFailure: true };

test("the untouched files open", async () => {
  expect(await withConfig(JSON.stringify(config))).toBe("opened");
  expect(await withWeights(Buffer.from(JSON.stringify(header)))).toBe("opened");
});

test.each([
  { num_hidden_layers: 1e9, layer_types: null },
  { num_hidden_layers: 2 ** 31, sliding_window_pattern: 6, layer_types: undefined },
  { num_attention_heads: 1e9, num_key_value_heads: 1e9 },
  { num_attention_heads: 1e8 },
  { text_config: { num_attention_heads: 1e9 } },
  { vocab_size: 1e15 },
  { head_dim: 2 ** 31 },
  { head_dim: null, hidden_size: 2 ** 31 },
])("a config that would fill the memory: %j", async (more) => {
  expect(await withConfig(JSON.stringify({ ...(isObject(config) ? config : {}), ...more }))).toMatch(/^model\//);
});

test("a config with wrong values, types, keys or nesting", async () => {
  await fc.assert(
    fc.asyncProperty(changes(config), async (list) => {
      await withConfig(JSON.stringify(apply(config, list)) ?? "");
    }),
    runs,
  );
}, 60_000);

// Keys the starter's config has not, but that are read.
const extras = fc.dictionary(
  fc.constantFrom(
    ...["rope_scaling", "rope_parameters", "text_config", "espalier", "head_dim", "layer_types", "mlp_bias"],
  ),
  fc.oneof(
    fc.jsonValue({ maxDepth: 3 }),
    fc.record(
      {
        version: fc.constantFrom(1, 2, "1"),
        layers: fc.jsonValue({ maxDepth: 3 }),
        compression: fc.dictionary(
          fc.constantFrom("model.embed_tokens.weight", "model.norm.weight", "x"),
          fc.jsonValue(),
        ),
        rope_type: fc.constantFrom("default", "linear", "llama3", "yarn", "dynamic", "x"),
        factor: fc.oneof(fc.double(), fc.constant("8")),
        hidden_size: fc.oneof(fc.integer(), fc.jsonValue()),
      },
      { requiredKeys: [] },
    ),
  ),
);

test("a config with further keys", async () => {
  const base = isObject(config) ? config : {};
  await fc.assert(
    fc.asyncProperty(extras, async (more) => {
      await withConfig(JSON.stringify({ ...base, ...more }));
    }),
    runs,
  );
}, 60_000);

test("a config that is no JSON, or not this one's text any more", async () => {
  const text = JSON.stringify(config);
  await fc.assert(
    fc.asyncProperty(
      fc.nat(text.length),
      fc.nat(20),
      fc.oneof(fc.string({ maxLength: 4 }), fc.constant("__proto__")),
      async (at, cut, put) => {
        await withConfig(text.slice(0, at) + put + text.slice(at + cut));
      },
    ),
    runs,
  );
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 40 }), async (bytes) => {
      expect(await withConfig(bytes)).not.toBe("opened");
    }),
    { ...runs, numRuns: 100 },
  );
}, 60_000);

test("a weight file whose header has wrong values, types, keys or nesting", async () => {
  await fc.assert(
    fc.asyncProperty(changes(header), async (list) => {
      await withWeights(Buffer.from(JSON.stringify(apply(header, list)) ?? ""));
    }),
    { ...runs, numRuns: 150 },
  );
}, 60_000);

test("a weight file whose header bytes or length are damaged", async () => {
  const text = Buffer.from(JSON.stringify(header));
  await fc.assert(
    fc.asyncProperty(fc.nat(text.length - 1), fc.uint8Array({ minLength: 1, maxLength: 3 }), async (at, bytes) => {
      const damaged = Buffer.from(text);
      damaged.set(bytes.subarray(0, text.length - at), at);
      await withWeights(damaged);
    }),
    { ...runs, numRuns: 100 },
  );
  for (const length of [0, 1, 7, text.length - 1, text.length + 1, 1e8, 2 ** 40])
    expect(await withWeights(text, length)).toMatch(/^format\//);
}, 60_000);

afterAll(() => {
  // What was tried went both ways.
  expect(seen.get("opened")).toBeGreaterThan(10);
  for (const code of ["model/config", "model/unknown-architecture", "model/shape-mismatch", "format/malformed"])
    expect(seen.get(code), code).toBeGreaterThan(3);
});
