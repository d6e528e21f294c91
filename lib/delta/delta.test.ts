/** Deltas between files and folders: small, exact, checked, refused when anything is wrong. */
import { createHash, generateKeyPairSync } from "node:crypto";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { deflateRawSync } from "node:zlib";
import { expect, test } from "vitest";
import { temporaryFolder } from "../../test/fixtures/tiny-model.ts";
import { withOutputDirectory } from "../files/atomic.ts";
import { createRng } from "../random.ts";
import { applyDelta } from "./apply-delta.ts";
import { firstChunk } from "./content-chunks.ts";
import { MAGIC, readKey, trailerOf } from "./delta-file.ts";
import { writeDelta } from "./write-delta.ts";

const folder = await temporaryFolder();

function noise(count: number, seed: number): Buffer {
  const rng = createRng(seed, "noise");
  return Buffer.from(Uint8Array.from({ length: count }, () => rng.integer(256)));
}

async function written(name: string, files: Readonly<Record<string, Uint8Array>>): Promise<string> {
  const root = join(folder, name);
  for (const [path, bytes] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), bytes);
  }
  return root;
}

const weights = noise(3_000_000, 1);
const layer = noise(300_000, 2);
const tuned = Buffer.concat([weights.subarray(0, 1_000_000), layer, weights.subarray(1_300_000)]);
const before = await written("before", {
  "data/weight.bin": weights,
  "model.mlmodel": noise(5000, 3),
  "gone.txt": noise(10, 4),
});
const after = await written("after", {
  "data/weight.bin": tuned,
  "model.mlmodel": noise(5000, 3),
  "new/empty.txt": Buffer.alloc(0),
});

test("a folder whose one layer changed costs that layer's bytes, and comes out byte for byte", async () => {
  const delta = join(folder, "one-layer.delta");
  const made = await writeDelta(before, after, delta);
  expect(made).toMatchObject({ oldBytes: 3_005_010, newBytes: 3_005_000 });
  expect(made.sizeBytes).toBe((await readFile(delta)).length);
  expect(made.sizeBytes).toBeGreaterThan(300_000);
  // The chunks at both ends of the change are added whole.
  expect(made.sizeBytes).toBeLessThan(300_000 + 2 * 65_536);
  expect(made.files.map((f) => [f.path, f.addedBytes > 0])).toEqual([
    ["data/weight.bin", true],
    ["model.mlmodel", false],
    ["new/empty.txt", false],
  ]);
  const out = join(folder, "patched");
  expect(await applyDelta(before, delta, out)).toEqual({ newBytes: 3_005_000, files: 3, isSigned: false });
  expect((await readFile(join(out, "data/weight.bin"))).equals(tuned)).toBe(true);
  expect((await readFile(join(out, "model.mlmodel"))).equals(noise(5000, 3))).toBe(true);
  expect(await readFile(join(out, "new/empty.txt"))).toHaveLength(0);
  expect((await readdir(out, { recursive: true })).sort()).toEqual(
    ["data", "data/weight.bin", "model.mlmodel", "new", "new/empty.txt"].sort(),
  );
});

test("the other direction too, and of equal folders there is nothing to add", async () => {
  const back = join(folder, "back.delta");
  await writeDelta(after, before, back);
  const out = join(folder, "back");
  await applyDelta(after, back, out);
  expect((await readFile(join(out, "data/weight.bin"))).equals(weights)).toBe(true);
  expect(await readFile(join(out, "gone.txt"))).toHaveLength(10);
  const none = await writeDelta(after, after, join(folder, "none.delta"));
  expect(none.addedBytes).toBe(0);
  expect(none.sizeBytes).toBeLessThan(1000);
});

test("bytes put in shift no cut beyond their own", async () => {
  const inserted = Buffer.concat([
    weights.subarray(0, 500_000),
    Buffer.from("seventeen bytes.."),
    weights.subarray(500_000),
  ]);
  const [a, b] = [await written("a", { f: weights }), await written("b", { f: inserted })];
  const { addedBytes } = await writeDelta(join(a, "f"), join(b, "f"), join(folder, "shift.delta"));
  expect(addedBytes).toBeLessThan(2 * 65_536);
  const out = join(folder, "shifted");
  await applyDelta(join(a, "f"), join(folder, "shift.delta"), out);
  expect((await readFile(out)).equals(inserted)).toBe(true);
  await expect(applyDelta(join(a, "f"), join(folder, "shift.delta"), out)).rejects.toThrow("exists already");
  await expect(applyDelta(join(a, "f"), join(folder, "shift.delta"), out, { replace: true })).rejects.toThrow(
    "exists already",
  );
  await expect(writeDelta(join(a, "f"), join(b, "f"), out)).rejects.toThrow("exists already");
});

