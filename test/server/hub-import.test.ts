/** Imports from a hub that is a folder behind `fetch`: followed, checked, cancelled, refused. */
import { copyFile, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openHubImports } from "../../server/models/hub-import.ts";
import { getModel } from "../../server/models/model-registry.ts";
import { temporaryFolder, writeTinyCheckpoint } from "../fixtures/tiny-model.ts";
import { openTestCore } from "./workbench-fixture.ts";

const starter = join(import.meta.dirname, "../../experiments/starter/model");

/** A checkpoint with a tokenizer, and what a repository holds beside it. */
async function repository(): Promise<string> {
  const folder = join(await temporaryFolder(), "hub");
  await writeTinyCheckpoint(folder, "llama");
  await copyFile(join(starter, "tokenizer.json"), join(folder, "tokenizer.json"));
  await writeFile(join(folder, "chat_template.jinja"), "{{ messages }}");
  await writeFile(join(folder, "README.md"), "not for a decoder");
  await copyFile(join(folder, "model.safetensors"), join(folder, "consolidated.safetensors"));
  return folder;
}

/** The two things the hub is asked: what lies there, and a file, whole or a range of it. */
function hubOf(folder: string, slow?: Promise<void>): typeof fetch {
  return async (input, init) => {
    const { pathname } = new URL(input instanceof Request ? input.url : String(input));
    if (pathname.startsWith("/api/models/tiny/llama/tree/")) {
      const names = await readdir(folder);
      const entries = await Promise.all(
        names.map(async (path) => ({
          type: "file",
          path,
          size: (await readFile(join(folder, path))).length,
          oid: "0",
        })),
      );
      return Response.json(entries);
    }
    const name = /^\/tiny\/llama\/resolve\/main\/(.+)$/.exec(pathname)?.[1];
    if (!name) return new Response("not found", { status: 404 });
    await slow;
    const bytes = await readFile(join(folder, name));
    const range = /bytes=(\d+)-(\d*)/.exec(new Headers(init?.headers).get("range") ?? "");
    const [from, to] = [Number(range?.[1] ?? 0), Math.min(bytes.length - 1, Number(range?.[2] || bytes.length - 1))];
    return new Response(new Uint8Array(bytes.subarray(from, to + 1)), {
      status: range ? 206 : 200,
      headers: {
        "content-length": String(to + 1 - from),
        "content-range": `bytes ${from}-${to}/${bytes.length}`,
        etag: '"1"',
      },
    });
  };
}

const ended = async (imports: ReturnType<typeof openHubImports>, id: string) => {
  await expect
    .poll(() => imports.list().find((i) => i.as === id)?.state, { timeout: 30_000 })
    .toMatch(/ready|failed|cancelled/);
  return imports.list().find((i) => i.as === id);
};

test("a repository becomes a model, counted byte by byte", async () => {
  const core = await openTestCore("embedded");
  const folder = await repository();
  const imports = openHubImports(core, hubOf(folder));
  const { files, sizeBytes } = await imports.size("tiny/llama", "main");
  expect(files).toBe(4);
  imports.start("tiny/llama", "main", "tiny");
  expect(() => imports.start("tiny/llama", "main", "tiny")).toThrow(/already being imported/);
  expect(await ended(imports, "tiny")).toMatchObject({ state: "ready", doneBytes: sizeBytes, totalBytes: sizeBytes });
  expect((await getModel(core, "tiny")).facts.family).toBe("llama");
  await imports.close();
  await core.close();
});

test("a download that is cancelled, cut or no checkpoint leaves nothing behind", async () => {
  const core = await openTestCore("embedded");
  const folder = join(await temporaryFolder(), "hub");
  await writeTinyCheckpoint(folder, "llama");
  let go = (): void => undefined;
  const imports = openHubImports(core, hubOf(folder, new Promise((resolve) => (go = resolve))));
  imports.start("tiny/llama", "main", "slow");
  await expect.poll(() => imports.list()[0]?.totalBytes, { timeout: 10_000 }).toBeGreaterThan(0);
  expect(imports.cancel("slow")).toBe(true);
  go();
  expect((await ended(imports, "slow"))?.state).toBe("cancelled");
  const weights = await readFile(join(folder, "model.safetensors"));
  await writeFile(join(folder, "model.safetensors"), weights.subarray(0, 900));
  imports.start("tiny/llama", "main", "cut");
  expect(await ended(imports, "cut")).toMatchObject({ state: "failed", error: expect.stringMatching(/safetensors/) });
  await expect(getModel(core, "cut")).rejects.toMatchObject({ code: "model/missing-file" });
  expect(await readdir(join(core.dataDirectory, "work"))).toEqual([]);
  await expect(imports.size("tiny/none", "main")).rejects.toMatchObject({ code: "model/missing-file" });
  await expect(imports.size("../etc", "main")).rejects.toMatchObject({ code: "input/invalid" });
  await imports.close();
  await core.close();
});
