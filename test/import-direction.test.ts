/**
 * Imports point one way: lib ← experiments ← workers, lib ← experiments ← server ← app, and inside lib from top to bottom; heavy
 * packages stand in one file.
 */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { expect, test } from "vitest";

const root = resolve(import.meta.dirname, "..");
const allowed: Record<string, readonly string[]> = {
  lib: ["lib"],
  experiments: ["lib", "experiments"],
  bin: ["lib", "experiments", "server", "workers", "bin"],
  workers: ["lib", "experiments", "workers", "server"],
  server: ["lib", "experiments", "server"],
  app: ["app", "server", "experiments", "lib"],
};
/** Native or heavy packages, and the one file that may load each. */
const heavy: Record<string, string> = {
  "onnxruntime-node": "lib/engines/onnxruntime/onnxruntime-node.ts",
  "@tensorflow/tfjs-node": "lib/engines/tensorflow/backend.ts",
  pg: "server/db/database.ts",
  "@aws-sdk/client-s3": "server/artifacts/s3.ts",
  "@huggingface/hub": "lib/checkpoint/hub.ts",
  "@huggingface/tokenizers": "lib/tokenizer/tokenizer.ts",
};

function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true, recursive: true })
    .filter((e) => e.isFile() && /\.tsx?$/.test(e.name) && !/\.test\.ts$/.test(e.name))
    .map((e) => relative(root, join(e.parentPath, e.name)));
}

const importPattern =
  /(?:^|\n)\s*(?:import|export)\s(?:[^;]*?\sfrom\s)?["']([^"']+)["']|import\(\s*["']([^"']+)["']\s*\)/g;

const importsOf = (file: string): string[] =>
  [...readFileSync(join(root, file), "utf8").matchAll(importPattern)].map((m) => m[1] ?? m[2] ?? "");

const folders = Object.keys(allowed).filter((f) => readdirSync(root).includes(f));

test.each(folders)("%s imports only what lies below it", (folder) => {
  const wrong = sources(folder).flatMap((file) =>
    importsOf(file)
      .filter((i) => i.startsWith("."))
      .map((i) => relative(root, resolve(root, dirname(file), i)).split("/")[0] ?? "")
      .filter((top) => !allowed[folder]?.includes(top))
      .map((top) => `${file} imports ${top}`),
  );
  expect(wrong).toEqual([]);
});

test("app takes types alone from server", () => {
  const wrong = sources("app").flatMap((file) =>
    [...readFileSync(join(root, file), "utf8").matchAll(valueImport)]
      .map((m) => m[1] ?? m[2] ?? "")
      .filter((i) => relative(root, resolve(root, dirname(file), i)).startsWith("server/"))
      .map((i) => `${file} imports values of ${i}`),
  );
  expect(wrong).toEqual([]);
});

/** The folders of lib, and the files beside them, from bottom to top: each imports only what stands above it in this list. */
const libOrder = [
  ...["errors", "elements", "cancel", "turn", "random", "float16", "number-text", "units", "stats", "files", "delta"],
  ...["mil", "weights", "formats", "engines", "decoder"],
  ...["eval", "tokenizer", "checkpoint", "train", "compress"],
  ...["cost", "export", "report"],
];
const roomOf = (file: string): string => file.split("/")[1]?.replace(/\.ts$/, "") ?? "";

test("the folders of lib import only those below them", () => {
  const wrong = sources("lib").flatMap((file) =>
    importsOf(file)
      .filter((i) => i.startsWith("."))
      .map((i) => relative(root, resolve(root, dirname(file), i)))
      .filter((target) => {
        const [from, to] = [libOrder.indexOf(roomOf(file)), libOrder.indexOf(roomOf(target))];
        return from < 0 || to < 0 || to > from;
      })
      .map((target) => `${file} imports ${target}`),
  );
  expect(wrong).toEqual([]);
});

/** Types are erased, and may point both ways. */
const valueImport = /(?:^|\n)(?:import|export)\s(?!type\b)[^;]*?from\s"(\.[^"]+)"|import\(\s*"(\.[^"]+)"\s*\)/g;

test("no files import each other's values in a circle", () => {
  const circles: string[] = [];
  const done = new Set<string>();
  const walk = (file: string, path: readonly string[]): void => {
    const at = path.indexOf(file);
    if (at >= 0) circles.push([...path.slice(at), file].join(" → "));
    if (at >= 0 || done.has(file)) return;
    const text = readFileSync(join(root, file), "utf8");
    for (const [, fixed, lazy] of text.matchAll(valueImport))
      walk(relative(root, resolve(root, dirname(file), fixed ?? lazy ?? "")), [...path, file]);
    done.add(file);
  };
  for (const file of folders.filter((f) => f !== "app").flatMap(sources)) walk(file, []);
  expect(circles).toEqual([]);
});

test("a heavy package is loaded in one file, when it is needed", () => {
  const wrong: string[] = [];
  for (const file of folders.flatMap(sources)) {
    for (const [name, home] of Object.entries(heavy)) {
      if (file !== home && importsOf(file).some((i) => i === name || i.startsWith(`${name}/`)))
        wrong.push(`${file} imports ${name}`);
    }
  }
  expect(wrong).toEqual([]);
});

test("lib and experiments read neither the clock nor chance", () => {
  const wrong = ["lib", "experiments"]
    .flatMap(sources)
    .filter((f) => f !== "experiments/starter/train.ts")
    .filter((f) =>
      /Math\.random\(|Date\.now\(|new Date\(\)|performance\.now\(/.test(readFileSync(join(root, f), "utf8")),
    );
  expect(wrong).toEqual([]);
});

test("what a file is stands at its top", () => {
  const late = folders.flatMap(sources).filter((file) => {
    const lines = readFileSync(join(root, file), "utf8").split("\n");
    return lines.findIndex((line) => line.includes("@file")) > 2;
  });
  expect(late).toEqual([]);
});
