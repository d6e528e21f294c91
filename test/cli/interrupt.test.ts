/** A long command stopped with Ctrl-C: says so, leaves nothing half done, and goes on where it was. */
import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { heldOutDocuments, SEPARATOR, trainingDocuments } from "../../experiments/starter/corpus.ts";
import { writeCheckpoint } from "../../lib/checkpoint/write-checkpoint.ts";
import { architectureOf } from "../../lib/decoder/families/registry.ts";
import { initializeWeights } from "../../lib/decoder/initialize.ts";
import { folderFiles } from "../../lib/files/named-files.ts";
import { float32Data, type Tensor } from "../../lib/mil/tensor.ts";
import { createRng } from "../../lib/random.ts";
import { temporaryFolder, tinyConfigs } from "../fixtures/tiny-model.ts";

const root = resolve(import.meta.dirname, "../..");
const folder = await temporaryFolder();

/** A tiny model with the starter's tokenizer. */
async function tiny(name: string, seed: number): Promise<string> {
  const config = { ...tinyConfigs.llama, vocab_size: 1024, bos_token_id: 2, eos_token_id: 1 };
  const architecture = architectureOf(config);
  const weights = initializeWeights(architecture, createRng(seed, "interrupt"));
  await writeCheckpoint(join(folder, name), {
    architecture,
    config,
    dtype: "f32",
    copyFrom: folderFiles(join(root, "experiments/starter/model")),
    weight: async (flat) => {
      const t = weights.tensors.get(flat) as Tensor;
      return { kind: "dense", dtype: "fp32", shape: t.shape, values: float32Data(t) };
    },
  });
  return join(folder, name);
}

interface Finished {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Runs the command; `onText` sees all of standard error so far and may send a signal. */
function espalier(args: string[], onText?: (text: string, kill: () => void) => void): Promise<Finished> {
  const child = spawn(process.execPath, ["bin/espalier.js", ...args], {
    cwd: root,
    env: { ...process.env, ESPALIER_DATA: join(folder, "data"), NO_COLOR: "1" },
  });
  let out = "";
  let err = "";
  child.stdout.on("data", (chunk) => {
    out += String(chunk);
  });
  child.stderr.on("data", (chunk) => {
    err += String(chunk);
    onText?.(err, () => child.kill("SIGINT"));
  });
  return new Promise((done) => child.on("close", (code) => done({ code, out, err })));
}

test("an interrupted distillation ends with 130, leaves no output, and a second run gives what an undisturbed one gives", async () => {
  const [teacher, student] = [await tiny("teacher", 1), await tiny("student", 2)];
  const next = trainingDocuments(3);
  const text = join(folder, "train.txt");
  writeFileSync(text, Array.from({ length: 60 }, next).join(SEPARATOR));
  const heldOut = join(folder, "held-out.txt");
  writeFileSync(heldOut, heldOutDocuments("select", 4).join(SEPARATOR));
  const distill = (out: string): string[] =>
    ["distill", teacher, "--student", student, "--text", text, "--held-out", heldOut, "--separator", SEPARATOR].concat([
      ...["--out", join(folder, out), "--steps", "120", "--evaluate-every", "10", "--context", "32", "--batch", "2"],
      ...["--threads", "1", "--json"],
    ]);

  let killed = false;
  const stopped = await espalier(distill("taught"), (err, kill) => {
    if (killed || !err.includes("step 20:")) return;
    killed = true;
    kill();
  });
  expect(stopped.code).toBe(130);
  expect(JSON.parse(stopped.out)).toMatchObject({ error: { code: "run/cancelled" } });
  expect(existsSync(join(folder, "taught"))).toBe(false);
  expect(readdirSync(folder).filter((name) => name.includes("partial"))).toEqual([]);
  expect(readdirSync(folder).some((name) => name.startsWith("taught.training-"))).toBe(true);

  const resumed = await espalier(distill("taught"));
  expect(resumed.code).toBe(0);
  const { resumedFrom } = JSON.parse(resumed.out);
  expect(resumedFrom).toBeGreaterThanOrEqual(20);
  expect(resumedFrom).toBeLessThan(120);
  expect(resumed.err).toContain(`resuming at step ${resumedFrom}`);
  // What it needed to go on is gone with the result there.
  expect(readdirSync(folder).filter((name) => name.startsWith("taught"))).toEqual(["taught"]);

  const undisturbed = await espalier(distill("undisturbed"));
  expect(JSON.parse(undisturbed.out)).toMatchObject({ resumedFrom: null });
  const weights = (out: string): Buffer => readFileSync(join(folder, out, "model.safetensors"));
  expect(weights("taught").equals(weights("undisturbed"))).toBe(true);
}, 120_000);
