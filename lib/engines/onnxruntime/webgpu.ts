/**
 * @file The engine that runs a MIL function on the user's GPU: ONNX Runtime's WebGPU provider over Metal, D3D12 or Vulkan.
 *
 * It differs from the CPU engine in four ways. Tensors can lie on the device: uploaded once, states always, outputs on
 * request; both copies are a graph of one `Identity`. `sin` and `cos` run on the CPU, because a GPU computes
 * them to 2⁻¹¹. A function whose fp16 results are to be rounded runs on the CPU as a whole: not every GPU has fp16, and those
 * that do flush what is subnormal. And a GPU refuses no index that is out of bounds, and keeps no infinities. Calls are
 * made one at a time. Not included: tuning, several GPUs.
 */
import { EspalierError } from "../../errors.ts";
import type { MilFunction } from "../../mil/program.ts";
import type { DType } from "../../mil/types.ts";
import { ConstantPool, hostData } from "../constant-pool.ts";
import { type Engine, inHostMemory } from "../engine.ts";
import { profiledRun } from "./cpu-operations.ts";
import { messageOf, OnnxRuntimeExecutable, OrtDeviceTensor, ortTensor, type Transfers } from "./executable.ts";
import { OnnxGraph } from "./graph.ts";
import { type GraphicsDevice, graphicsDevice } from "./graphics-device.ts";
import {
  checkedThreads,
  createOnnxRuntimeEngine,
  lowerWith,
  type OnnxRuntimeOptions,
  openSession,
} from "./onnxruntime-engine.ts";
import {
  type InferenceSession,
  loadOnnxRuntime,
  type OnnxRuntime,
  type OrtTensor,
  ortVersion,
} from "./onnxruntime-node.ts";

/** Sines and cosines of a GPU are right to 2⁻¹¹ only, and not even that beyond π: too little for rotary angles. */
const cpuTypes = ["Sin", "Cos"];

/** A real GPU is kept busy by more positions than fit a CPU's caches. */
const GPU_TOKENS_PER_CALL = 8192;

/** Throws `engine/unavailable`, naming what was looked for, where no adapter is found. */
export async function createWebGpuEngine(options: OnnxRuntimeOptions = {}): Promise<Engine> {
  const threads = checkedThreads(options.threads);
  const ort = await loadOnnxRuntime();
  const transfers = deviceTransfers(ort);
  await transfers.toDevice(ortTensor(ort, [1], Float32Array.of(0))).catch((cause: unknown) => {
    throw noAdapter(cause);
  });
  const device: GraphicsDevice = (await graphicsDevice()) ?? {
    name: "a GPU without a name",
    driver: "unknown driver",
    isSoftware: false,
  };
  const cpu = await createOnnxRuntimeEngine({ ...options, threads });
  const pool = new ConstantPool();
  const elsewhere = new Map<string, number>();
  const count = (type: string, n: number): void => void elsewhere.set(type, (elsewhere.get(type) ?? 0) + n);
  const named = `onnxruntime-node ${ortVersion(ort)}, WebGPU on ${device.name} (${device.driver})`;
  return {
    name: "webgpu",
    identity: named,
    description: named,
    tokensPerCall: device.isSoftware ? inHostMemory.tokensPerCall : GPU_TOKENS_PER_CALL,
    isSoftware: device.isSoftware,
    elsewhere: () => elsewhere,
    async upload(t) {
      if (t instanceof OrtDeviceTensor || !movable(t.dtype)) return t;
      return new OrtDeviceTensor(t, await transfers.toDevice(ortTensor(ort, t.shape, hostData(t))), transfers);
    },
    async compile(fn, compileOptions = {}) {
      if (compileOptions.float16 === "round" && holdsFloat16(fn)) {
        count(`of ${fn.name}, rounded to fp16`, fn.operations.filter((op) => !op.constant).length);
        return cpu.compile(fn, compileOptions);
      }
      const { lowered, layouts } = await lowerWith(pool, fn, compileOptions, {
        ...options,
        threads,
        fusesProducts: false,
      });
      const onDevice = [
        ...lowered.states.flatMap((s) => (s.output && movable(s.type.dtype) ? [s.output.output] : [])),
        ...fn.outputs.flatMap((o) =>
          compileOptions.onDevice?.includes(o.name) && o.type.kind === "tensor" && movable(o.type.dtype)
            ? [`output.${o.name}`]
            : [],
        ),
      ];
      const onCpu = cpuTypes.flatMap((type) => lowered.nodes.get(type) ?? []);
      const profiled = await profiledRun();
      const session = await openSession(ort, fn, lowered, threads, {
        executionProviders: [
          // An empty list is refused.
          onCpu.length > 0 ? { name: "webgpu", forceCpuNodeNames: onCpu } : { name: "webgpu" },
          "cpu",
        ],
        preferredOutputLocation: Object.fromEntries(onDevice.map((name) => [name, "gpu-buffer" as const])),
        ...profiled.options,
      }).catch(async (thrown: unknown) => {
        await profiled.close();
        throw thrown;
      });
      const constants: Record<string, OrtTensor> = {};
      for (const [name, { type, data }] of lowered.constants) {
        const held = ortTensor(ort, type.shape, data);
        constants[name] = movable(type.dtype) ? await transfers.toDevice(held) : held;
      }
      return new OnnxRuntimeExecutable({
        ort,
        session,
        fn,
        lowered,
        layouts,
        constants,
        transfers,
        async afterFirstRun() {
          for (const [type, n] of await profiled.cpuOperations(session)) count(type, n);
          await profiled.close();
        },
        onDispose: profiled.close,
      });
    },
  };
}

