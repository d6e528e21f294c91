/** `auto`: which engine is taken, and what is said of it. */
import { expect, test } from "vitest";
import { EspalierError } from "../errors.ts";
import type { Engine } from "./engine.ts";
import { fasterEngine } from "./faster.ts";
import { createOnnxRuntimeEngine } from "./onnxruntime/onnxruntime-engine.ts";

const real = await createOnnxRuntimeEngine();
/** An engine whose runs take `ms` of the clock given. */
function timed(name: string, ms: number, clock: { at: number }, isSoftware = false): Engine {
  return {
    ...real,
    name,
    description: name,
    isSoftware,
    async compile(fn, options) {
      const inner = await real.compile(fn, options);
      return {
        run: (inputs, state) => {
          clock.at += ms;
          return inner.run(inputs, state);
        },
        makeState: (initial) => inner.makeState(initial),
        dispose: () => inner.dispose(),
      };
    },
  };
}

async function choose(gpu: (clock: { at: number }) => Promise<Engine>, cpuMs: number) {
  const clock = { at: 0 };
  const { engine, reason } = await fasterEngine(
    { gpu: () => gpu(clock), cpu: async () => timed("cpu", cpuMs, clock) },
    { nowMs: () => clock.at },
  );
  return [engine.name, reason];
}

test("the one that does the probe sooner is taken", async () => {
  const gpu = async (clock: { at: number }) => timed("gpu", 3, clock);
  expect(await choose(gpu, 20)).toEqual(["gpu", "a probe took 3 ms on the GPU and 20 ms on the CPU"]);
  expect(await choose(gpu, 2)).toEqual(["cpu", "a probe took 3 ms on the GPU and 2 ms on the CPU"]);
});

test("a software driver is not probed, whatever its speed", async () => {
  const gpu = async (clock: { at: number }) => timed("swiftshader", 1, clock, true);
  expect(await choose(gpu, 20)).toEqual(["cpu", "swiftshader is the CPU under another name"]);
});

test("without an adapter it is the CPU, for that reason; what else fails is told", async () => {
  const missing = async (): Promise<Engine> => {
    throw new EspalierError("engine/unavailable", "no GPU was found");
  };
  expect(await choose(missing, 20)).toEqual(["cpu", "no GPU was found"]);
  const broken = async (): Promise<Engine> => {
    throw new EspalierError("engine/failed", "the device was lost");
  };
  await expect(choose(broken, 20)).rejects.toThrow("the device was lost");
});
