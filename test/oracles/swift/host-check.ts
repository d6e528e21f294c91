/**
 * Cases for the probe's host code, and the comparison of what Swift made of them.
 *
 *   host-check.ts make FOLDER      writes cases.json and the files it names
 *   host-check.ts compare FOLDER   reads results.json and report.json that main.swift wrote; exits 1 at the first difference
 *
 * Call tables are expected from a replay, not from the formulas: positions are put into the slots of each cache one by one, and
 * a mask shows the slots whose position a query may see. Tokens are Hugging Face's own library's. Comparisons and reports are those
 * of the workbench.
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { Tokenizer } from "@huggingface/tokenizers";
import { GOLDEN_FORMAT, type Golden } from "../../../experiments/kinds/export/golden.ts";
import { compareWith } from "../../../experiments/probe/compare.ts";
import { probeManifestSchema } from "../../../experiments/probe/manifest.ts";
import { spread } from "../../../experiments/probe/simulate.ts";
import { whyNotEncoded } from "../../../experiments/probe/tokenizer-support.ts";
import { hostInputs } from "../../../lib/decoder/neural-engine/host-part.ts";
import { float16FromFloat32 } from "../../../lib/float16.ts";
import { createRng } from "../../../lib/random.ts";
import { parseReport } from "../../../lib/report/report.ts";

const [verb = "", folder = "."] = process.argv.slice(2);
const rng = createRng(7, "host check");
const half = (values: readonly number[]): number[] => [...float16FromFloat32(Float32Array.from(values))];
const MASKED = -40000;

interface Cache {
  readonly name: string;
  readonly slots: number;
  readonly write: "slice" | "blend";
  readonly attends: "cache" | "cache-then-chunk";
}
interface Fn {
  readonly name: string;
  readonly role: "decode" | "prefill";
  readonly width: number;
  readonly context: number;
  readonly logits: "all" | "last";
  readonly caches: readonly Cache[];
}
const full = (slots: number): Cache => ({ name: "kv_full", slots, write: "slice", attends: "cache" });
const ring = (slots: number, isPrefill: boolean): Cache => ({
  name: "kv_ring",
  slots,
  write: isPrefill ? "blend" : "slice",
  attends: isPrefill ? "cache-then-chunk" : "cache",
});
const context = 13;
const functions: Fn[] = [
  { name: "decode_13", role: "decode", width: 1, context, logits: "all", caches: [full(13), ring(5, false)] },
  { name: "prefill4_13", role: "prefill", width: 4, context, logits: "last", caches: [full(13), ring(5, true)] },
  // Wider than the ring itself.
  { name: "prefill7_13", role: "prefill", width: 7, context, logits: "last", caches: [full(13), ring(5, true)] },
];
const ropes = [
  { cos: "cos_0", sin: "sin_0", inverseFrequencies: [1, 0.5623413324356079, 0.1], attentionFactor: 1 },
  { cos: "cos_1", sin: "sin_1", inverseFrequencies: [0.3, 0.01], attentionFactor: 1.2079441541679836 },
];
const masks = [
  { input: "mask_full", cache: "kv_full", window: null },
  { input: "mask_5", cache: "kv_ring", window: 5 },
  { input: "mask_3", cache: "kv_ring", window: 3 },
] as const;
const neural = {
  version: 1,
  layout: "neural-engine",
  vocab: 50,
  hidden: 8,
  cacheForm: "state",
  beginToken: null,
  startToken: null,
  stopTokens: [],
  embedding: { location: "inside" },
  logits: [{ output: "logits", from: 0, to: 50 }],
  finalSoftcap: null,
  maskedValue: MASKED,
  ropes,
  masks,
  functions,
};
const plain = {
  version: 1,
  layout: "plain",
  vocab: 50,
  stopTokens: [],
  functions: [{ name: "prefill", role: "prefill", width: 4, context }],
};

interface Call {
  readonly interface: object;
  readonly function: string;
  readonly tokens: number[];
  readonly position: number;
}
type Arrays = Record<string, { shape: number[]; kind: "fp16" | "int32"; values: number[] }>;

function allCalls(): { call: Call; expected: Arrays | "refused" }[] {
  const made: { call: Call; expected: Arrays | "refused" }[] = [];
  for (const fn of functions)
    for (let position = 0; position <= context; position++)
      for (let count = 1; count <= fn.width + 1; count++) {
        const tokens = Array.from({ length: count }, () => rng.integer(50));
        const call = { interface: neural, function: fn.name, tokens, position };
        const fits = count <= fn.width && position + count <= context && position + fn.width <= context;
        made.push({ call, expected: fits ? replay(fn, tokens, position) : "refused" });
      }
  made.push(...outsideCalls());
  made.push({
    call: { interface: plain, function: "prefill", tokens: [3, 4], position: 6 },
    expected: {
      ids: { shape: [1, 4], kind: "int32", values: [3, 4, 0, 0] },
      position: { shape: [1], kind: "int32", values: [6] },
    },
  });
  for (const [tokens, position] of [
    [[3], 10],
    [[50], 0],
    [[-1], 0],
    [[], 0],
  ] as const)
    made.push({
      call: { interface: plain, function: "prefill", tokens: [...tokens], position },
      expected: "refused",
    });
  return made;
}

/** Rows looked up in two files: of the embedding, and of a table of per-layer embeddings. */
function outsideCalls(): { call: Call; expected: Arrays | "refused" }[] {
  const [hidden, layers] = [embeddings[0], embeddings[2]] as const;
  if (!hidden || !layers) throw new Error("no tables");
  const outside = {
    ...neural,
    vocab: 5,
    hidden: 6,
    embedding: { location: "host", file: hidden.name, scale: hidden.factor },
    perLayer: { input: "per_layer", file: layers.name, channels: 8, scale: layers.factor },
  };
  const columns = (rows: readonly (readonly number[])[], width: number): Arrays[string] => {
    const channels = rows[0]?.length ?? 0;
    const values = Array.from({ length: channels * width }, (_, i) => rows[i % width]?.[Math.floor(i / width)] ?? 0);
    return { shape: [1, channels, 1, width], kind: "fp16", values };
  };
  const made: { call: Call; expected: Arrays | "refused" }[] = functions.slice(0, 2).map((fn) => {
    const tokens = hidden.tokens.slice(0, fn.width);
    const { ids: _, ...others } = replay(fn, tokens, 2);
    return {
      call: { interface: outside, function: fn.name, tokens, position: 2 },
      expected: {
        ...others,
        hidden: columns(hidden.expected.slice(0, tokens.length), fn.width),
        per_layer: columns(layers.expected.slice(0, tokens.length), fn.width),
      },
    };
  });
  const wrong = { ...outside, perLayer: { ...outside.perLayer, channels: 16 } };
  made.push({ call: { interface: wrong, function: "decode_13", tokens: [1], position: 0 }, expected: "refused" });
  return made;
}

