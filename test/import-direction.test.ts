/** Imports point one way: lib ← experiments ← workers, lib ← experiments ← server ← app; heavy packages stand in one file. */
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
  "onnxruntime-node": "lib/engines/onnxruntime/engine.ts",
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
