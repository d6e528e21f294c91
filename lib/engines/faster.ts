/**
 * @file The engine for `auto`: the GPU if there is a real one and it finishes a short test faster,
 * else the CPU.
 *
 * The work is like a decoder's: a few products of 1024 rows with weights that lie where the engine keeps them, each followed by a
 * nonlinearity. Both engines run it once to warm up and twice to be timed; the better of the two counts.
 */
import { itemAt } from "../elements.ts";
import { EspalierError } from "../errors.ts";
import { Builder } from "../mil/builder.ts";
import type { MilFunction } from "../mil/program.ts";
import { f32 } from "../mil/tensor.ts";
import { fp32 } from "../mil/types.ts";
import type { Clock } from "../random.ts";
import { release } from "./device-tensor.ts";
import type { Engine } from "./engine.ts";

const [ROWS, WIDTH, LAYERS] = [1024, 512, 4];

export interface Choice {
  readonly engine: Engine;
  readonly reason: string;
}

/** `gpu` throws `engine/unavailable` without a GPU. */
export async function fasterEngine(
  make: { gpu(): Promise<Engine>; cpu(): Promise<Engine> },
  clock: Clock,
): Promise<Choice> {
  let gpu: Engine;
  try {
    gpu = await make.gpu();
  } catch (thrown) {
    if (!(thrown instanceof EspalierError) || thrown.code !== "engine/unavailable") throw thrown;
    return { engine: await make.cpu(), reason: thrown.message };
  }
  const cpu = await make.cpu();
  if (gpu.isSoftware) return { engine: cpu, reason: `${gpu.description} is the CPU under another name` };
  const [onGpu, onCpu] = [await probeMs(gpu, clock), await probeMs(cpu, clock)];
  const took = `a probe took ${onGpu.toFixed(0)} ms on the GPU and ${onCpu.toFixed(0)} ms on the CPU`;
  return { engine: onGpu < onCpu ? gpu : cpu, reason: took };
}

function probe(): MilFunction {
  const b = new Builder("probe");
  let x = b.input("x", fp32(ROWS, WIDTH));
  const w = b.input("w", fp32(WIDTH, WIDTH));
  for (let i = 0; i < LAYERS; i++) x = itemAt(b.op("tanh", { x: b.matmul(x, w) }), 0);
  return b.build({ y: x });
}

async function probeMs(engine: Engine, clock: Clock): Promise<number> {
  const executable = await engine.compile(probe());
  const w = await engine.upload(f32([WIDTH, WIDTH], new Float32Array(WIDTH * WIDTH).fill(1 / WIDTH)));
  const x = f32([ROWS, WIDTH], new Float32Array(ROWS * WIDTH).fill(0.5));
  const times: number[] = [];
  for (let i = 0; i < 3; i++) {
    const from = clock.nowMs();
    await executable.run({ x, w });
    times.push(clock.nowMs() - from);
  }
  release(w);
  await executable.dispose();
  return Math.min(...times.slice(1));
}