function replay(fn: Fn, tokens: readonly number[], position: number): Arrays {
  const { width } = fn;
  const count = tokens.length;
  const arrays: Arrays = {
    ids: { shape: [1, width], kind: "int32", values: Array.from({ length: width }, (_, i) => tokens[i] ?? 0) },
  };
  for (const rope of ropes) {
    const table = (of: (angle: number) => number): number[] =>
      Array.from({ length: width }, (_, c) => {
        const row = rope.inverseFrequencies.map((f) =>
          Math.fround(of(Math.fround((position + c) * Math.fround(f))) * rope.attentionFactor),
        );
        return [...row, ...row];
      }).flat();
    const shape = [1, 1, width, 2 * rope.inverseFrequencies.length];
    arrays[rope.cos] = { shape, kind: "fp16", values: half(table(Math.cos)) };
    arrays[rope.sin] = { shape, kind: "fp16", values: half(table(Math.sin)) };
  }
  for (const mask of masks) {
    const cache = fn.caches.find((c) => c.name === mask.cache) as Cache;
    // What lies in each slot when it is read.
    const held: (number | null)[] = new Array(cache.slots).fill(null);
    const until = cache.attends === "cache" ? position + count : position;
    for (let q = 0; q < until; q++) held[q % cache.slots] = q;
    const columns: (number | null)[] =
      cache.attends === "cache"
        ? held
        : [...held, ...Array.from({ length: width }, (_, c) => (c < count ? position + c : null))];
    const rows = Array.from({ length: width }, (_, c) =>
      columns.map((key) => {
        const query = position + c;
        const seen = c < count && key !== null && key <= query && (mask.window === null || query - key < mask.window);
        return seen ? 0 : MASKED;
      }),
    );
    arrays[mask.input] = { shape: [1, 1, width, columns.length], kind: "fp16", values: half(rows.flat()) };
  }
  for (const cache of fn.caches) {
    if (cache.write === "slice") {
      const begin = position % cache.slots;
      arrays[`begin_${cache.name}`] = { shape: [1], kind: "int32", values: [begin] };
      arrays[`end_${cache.name}`] = { shape: [1], kind: "int32", values: [begin + width] };
      continue;
    }
    // The token that lies in a slot once all are written, the later over the earlier.
    const winner: (number | null)[] = new Array(cache.slots).fill(null);
    for (let c = 0; c < count; c++) winner[(position + c) % cache.slots] = c;
    const write = winner.map((w) => Array.from({ length: width }, (_, c) => (w === c ? 1 : 0)));
    arrays[`write_${cache.name}`] = { shape: [1, 1, cache.slots, width], kind: "fp16", values: half(write.flat()) };
    const keep = winner.map((w) => (w === null ? 1 : 0));
    arrays[`keep_${cache.name}`] = { shape: [1, 1, cache.slots, 1], kind: "fp16", values: half(keep) };
  }
  if (fn.logits === "last") {
    const select = Array.from({ length: width }, (_, c) => (c === count - 1 ? 1 : 0));
    arrays.select = { shape: [1, 1, 1, width], kind: "fp16", values: half(select) };
  }
  return arrays;
}

