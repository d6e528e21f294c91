/** @file What the WebGPU engine promises besides the numbers of `test/engines`: its device, what lies there, refusals, a clean end. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { modelSession } from "../../experiments/model-session.ts";
import { stepModel } from "../../lib/decoder/step-model.ts";
import { createEngine } from "../../lib/engines/create.ts";
import { DeviceTensor, release } from "../../lib/engines/device-tensor.ts";
import type { Engine } from "../../lib/engines/engine.ts";
import { createOnnxRuntimeEngine } from "../../lib/engines/onnxruntime/onnxruntime-engine.ts";
import { createWebGpuEngine } from "../../lib/engines/onnxruntime/webgpu.ts";
import { sequenceLosses } from "../../lib/eval/perplexity.ts";
import { Builder } from "../../lib/mil/builder.ts";
import { f32 } from "../../lib/mil/tensor.ts";
import { fp32 } from "../../lib/mil/types.ts";
import { Trainer } from "../../lib/train/trainer.ts";
import { textObjective } from "../../lib/train/training-program.ts";
import { tinyIds, tinyModel } from "../fixtures/tiny-model.ts";

const [gpu, cpu] = [await createWebGpuEngine(), await createOnnxRuntimeEngine()];

describe("webgpu", () => {
  test("it says which device and driver it computes on, and that is part of what it is", () => {
    expect(gpu.identity).toMatch(/^onnxruntime-node \d+\.\d+\.\d+, WebGPU on .+ \(.+\)$/);
    expect(gpu.identity).not.toBe(cpu.identity);
  });

  test("what is uploaded once is read by every run, and an output stays on the device when asked to", async () => {
    const b = new Builder("twice");
    const [x, w] = [b.input("x", fp32(2, 3)), b.input("w", fp32(3, 3))];
    const product = b.matmul(x, w);
    const executable = await gpu.compile(b.build({ stays: product, comes: b.mul(product, 2) }), {
      onDevice: ["stays"],
    });
    const weights = f32([3, 3], [2, 0, 0, 0, 3, 0, 0, 0, 4]);
    const held = await gpu.upload(weights);
    expect(held).toBeInstanceOf(DeviceTensor);
    let input = f32([2, 3], [1, 1, 1, 1, 2, 3]);
    for (const expected of [
      [2, 3, 4, 2, 6, 12],
      [4, 9, 16, 4, 18, 48],
    ]) {
      const out = await executable.run({ x: input, w: held });
      const { stays } = out;
      if (!(stays instanceof DeviceTensor)) throw new Error("the output came to memory");
      expect(() => stays.data).toThrow(/lies on a device/);
      expect([...(await stays.read()).data]).toEqual(expected);
      expect([...(out.comes?.data ?? [])]).toEqual(expected.map((v) => 2 * v));
      input = stays;
    }
    release(held);
    await expect(executable.run({ x: f32([2, 3], [1, 1, 1, 1, 1, 1]), w: held })).rejects.toThrow(/disposed/);
    await executable.dispose();
  });

  test("the CPU engine refuses a tensor that lies on a device", async () => {
    const b = new Builder("same");
    const executable = await cpu.compile(b.build({ y: b.mul(b.input("x", fp32(2)), 2) }));
    const held = await gpu.upload(f32([2], [1, 2]));
    await expect(executable.run({ x: held })).rejects.toThrow(/x lies on the device of another engine/);
    release(held);
    await executable.dispose();
  });

  test("what the CPU did instead is counted by type", async () => {
    const engine = await createWebGpuEngine();
    const b = new Builder("waves");
    const x = b.input("x", fp32(4));
    const [s] = b.op("sin", { x });
    if (!s) throw new Error("no result");
    const executable = await engine.compile(b.build({ y: b.mul(s, x) }));
    for (let i = 0; i < 2; i++) await executable.run({ x: f32([4], [1, 2, 3, 100]) });
    expect(engine.elsewhere()).toEqual(new Map([["Sin", 1]]));
    await executable.dispose();
  });

  test("a decoder's losses, with its weights held on the device, are those of the CPU", async () => {
    const folder = new URL("../../experiments/starter/model", import.meta.url).pathname;
    const losses = async (engine: Engine): Promise<number[]> => {
      const models = modelSession(engine, async () => folder);
      const { runner, weights } = await models.open("starter");
      const ids = tinyIds(32, weights.arch.vocab);
      const sequences = [ids, ids.slice().reverse()].map((s, i) => ({
        id: `${i}`,
        ids: s,
        scoredFrom: 1,
        sizeBytes: 64,
      }));
      const found = await sequenceLosses(runner, sequences);
      await models.close();
      return found.map((l) => l.nll / l.tokens);
    };
    const [onGpu, onCpu] = [await losses(gpu), await losses(cpu)];
    for (const [i, v] of onCpu.entries()) expect(Math.abs((onGpu[i] ?? Number.NaN) - v)).toBeLessThan(1e-5);
  });

  test("three training steps have the losses of the CPU", async () => {
    const losses = async (engine: Engine): Promise<number[]> => {
      const weights = tinyModel("llama", 4);
      const trainer = await Trainer.create(engine, weights, {
        shape: { batch: 2, length: 9 },
        schedule: { peak: 0.01, warmupSteps: 1, totalSteps: 3, finalShare: 0.1 },
        objective: textObjective,
      });
      const found: number[] = [];
      for (let step = 0; step < 3; step++) {
        const ids = tinyIds(18, weights.arch.vocab, step);
        const result = await trainer.step({ ids, targets: ids, tokenWeights: new Float32Array(18).fill(1 / 18) });
        found.push(result.loss);
      }
      await trainer.dispose();
      return found;
    };
    const [onGpu, onCpu] = [await losses(gpu), await losses(cpu)];
    for (const [i, v] of onCpu.entries()) expect(Math.abs((onGpu[i] ?? Number.NaN) - v)).toBeLessThan(1e-5);
  });

  test("a cache that lies on the device goes on where a prefill left it", async () => {
    const weights = tinyModel("llama", 6);
    const rows = async (engine: Engine): Promise<Float32Array> => {
      const session = (await stepModel(engine, weights, { context: 16, prefillLength: 4 })).open();
      await session.feed([1, 2, 3, 4], 0);
      const logits = await session.feed([5], 4);
      session.dispose();
      return logits;
    };
    const [onGpu, onCpu] = [await rows(gpu), await rows(cpu)];
    for (const [i, v] of onCpu.entries()) expect(Math.abs((onGpu[i] ?? Number.NaN) - v)).toBeLessThan(1e-5);
  });

  test("auto takes the CPU where the GPU is one in name only, and says so", async () => {
    const said: string[] = [];
    const clock = { nowMs: () => performance.now() };
    const engine = await createEngine("auto", { threads: 1, clock, log: (line) => said.push(line) });
    expect(engine.isSoftware ?? false).toBe(false);
    if (gpu.isSoftware) expect(engine.name).toBe("onnxruntime");
    expect(said.join("\n")).toContain(engine.description);
  });

  const espalier = async (args: readonly string[], env: Record<string, string | undefined>) =>
    promisify(execFile)(process.execPath, ["bin/espalier.js", ...args], { env: { ...process.env, ...env } }).then(
      ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
      (failed: { code: number; stdout: string; stderr: string }) => failed,
    );
  const command = [
    "generate",
    "starter",
    "--prompt",
    "The ",
    "--max-tokens",
    "2",
    "--context",
    "16",
    "--temperature",
    "0",
    "--json",
  ];

  test("a process that computed on the device ends cleanly and says what the CPU does", async () => {
    const tokens = ({ code, stdout }: { code: number; stdout: string }): unknown => [code, JSON.parse(stdout).tokens];
    const onGpu = await espalier([...command, "--engine", "webgpu"], {});
    const onCpu = await espalier(command, { ESPALIER_ENGINE: "onnxruntime" });
    expect(tokens(onGpu)).toEqual([0, expect.arrayContaining([expect.any(Number)])]);
    expect(tokens(onGpu)).toEqual(tokens(onCpu));
  });

  test.runIf(process.platform === "linux")("without an adapter it refuses, saying what it looked for", async () => {
    const nowhere = { VK_ICD_FILENAMES: "/nowhere.json", VK_DRIVER_FILES: "/nowhere.json", ESPALIER_ENGINE: "webgpu" };
    const { code, stderr } = await espalier(command, nowhere);
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/no GPU was found/);
    expect(stderr).toMatch(/looked for Vulkan.*--engine onnxruntime/s);
  });
});