/** What lies on a device is f32 or int32. */
const movable = (dtype: DType): boolean => dtype === "fp32" || dtype === "int32";

const holdsFloat16 = (fn: MilFunction): boolean =>
  [...fn.inputs, ...fn.operations.flatMap((op) => op.outputs)].some(({ type }) =>
    type.kind === "tensor" ? type.dtype === "fp16" : type.wrapped.dtype === "fp16",
  );

/** Copies by a graph that gives what it takes, one for every type and shape. */
function deviceTransfers(ort: OnnxRuntime): Transfers {
  const sessions = new Map<string, Promise<InferenceSession>>();
  const copy = async (t: OrtTensor, location: "gpu-buffer" | "cpu"): Promise<OrtTensor> => {
    const key = `${location} ${t.type} ${t.dims}`;
    let session = sessions.get(key);
    if (!session) {
      const type = t.type === "int32" ? "int32" : "float";
      const g = new OnnxGraph();
      g.input("x", type, t.dims);
      g.output("y", "x", type, t.dims);
      session = ort.InferenceSession.create(g.model("copy"), {
        executionProviders: ["webgpu", "cpu"],
        preferredOutputLocation: location,
        logSeverityLevel: 3,
      });
      sessions.set(key, session);
    }
    const { y } = await (await session).run({ x: t });
    if (!y) throw new EspalierError("engine/failed", "onnxruntime copied nothing between memory and device");
    return y;
  };
  return { toDevice: (t) => copy(t, "gpu-buffer"), toHost: (t) => copy(t, "cpu") };
}

const lookedFor: Readonly<Record<string, string>> = {
  darwin: "Metal",
  win32: "Direct3D 12",
  linux:
    "Vulkan: libvulkan.so.1 and a driver of the GPU (package libvulkan1, and that of the driver; VK_DRIVER_FILES names another)",
};

function noAdapter(cause: unknown): EspalierError {
  const said = messageOf(cause);
  const reason = /adapter/i.test(said) ? "no GPU was found" : said;
  return new EspalierError("engine/unavailable", `the engine webgpu cannot start: ${reason}`, {
    hint: `It looked for ${lookedFor[process.platform] ?? "a WebGPU adapter"}. --engine onnxruntime computes on the CPU.`,
    cause,
  });
}