const texts = [
  "Once upon a time, there was a tree.",
  "  two  spaces, and a tab\tand\nlines\n\n",
  "Wörter, naïve café, Ωμέγα, 日本語, 🌳🍐 and e\u0301",
  "I'm sure they'll say 3.14159 or 1,000,000!",
  "<bos>written out<eos>",
  "lllll and    four spaces",
  "x",
  " ",
  "",
];

/** Byte-level as GPT-2's, and the form of Llama 2's: small, made from merges of our own. */
function syntheticTokenizers(): Record<string, object> {
  const symbols: string[] = [];
  let shifted = 256;
  for (let byte = 0; byte < 256; byte++) {
    const isPlain = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    symbols.push(String.fromCodePoint(isPlain ? byte : shifted++));
  }
  const learn = (vocab: Record<string, number>, pairs: readonly [string, string][]): [string, string][] => {
    for (const [a, b] of pairs) vocab[a + b] ??= Object.keys(vocab).length;
    return [...pairs];
  };
  const special = (id: number, content: string) => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  });
  const byteLevel: Record<string, number> = Object.fromEntries(symbols.map((s, i) => [s, i]));
  const g = symbols[32] as string;
  const byteMerges = learn(byteLevel, [
    ["t", "h"],
    [g, "th"],
    [`${g}th`, "e"],
    [g, "a"],
    ["i", "n"],
    ["e", "r"],
    [g, g],
    ["l", "l"],
    ["'", "ll"],
    ["1", "4"],
    ["r", "e"],
    ["re", "e"],
  ]);
  const gpt2 = {
    added_tokens: [special(400, "<eos>"), special(401, "<bos>")],
    normalizer: null,
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: null,
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: { type: "BPE", vocab: byteLevel, merges: byteMerges, unk_token: null, byte_fallback: false },
  };
  const llama3 = {
    ...gpt2,
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        {
          type: "Split",
          pattern: {
            Regex:
              "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
          },
          behavior: "Isolated",
          invert: false,
        },
        { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false },
      ],
    },
    model: { ...gpt2.model, ignore_merges: true },
  };
  const smol = {
    ...gpt2,
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [{ type: "Digits", individual_digits: true }, gpt2.pre_tokenizer],
    },
  };
  const pieces: Record<string, number> = { "<unk>": 0, "<bos>": 1, "<eos>": 2 };
  for (let byte = 0; byte < 256; byte++)
    pieces[`<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`] = Object.keys(pieces).length;
  for (const c of "▁abcdefghijklmnopqrstuvwxyzOIW.,'!3149") pieces[c] = Object.keys(pieces).length;
  const pieceMerges = learn(pieces, [
    ["▁", "t"],
    ["▁t", "h"],
    ["▁th", "e"],
    ["▁", "a"],
    ["e", "r"],
    ["▁", "▁"],
    ["r", "e"],
    ["l", "l"],
    ["n", "d"],
    ["▁a", "nd"],
  ]);
  const llama2 = {
    added_tokens: [special(0, "<unk>"), special(1, "<bos>"), special(2, "<eos>")],
    normalizer: {
      type: "Sequence",
      normalizers: [
        { type: "Prepend", prepend: "▁" },
        { type: "Replace", pattern: { String: " " }, content: "▁" },
      ],
    },
    pre_tokenizer: null,
    post_processor: null,
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: "▁" }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        { type: "Strip", content: " ", start: 1, stop: 0 },
      ],
    },
    model: { type: "BPE", vocab: pieces, merges: pieceMerges, unk_token: "<unk>", fuse_unk: true, byte_fallback: true },
  };
  const gemma = {
    ...llama2,
    normalizer: { type: "Replace", pattern: { String: " " }, content: "▁" },
    pre_tokenizer: { type: "Split", pattern: { String: " " }, behavior: "MergedWithPrevious", invert: false },
    decoder: { type: "Sequence", decoders: llama2.decoder.decoders.slice(0, 3) },
  };
  return { gpt2, llama3, smol, llama2, gemma };
}

