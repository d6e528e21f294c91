/**
 * @file A simulated phone: runs an exported folder as the probe would, on an engine here, and fills
 * in a report.
 *
 * Everything comes from the folder alone: manifest, golden vectors, package. fp16 is rounded after every operation. The report says
 * `simulated`, names this machine's engine as its chip, and never counts as a measurement of a
 * phone: it tests the whole loop, and shows whether a package computes correctly before it goes to
 * a device.
 */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { throwIfCancelled } from "../../lib/cancel.ts";
import { argmax, generate, type StepModel, type StepSession } from "../../lib/decoder/generate.ts";
import type { NeuralEngineModel } from "../../lib/decoder/neural-engine/driver.ts";
import { openPackage } from "../../lib/decoder/opened-package.ts";
import { itemAt, numberAt } from "../../lib/elements.ts";
import type { Engine } from "../../lib/engines/engine.ts";
import { EspalierError } from "../../lib/errors.ts";
import { hashPackage } from "../../lib/formats/coreml/package-hash.ts";
import type { Clock } from "../../lib/random.ts";
import { type Milliseconds, REPORT_FORMAT, type Report, type ReportParity } from "../../lib/report/report.ts";
import { type Golden, type GoldenCase, goldenSchema } from "../kinds/export/golden.ts";
import { compareWith } from "./compare.ts";
import { drivenPairs, type ProbeManifest, probeManifestSchema } from "./manifest.ts";

export interface SimulationOptions {
  readonly engine: Engine;
  readonly clock: Clock;
  /** Timed tokens and prefill calls. */
  readonly timedTokens?: number;
  readonly timedCalls?: number;
  /** Memory of this process, in bytes. */
  readonly memoryBytes: () => number;
  readonly signal?: AbortSignal | undefined;
}

const WARM_UP = 2;

export interface ExportedProbe {
  readonly manifest: ProbeManifest;
  readonly golden: Golden;
}

/** The contents of `Probe/Payload` of an export. Throws `model/missing-file`, `format/malformed`.
 */
export async function readProbe(folder: string): Promise<ExportedProbe> {
  const read = async (name: string): Promise<unknown> => {
    const path = join(folder, "Probe", "Payload", name);
    const text = await readFile(path, "utf8").catch((cause: unknown) => {
      throw new EspalierError("model/missing-file", `${path} does not exist`, {
        hint: "Give the folder that `espalier export` wrote.",
        cause,
      });
    });
    try {
      return JSON.parse(text);
    } catch (cause) {
      throw new EspalierError("format/malformed", `${path} is not JSON`, { cause });
    }
  };
  const manifest = probeManifestSchema.safeParse(await read("probe.json"));
  const golden = goldenSchema.safeParse(await read("golden.json"));
  if (manifest.success && golden.success) return { manifest: manifest.data, golden: golden.data };
  const issue = (manifest.error ?? golden.error)?.issues[0];
  throw new EspalierError(
    "format/malformed",
    `${folder}: ${manifest.success ? "golden.json" : "probe.json"}: ${issue?.path.join(".")}: ${issue?.message}`,
    { hint: "Export the package again." },
  );
}

export async function simulatePhone(folder: string, options: SimulationOptions): Promise<Report> {
  const { engine, clock } = options;
  const { manifest, golden } = await readProbe(folder);
  const path = join(folder, manifest.package);
  const beforeBytes = options.memoryBytes();
  const startedMs = clock.nowMs();
  // As the phone does: the report is about what was loaded, not about what the manifest says.
  const found = await hashPackage(path);
  if (found.sha256 !== manifest.sha256)
    throw new EspalierError("input/invalid", `${path} is not the package that probe.json describes`, {
      hint: "Export again; a probe works only with its own package.",
    });
  const loading = clock.nowMs();
  const model = await openPackage(engine, path, "round");
  const firstMs = clock.nowMs() - loading;
  const loadedBytes = options.memoryBytes();

  const pairs = drivenPairs(manifest.interface);
  const parity: ReportParity[] = [];
  for (const goldenCase of golden.cases) parity.push(await runCase(model, golden, goldenCase, options));
  const sequence = itemAt(golden.sequences, 0);
  const decode: Report["runs"][number]["decode"] = [];
  const prefill: Report["runs"][number]["prefill"] = [];
  for (const pair of pairs) {
    const filled = Math.min(sequence.prompt.length, pair.context - WARM_UP - 1);
    const timed = Math.min(options.timedTokens ?? 64, pair.context - filled - WARM_UP);
    if (timed < 1) continue;
    decode.push({
      function: pair.decode,
      context: pair.context,
      filled,
      perToken: spread(await timeDecode(driven(model, pair), sequence.prompt.slice(0, filled), timed, options)),
      hostPerToken: null,
    });
    if (pair.prefill === null || pair.width > pair.context) continue;
    const perCall = spread(await timePrefill(driven(model, pair), pair.width, options));
    prefill.push({
      function: pair.prefill,
      context: pair.context,
      width: pair.width,
      perCall,
      tokensPerSecond: (1000 * pair.width) / Math.max(perCall.mean, 1e-6),
    });
  }
  return {
    format: REPORT_FORMAT,
    package: { name: manifest.name, ...found },
    device: {
      kind: "simulated",
      identifier: "simulated",
      chip: engine.description.slice(0, 200),
      system: process.platform,
      systemVersion: process.version,
      systemBuild: null,
      memoryBytes: 0,
      lowPowerMode: false,
    },
    tools: { probe: "simulated phone 1", configuration: "release", compiler: null, sdk: null },
    startedAt: new Date(startedMs).toISOString(),
    durationSeconds: (clock.nowMs() - startedMs) / 1000,
    runs: [
      {
        computeUnits: "cpuOnly",
        loads: pairs.flatMap((p) =>
          [p.decode, ...(p.prefill === null ? [] : [p.prefill])].map((name) => ({
            function: name,
            compileMs: null,
            firstMs,
            warmMs: null,
          })),
        ),
        parity,
        decode,
        prefill,
        sustained: null,
        memory: {
          beforeBytes,
          loadedBytes,
          peakBytes: Math.max(beforeBytes, loadedBytes, options.memoryBytes()),
          availableBytes: null,
        },
        placement: [],
        failures: [],
      },
    ],
    thermal: [],
    battery: null,
    notMeasured: [
      {
        what: "placement, heat, battery, sustained speed",
        why: "no device: the package was executed by an engine here",
      },
    ],
  };
}