test("chunks lie between 2 and 64 kB, about 8 on average, and cover their bytes", () => {
  const sizes: number[] = [];
  for (let at = 0; at < weights.length; at += sizes.at(-1) ?? 1) sizes.push(firstChunk(weights.subarray(at)));
  expect(sizes.reduce((a, b) => a + b, 0)).toBe(weights.length);
  expect(Math.max(...sizes)).toBeLessThanOrEqual(65_536);
  expect(Math.min(...sizes.slice(0, -1))).toBeGreaterThan(2048);
  const mean = weights.length / sizes.length;
  expect(mean).toBeGreaterThan(5_000);
  expect(mean).toBeLessThan(14_000);
});

test("another old version, a damaged delta and a cut one are refused before anything is written", async () => {
  const delta = join(folder, "checked.delta");
  await writeDelta(before, after, delta);
  const changed = await written("changed", { "data/weight.bin": tuned, "model.mlmodel": noise(5000, 3) });
  const out = join(folder, "never");
  await expect(applyDelta(changed, delta, out)).rejects.toMatchObject({
    code: "input/invalid",
    message: expect.stringMatching(/weight\.bin has the SHA-256 [0-9a-f]{12}, the delta starts from [0-9a-f]{12}/),
  });
  const bytes = await readFile(delta);
  for (const at of [3, 9, 5000, bytes.length - 150, bytes.length - 100, bytes.length - 70]) {
    const damaged = Buffer.from(bytes);
    damaged[at] = (damaged[at] ?? 0) ^ 1;
    await writeFile(join(folder, "damaged.delta"), damaged);
    await expect(applyDelta(before, join(folder, "damaged.delta"), out)).rejects.toMatchObject({
      code: expect.stringMatching(/^format\//),
    });
  }
  for (const length of [0, 11, 100, bytes.length - 1]) {
    await writeFile(join(folder, "short.delta"), bytes.subarray(0, length));
    await expect(applyDelta(before, join(folder, "short.delta"), out)).rejects.toMatchObject({
      code: expect.stringMatching(/^format\//),
    });
  }
  expect(await readdir(folder)).not.toContain("never");
});

test("a delta that names a place outside its folder is refused", async () => {
  for (const path of ["../escape", "/etc/passwd", "a/../../b", "a\\b"]) {
    const sha256 = createHash("sha256").update("").digest("hex");
    const header = deflateRawSync(
      JSON.stringify({ folder: true, old: [], new: [{ path, sizeBytes: 0, sha256, parts: [] }] }),
    );
    const start = Buffer.alloc(12);
    start.write(MAGIC, "latin1");
    start.writeUInt32LE(1, 8);
    const body = Buffer.concat([start, header]);
    const evil = Buffer.concat([body, trailerOf(12, header.length, createHash("sha256").update(body), null)]);
    await writeFile(join(folder, "evil.delta"), evil);
    await expect(applyDelta(before, join(folder, "evil.delta"), join(folder, "evil"))).rejects.toThrow(
      "is no path inside a folder",
    );
  }
});

test("a signature is made and asked for with Ed25519 keys", async () => {
  const keys = generateKeyPairSync("ed25519");
  const others = generateKeyPairSync("ed25519");
  const pem = join(folder, "private.pem");
  await writeFile(pem, keys.privateKey.export({ type: "pkcs8", format: "pem" }));
  const [signed, bare] = [join(folder, "signed.delta"), join(folder, "bare.delta")];
  await writeDelta(before, after, signed, { signingKey: await readKey(pem, "private") });
  await writeDelta(before, after, bare);
  const out = join(folder, "signed");
  expect(await applyDelta(before, signed, out, { trusted: keys.publicKey })).toMatchObject({ isSigned: true });
  const refused = { code: "access/denied" };
  await expect(applyDelta(before, signed, join(folder, "x"), { trusted: others.publicKey })).rejects.toMatchObject(
    refused,
  );
  await expect(applyDelta(before, bare, join(folder, "x"), { trusted: keys.publicKey })).rejects.toMatchObject(refused);
  const rsa = join(folder, "rsa.pem");
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 1024 });
  await writeFile(rsa, privateKey.export({ type: "pkcs8", format: "pem" }));
  await expect(readKey(rsa, "private")).rejects.toThrow("no private Ed25519 key");
});

test("a folder with Espalier's mark gets a new mark, and may be replaced by its own patch", async () => {
  const own = join(folder, "own");
  await withOutputDirectory(own, (p) => writeFile(join(p, "f"), weights), { marked: true });
  const next = await written("next", { f: tuned });
  const delta = join(folder, "own.delta");
  await writeDelta(own, next, delta);
  await expect(applyDelta(own, delta, own)).rejects.toThrow("exists already");
  await applyDelta(own, delta, own, { replace: true });
  expect((await readFile(join(own, "f"))).equals(tuned)).toBe(true);
  await expect(applyDelta(own, delta, own, { replace: true })).rejects.toThrow("the delta starts from");
  await expect(applyDelta(join(own, "f"), delta, join(folder, "y"))).rejects.toThrow("starts from a folder");
});