function comparisons(): { golden: Golden; rows: number[][]; greedy: number[] }[] {
  return [0.01, 0.2, 3].map((noise, i) => {
    const vocab = 12;
    const exact = Array.from({ length: 6 }, () => Array.from({ length: vocab }, () => Math.fround(3 * rng.normal())));
    const positions = exact.map((row, position) => {
      const tokens = [...row.keys()].sort((a, b) => (row[b] as number) - (row[a] as number)).slice(0, 4);
      const logSumExp = Math.log(row.reduce((n, z) => n + Math.exp(z), 0));
      return { position, tokens, logits: tokens.map((t) => row[t] as number), logSumExp };
    });
    const golden: Golden = {
      format: GOLDEN_FORMAT,
      vocab,
      tolerance: 0.5,
      sequences: [{ name: "s", prompt: [1, 2, 3], greedy: [4, 5, 6, 7], margins: [2, 0.1, 1, 1], positions }],
      cases: [{ name: "decode at 8", decode: "decode", prefill: null, context: 8, sequence: 0 }],
    };
    const rows = exact.map((row) => row.map((z) => Math.fround(z + noise * rng.normal())));
    return { golden, rows, greedy: [[4, 5, 6, 7], [4, 9, 6, 7], [9]][i] as number[] };
  });
}