/** A package that uses one decode function, and one prefill or none. */
function driven(
  model: StepModel | NeuralEngineModel,
  use: { decode: string; prefill: string | null; context: number },
): StepModel {
  const only = [use.decode, ...(use.prefill === null ? [] : [use.prefill])];
  const open = (): StepSession => {
    if ("description" in model) return model.open({ only });
    const session = model.open();
    return use.prefill === null ? { ...session, chunk: () => 1 } : session;
  };
  // What was compiled belongs to the model.
  return { vocab: model.vocab, context: Math.min(use.context, model.context), open, dispose: async () => {} };
}

/** Teacher-forced over prompt and greedy text, then free from the prompt on. */
async function runCase(
  model: StepModel | NeuralEngineModel,
  golden: Golden,
  goldenCase: GoldenCase,
  { signal }: SimulationOptions,
): Promise<ReportParity> {
  const sequence = itemAt(golden.sequences, goldenCase.sequence);
  const ids = [...sequence.prompt, ...sequence.greedy.slice(0, -1)];
  const comparison = compareWith(golden, goldenCase);
  const used = driven(model, goldenCase);
  const session = used.open();
  try {
    for (let at = 0; at < ids.length; ) {
      throwIfCancelled(signal);
      const left = sequence.prompt.length - at;
      const count = left > 0 ? session.chunk(at, left) : 1;
      const all = await session.feed(ids.slice(at, at + count), at);
      const rows = all.length / model.vocab;
      // A prefill may give the last row alone.
      for (let i = 0; i < rows; i++)
        comparison.add(at + count - rows + i, all.subarray(i * model.vocab, (i + 1) * model.vocab));
      at += count;
    }
  } finally {
    session.dispose();
  }
  return comparison.finish(await generate(used, sequence.prompt, { maxTokens: sequence.greedy.length, signal }));
}

async function timeDecode(
  model: StepModel,
  prompt: readonly number[],
  timed: number,
  { clock, signal }: SimulationOptions,
): Promise<number[]> {
  const session = model.open();
  const times: number[] = [];
  try {
    let next = numberAt(prompt, 0);
    for (let at = 0; at < prompt.length + WARM_UP + timed; at++) {
      throwIfCancelled(signal);
      const fed = prompt[at] ?? next;
      const started = clock.nowMs();
      next = argmax(await session.feed([fed], at));
      if (at >= prompt.length + WARM_UP) times.push(clock.nowMs() - started);
    }
  } finally {
    session.dispose();
  }
  return times;
}

async function timePrefill(model: StepModel, width: number, options: SimulationOptions): Promise<number[]> {
  const times: number[] = [];
  const ids = Array.from({ length: width }, (_, i) => i % model.vocab);
  for (let call = 0; call < WARM_UP + (options.timedCalls ?? 4); call++) {
    throwIfCancelled(options.signal);
    const session = model.open();
    const started = options.clock.nowMs();
    await session.feed(ids, 0);
    if (call >= WARM_UP) times.push(options.clock.nowMs() - started);
    session.dispose();
  }
  return times;
}

/** Nearest-rank percentiles, as the probe computes them. */
export function spread(times: readonly number[]): Milliseconds {
  const sorted = [...times].sort((a, b) => a - b);
  const rank = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1))] ?? 0;
  return {
    count: times.length,
    mean: times.reduce((n, t) => n + t, 0) / times.length,
    median: rank(0.5),
    p5: rank(0.05),
    p95: rank(0.95),
  };
}