function embeddingFiles(): {
  name: string;
  bytes: Uint8Array;
  expected: number[][];
  factor: number;
  tokens: number[];
}[] {
  const [vocab, hidden, factor] = [5, 6, 11.3137];
  const f32 = Math.fround;
  const widened = (bits: number): number => new Float32Array(halfToFloat([bits]))[0] as number;
  const file = (tensors: [string, string, number[], Uint8Array][]): Uint8Array => {
    let at = 0;
    const header: Record<string, object> = {};
    for (const [name, dtype, shape, data] of tensors) {
      header[name] = { dtype, shape, data_offsets: [at, at + data.length] };
      at += data.length;
    }
    const json = new TextEncoder().encode(JSON.stringify(header));
    const length = new Uint8Array(8);
    new DataView(length.buffer).setBigUint64(0, BigInt(json.length), true);
    return Buffer.concat([length, json, ...tensors.map((t) => t[3])]);
  };
  const tokens = [0, 4, 2];
  const rows = half(Array.from({ length: vocab * hidden }, () => rng.normal()));
  const codes = Int8Array.from({ length: vocab * hidden }, () => rng.integer(255) - 127);
  const scales = half(Array.from({ length: vocab }, () => 0.01 + 0.02 * rng.uniform()));
  const pick = (of: (i: number, token: number) => number): number[][] =>
    tokens.map((t) => half(Array.from({ length: hidden }, (_, c) => of(t * hidden + c, t))));
  const bytesOf = (values: readonly number[]): Uint8Array => new Uint8Array(Uint16Array.from(values).buffer);
  const scale = (value: number): number => f32(value * f32(factor));
  const rounded = (value: number): number => widened(half([value])[0] as number);
  /** Numbers of `bits` bits, written into one long number bit by bit, the lowest first. */
  const packed = (values: readonly number[], bits: number): Uint8Array => {
    const all = values.reduce((n, v, i) => n | ((BigInt(v) & ((1n << BigInt(bits)) - 1n)) << BigInt(i * bits)), 0n);
    return Uint8Array.from({ length: (values.length * bits) / 8 }, (_, i) => Number((all >> BigInt(8 * i)) & 255n));
  };
  // Two rows and four columns to a scale.
  const nibbles = Array.from({ length: 6 * 8 }, () => rng.integer(16) - 8);
  const blocks = half(Array.from({ length: 6 }, () => 0.01 + 0.02 * rng.uniform()));
  const shifts = Int8Array.from({ length: 6 }, () => rng.integer(16) - 8);
  const inBlock = (t: number, c: number): number => Math.floor(t / 2) * 2 + Math.floor(c / 4);
  const palettes = ([1, 3, 6, 8] as const).map((bits) => {
    // Eight columns, so that rows end with a byte; three rows to a table.
    const indices = Array.from({ length: 6 * 8 }, () => rng.integer(2 ** bits));
    const tables = half(Array.from({ length: 2 * 2 ** bits }, () => rng.normal()));
    return {
      name: `palette${bits}.safetensors`,
      bytes: file([
        ["tables", "F16", [2, 2 ** bits], bytesOf(tables)],
        ["indices", "U8", [6, bits], packed(indices, bits)],
      ]),
      expected: tokens.map((t) =>
        half(
          Array.from({ length: 8 }, (_, c) =>
            scale(widened(tables[Math.floor(t / 3) * 2 ** bits + (indices[t * 8 + c] as number)] as number)),
          ),
        ),
      ),
      factor,
      tokens,
    };
  });
  return [
    {
      name: "plain.safetensors",
      bytes: file([["embedding", "F16", [vocab, hidden], bytesOf(rows)]]),
      expected: pick((i) => scale(widened(rows[i] as number))),
      factor,
      tokens,
    },
    {
      name: "codes.safetensors",
      bytes: file([
        ["codes", "I8", [vocab, hidden], new Uint8Array(codes.buffer)],
        ["scales", "F16", [vocab, 1], bytesOf(scales)],
      ]),
      expected: pick((i, t) => scale(rounded(f32((codes[i] as number) * widened(scales[t] as number))))),
      factor,
      tokens,
    },
    {
      name: "nibbles.safetensors",
      bytes: file([
        ["scales", "F16", [3, 2], bytesOf(blocks)],
        ["codes", "U8", [6, 4], packed(nibbles, 4)],
        ["offsets", "I8", [3, 2], new Uint8Array(shifts.buffer)],
      ]),
      expected: tokens.map((t) =>
        half(
          Array.from({ length: 8 }, (_, c) => {
            const block = inBlock(t, c);
            const code = (nibbles[t * 8 + c] as number) - (shifts[block] as number);
            return scale(rounded(f32(widened(blocks[block] as number) * code)));
          }),
        ),
      ),
      factor,
      tokens,
    },
    ...palettes,
  ];
}

/** fp16 bits as numbers, by the definition of the format. */
function halfToFloat(bits: readonly number[]): number[] {
  return bits.map((b) => {
    const [sign, exponent, fraction] = [b >> 15 ? -1 : 1, (b >> 10) & 31, b & 1023];
    return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  });
}

/** A cap that is the host's, one that the package applies itself, and none. */
const uncapped = [-71.5, -3, -0.25, 0, 1e-3, 12.5, 300];
const softCaps = [
  { finalSoftcap: { cap: 30, applied: false }, expected: uncapped.map((z) => Math.fround(30 * Math.tanh(z / 30))) },
  { finalSoftcap: { cap: 30, applied: true }, expected: uncapped.map(Math.fround) },
  { finalSoftcap: null, expected: uncapped.map(Math.fround) },
];

/** What begins a text and what ends one, several tokens among them. */
const chosen = [7, 9, 2, 426, 9];
const prompts = [
  {
    drive: { beginToken: 1, startToken: 2, stopTokens: [2, 426] },
    text: [5, 6],
    expected: [
      [1, 5, 6],
      [7, 9],
    ],
  },
  { drive: { beginToken: 1, startToken: 2, stopTokens: [426] }, text: [], expected: [[1], [7, 9, 2]] },
  { drive: { beginToken: null, startToken: 2, stopTokens: [] }, text: [5], expected: [[5], chosen] },
  { drive: { beginToken: null, startToken: 2, stopTokens: [7] }, text: [], expected: [[2], []] },
  { drive: { beginToken: null, startToken: null, stopTokens: [9] }, text: [], expected: [[], [7]] },
];

const links = [
  "espalier-probe://pair?server=http%3A%2F%2F192.168.178.21%3A3000&token=abc-_&package=0123456789ab",
  "https://example.com/pair?server=http%3A%2F%2Fa&token=b",
  "espalier-probe://pair?server=file%3A%2F%2F%2Fetc&token=b",
  "espalier-probe://pair?server=http%3A%2F%2Fa&token=",
  "nonsense",
];
const times = Array.from({ length: 37 }, () => 1 + rng.uniform());

const embeddings = embeddingFiles();
const calls = allCalls();
const compared = comparisons();
const starter = JSON.parse(await readFile("experiments/starter/model/tokenizer.json", "utf8")) as object;
const tokenizers: Record<string, object> = { starter, ...syntheticTokenizers() };

function assert(holds: boolean, what: string, found?: unknown, expected?: unknown): void {
  if (holds) return;
  process.stderr.write(
    `host-check: ${what}\n  found    ${JSON.stringify(found)}\n  expected ${JSON.stringify(expected)}\n`,
  );
  process.exit(1);
}

if (verb === "make") {
  await mkdir(folder, { recursive: true });
  for (const [name, json] of Object.entries(tokenizers)) {
    assert(whyNotEncoded(json) === "", `the tokenizer ${name} is said to be unknown`, whyNotEncoded(json), "");
    await writeFile(join(folder, `${name}.json`), JSON.stringify(json));
  }
  for (const e of embeddings) await writeFile(join(folder, e.name), e.bytes);
  const cases = {
    calls: calls.map((c) => c.call),
    tokenizers: Object.keys(tokenizers).map((name) => ({ file: `${name}.json`, texts })),
    comparisons: compared,
    embeddings: embeddings.map(({ name, factor, tokens }) => ({ file: name, factor, tokens })),
    softCaps: softCaps.map(({ finalSoftcap }) => ({ interface: { ...neural, finalSoftcap }, logits: uncapped })),
    prompts: prompts.map(({ drive, text }) => ({ interface: { ...neural, ...drive }, text, chosen })),
    links,
    times,
  };
  await writeFile(join(folder, "cases.json"), JSON.stringify(cases));
} else {
  // What main.swift wrote, which is ours.
  const results = JSON.parse(await readFile(join(folder, "results.json"), "utf8")) as {
    calls: Arrays[];
    exported: { function: string; position: number; count: number; inputs: Arrays }[];
    refusals: string[];
    tokenizers: { ids: number[][]; texts: string[] }[];
    comparisons: Record<string, unknown>[];
    embeddings: number[][][];
    softCaps: number[][];
    prompts: number[][][];
    links: string[];
  };
  for (const [i, { call, expected }] of calls.entries()) {
    const what = `${call.function}, ${call.tokens.length} tokens at ${call.position}`;
    const found = results.calls[i] ?? {};
    if (expected === "refused") {
      assert(results.refusals[i] !== "", `${what} was not refused`, found);
      continue;
    }
    assert(results.refusals[i] === "", `${what} was refused`, results.refusals[i]);
    assert(
      isDeepStrictEqual(Object.keys(found).sort(), Object.keys(expected).sort()),
      `${what}: names`,
      Object.keys(found),
      Object.keys(expected),
    );
    for (const [name, array] of Object.entries(expected))
      assert(isDeepStrictEqual(found[name], array), `${what}: ${name}`, found[name], array);
  }
  // A real export, against the host that the workbench itself drives packages with.
  const manifest = probeManifestSchema.parse(JSON.parse(await readFile(join(folder, "probe.json"), "utf8")));
  const description = manifest.interface;
  for (const { function: name, position, count, inputs } of results.exported) {
    const fn = description.layout === "neural-engine" ? description.functions.find((f) => f.name === name) : undefined;
    if (description.layout !== "neural-engine" || !fn) throw new Error(`the export has no function ${name}`);
    for (const [input, { shape, values }] of Object.entries(hostInputs(description, fn, { position, count }))) {
      const expected =
        values instanceof Int32Array
          ? { shape: [...shape], kind: "int32", values: [...values] }
          : { shape: [...shape], kind: "fp16", values: half([...values]) };
      assert(
        isDeepStrictEqual(inputs[input], expected),
        `${name}, ${count} tokens at ${position}: ${input}`,
        inputs[input],
        expected,
      );
    }
  }
  assert(results.exported.length >= 12, "too few calls of the export", results.exported.length);
  for (const [i, [name, json]] of Object.entries(tokenizers).entries()) {
    const library = new Tokenizer(json, { clean_up_tokenization_spaces: false });
    for (const [j, text] of texts.entries()) {
      const ids = text === "" ? [] : library.encode(text, { add_special_tokens: false }).ids;
      assert(
        isDeepStrictEqual(results.tokenizers[i]?.ids[j], ids),
        `tokens of ${JSON.stringify(text)} by ${name}`,
        results.tokenizers[i]?.ids[j],
        ids,
      );
      const back =
        ids.length === 0 ? "" : library.decode(ids, { skip_special_tokens: true, clean_up_tokenization_spaces: false });
      assert(
        results.tokenizers[i]?.texts[j] === back,
        `text of ${JSON.stringify(text)} by ${name}`,
        results.tokenizers[i]?.texts[j],
        back,
      );
    }
  }
  for (const [i, { golden, rows, greedy }] of compared.entries()) {
    const comparison = compareWith(golden, golden.cases[0] as Golden["cases"][number]);
    for (const [position, row] of rows.entries()) comparison.add(position, Float32Array.from(row));
    for (const [key, value] of Object.entries(comparison.finish(greedy))) {
      const found = results.comparisons[i]?.[key] ?? null;
      const same =
        typeof value === "number" && typeof found === "number"
          ? Math.abs(found - value) <= 1e-9 * Math.max(1, Math.abs(value))
          : found === value;
      assert(same, `comparison ${i}: ${key}`, found, value);
    }
  }
  for (const [i, e] of embeddings.entries())
    assert(
      isDeepStrictEqual(results.embeddings[i], e.expected),
      `rows of ${e.name}`,
      results.embeddings[i],
      e.expected,
    );
  for (const [i, { expected }] of softCaps.entries())
    for (const [j, z] of expected.entries()) {
      const found = results.softCaps[i]?.[j] ?? Number.NaN;
      assert(Math.abs(found - z) <= 4e-6 * Math.max(1, Math.abs(z)), `soft cap ${i} of ${uncapped[j]}`, found, z);
    }
  for (const [i, { expected }] of prompts.entries())
    assert(isDeepStrictEqual(results.prompts[i], expected), `prompt ${i}`, results.prompts[i], expected);
  const expectedLinks = [
    "http://192.168.178.21:3000/api/reports abc-_ 0123456789ab",
    "refused",
    "refused",
    "refused",
    "refused",
  ];
  assert(isDeepStrictEqual(results.links, expectedLinks), "links", results.links, expectedLinks);
  const report = parseReport(await readFile(join(folder, "report.json")));
  const [run] = report.runs;
  const [found, wanted] = [run?.decode[0]?.perToken, spread(times)];
  for (const key of ["count", "mean", "median", "p5", "p95"] as const)
    assert(Math.abs((found?.[key] ?? 0) - wanted[key]) < 1e-9, `times: ${key}`, found?.[key], wanted[key]);
  assert(run?.parity.length === compared.length && run.placement[0]?.operations[0]?.cost === 0.5, "the report", run);
  process.stdout.write(
    `${calls.length} calls, ${results.exported.length} of a real export, ${Object.keys(tokenizers).length} tokenizers × ${texts.length} texts, ${compared.length} comparisons, ${embeddings.length} embeddings, a report: Swift agrees\n`,
  );
}
