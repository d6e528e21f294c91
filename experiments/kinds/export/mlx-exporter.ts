/**
 * @file The exporter of folders for MLX: what `mlx_lm.generate --model FOLDER` loads on a Mac.
 *
 * Faithful is a folder whose weight file has the bytes that were predicted and whose logits, read from it by the published formula and
 * computed here, are the model's within the rounding of floats where nothing was quantized. What quantizing again costs is a KL to the
 * model and counts as a loss. The tokenizer's files are copied. mlx-lm itself runs a folder of every family in the oracle tier, on the CPU.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { companionFiles } from "../../../lib/checkpoint/checkpoint-files.ts";
import type { StepModel } from "../../../lib/decoder/generate.ts";
import { rowsOfWeight, wholeWeight } from "../../../lib/decoder/paged-weights.ts";
import { stepModel } from "../../../lib/decoder/step-model.ts";
import { inMemoryWeights, parameterCount, type RowTable } from "../../../lib/decoder/weights.ts";
import { EspalierError, invariant } from "../../../lib/errors.ts";
import { type MlxModel, mlxModel } from "../../../lib/export/mlx/mlx-model.ts";
import { mlxWeights } from "../../../lib/export/mlx/mlx-weights.ts";
import { decodedWeights } from "../../../lib/export/streamed-weights.ts";
import { type AffineGroups, mlxBits, mlxGroups } from "../../../lib/formats/mlx/affine-groups.ts";
import { openSafetensors, safetensorsBytes, writeSafetensors } from "../../../lib/formats/safetensors.ts";
import type { Tensor } from "../../../lib/mil/tensor.ts";
import { elementCount } from "../../../lib/mil/types.ts";
import { type MlxCard, originalFp16Bytes } from "./card.ts";
import { type ExportConfig, type ExportSizes, refuseOthers } from "./config.ts";
import type { Exporter, ExportRequest } from "./exporter.ts";
import { compareWithModel, type Parity } from "./parity.ts";
import { byType, importancesOf, verdictOfCodes } from "./requantized.ts";
import { type ExportSource, exportSource, replayed } from "./source.ts";

const WEIGHTS = "model.safetensors";
/** Positions of the comparison. */
const COMPARED_POSITIONS = 512;

interface Written {
  readonly path: string;
  readonly model: MlxModel;
  readonly sizeBytes: number;
}

interface Verified extends Parity {
  readonly source: ExportSource;
}

export const mlxExporter: Exporter<Written, Verified, MlxCard> = {
  id: "mlx",

  check(config) {
    refuseOthers(config);
    optionsOf(config);
  },

  async write({ config, model, folder, context }) {
    const { checkpoint } = model;
    const made = mlxModel(checkpoint, optionsOf(config), await importancesOf(config, model, context));
    const path = join(folder, "unchecked-mlx");
    await mkdir(path);
    const watched = made.tensors.map((t) => ({
      ...t,
      bytes() {
        context.signal?.throwIfAborted();
        return t.bytes();
      },
    }));
    await writeSafetensors(join(path, WEIGHTS), watched, { format: "mlx" });
    const { size } = await stat(join(path, WEIGHTS));
    const predicted = safetensorsBytes(made.tensors, { format: "mlx" });
    if (size !== predicted)
      throw new EspalierError("export/parity", `the file has ${size} bytes, ${predicted} were predicted`, {
        hint: "This is a bug in Espalier's writer; nothing was kept.",
      });
    await writeFile(join(path, "config.json"), `${JSON.stringify(made.config, null, 2)}\n`);
    for (const name of companionFiles) {
      const content = await checkpoint.file(name);
      if (content) await writeFile(join(path, name), content);
    }
    context.onShare(0.4);
    return { path, model: made, sizeBytes: await folderBytes(path) };
  },

  async verify({ path, model: made }, request) {
    const { config, model, context } = request;
    const positions = Math.min(COMPARED_POSITIONS, model.checkpoint.architecture.maxPositions);
    const sizes: ExportSizes = { layout: "plain", contexts: [positions], prefill: [], embedding: "inside" };
    const source = await exportSource(
      config,
      sizes,
      model,
      { weights: decodedWeights(model.checkpoint), notes: [] },
      context,
    );
    context.onShare(0.6);
    const file = await openSafetensors(join(path, WEIGHTS));
    try {
      const groups = groupsIn(await readFile(join(path, "config.json"), "utf8"));
      const weights = mlxWeights(file, made.even, groups);
      const shipped = await readModel(request, made.even, weights, source, positions);
      try {
        const found = await compareWithModel(source.reference, shipped, source.text, model.tokenizer, {
          signal: context.signal,
          onShare: (share) => context.onShare(0.6 + 0.4 * share),
        });
        return { ...found, source };
      } finally {
        await shipped.dispose();
      }
    } finally {
      await file.close();
    }
  },

  async card({ model: made, sizeBytes }, { parity, sample, source }, { config, model, provenance }) {
    const isQuantized = made.matrices.some((m) => m.fidelity === "quantized");
    const verdict = verdictOfCodes(model, config.maxKl, { parity, isQuantized });
    const name = `${config.name}-mlx`;
    const parameters = parameterCount(model.checkpoint.architecture);
    const weightBytes = safetensorsBytes(made.tensors, { format: "mlx" });
    const fp16Bytes = originalFp16Bytes(verdict.good, parameters);
    return {
      to: "mlx",
      ...verdict,
      package: name,
      file: verdict.ready ? name : `${verdict.status}-${name}`,
      sizeBytes,
      predictedBytes: weightBytes,
      packageBytes: weightBytes,
      weightBytes,
      notes: notesOf(made, config),
      parameters,
      bitsPerWeight: (8 * weightBytes) / parameters,
      fp16Bytes,
      timesSmallerThanFp16: fp16Bytes / weightBytes,
      execution: {
        kind: source.held ? "whole" : "by-parts",
        modelBytes: source.modelBytes,
        heldUpToBytes: config.streamAboveBytes,
        explanation: "read from the file by MLX's published formula",
      },
      parity,
      sample,
      provenance,
      notChecked: ["mlx-lm itself, which is not part of Espalier; speed on a Mac"],
      contexts: [model.checkpoint.architecture.maxPositions],
      types: byType(made.matrices.map((m) => ({ ...m, type: m.groups ? schemeName(m.groups) : "floats of 16 bits" }))),
      paddedWeights: made.paddedWeights,
    };
  },

  async contents(path) {
    const file = await openSafetensors(join(path, WEIGHTS));
    try {
      const groups = groupsIn(await readFile(join(path, "config.json"), "utf8"));
      const schemes = new Map<string, { tensors: number; elements: number; sizeBytes: number }>();
      let dataBytes = 0;
      for (const { name, dtype, shape, sizeBytes } of file.tensors.values()) {
        const module = name.replace(/\.(weight|scales|biases)$/, "");
        const own = groups.get(module);
        const scheme = own ? schemeName(own) : dtype;
        const at = schemes.get(scheme) ?? { tensors: 0, elements: 0, sizeBytes: 0 };
        const isWeight = name.endsWith(".weight");
        const elements = own ? (isWeight ? (elementCount(shape) * 32) / own.bits : 0) : elementCount(shape);
        schemes.set(scheme, {
          tensors: at.tensors + (own && !isWeight ? 0 : 1),
          elements: at.elements + elements,
          sizeBytes: at.sizeBytes + sizeBytes,
        });
        dataBytes += sizeBytes;
      }
      const weights = [...schemes].map(([scheme, s]) => ({ scheme, ...s }));
      return { opset: "MLX", functions: [], weights, modelBytes: (await folderBytes(path)) - dataBytes };
    } finally {
      await file.close();
    }
  },

  async hash(path) {
    const hash = createHash("sha256");
    for (const name of (await readdir(path)).sort()) {
      hash.update(name);
      for await (const chunk of createReadStream(join(path, name)) as AsyncIterable<Uint8Array>) hash.update(chunk);
    }
    return hash.digest("hex");
  },
};

/** Throws `input/invalid` for bits or groups that MLX has not. */
function optionsOf({ bits, groupSize = 64 }: ExportConfig): Parameters<typeof mlxModel>[1] {
  const known = bits === undefined ? null : (mlxBits.find((b) => b === bits) ?? undefined);
  const group = mlxGroups.find((g) => g === groupSize);
  if (known !== undefined && group !== undefined) return { bits: known, groupSize: group };
  const [flag, found, all] =
    known === undefined ? ["--bits", bits, mlxBits.join(", ")] : ["--group-size", groupSize, mlxGroups.join(", ")];
  throw new EspalierError("input/invalid", `${flag}: MLX has ${all}, found ${found}`);
}

const group = z.object({
  group_size: z.union(mlxGroups.map((g) => z.literal(g))),
  bits: z.union(mlxBits.map((b) => z.literal(b))),
});

/** The entries of `quantization` that are paths. */
function groupsIn(config: string): Map<string, AffineGroups> {
  const { quantization = {} } = z
    .looseObject({ quantization: z.record(z.string(), z.unknown()).optional() })
    .parse(JSON.parse(config));
  const found = Object.entries(quantization).map(([path, value]) => [path, group.safeParse(value).data] as const);
  return new Map(found.flatMap(([path, g]) => (g ? [[path, { bits: g.bits, groupSize: g.group_size }] as const] : [])));
}

async function folderBytes(path: string): Promise<number> {
  let total = 0;
  for (const name of await readdir(path)) total += (await stat(join(path, name))).size;
  return total;
}

/** The folder as a step model: in memory or, for a streamed model, replaying the compared texts. */
async function readModel(
  { context: { engine } }: ExportRequest,
  arch: MlxModel["even"],
  weights: ReturnType<typeof mlxWeights>,
  source: ExportSource,
  context: number,
): Promise<StepModel> {
  if (source.held) {
    const tensors = new Map<string, Tensor>();
    for (const [name, w] of weights) tensors.set(name, await wholeWeight(w));
    return stepModel(engine, inMemoryWeights(arch, tensors), { context, prefillLength: Math.min(16, context) });
  }
  const table = (name: string): RowTable => {
    const w = weights.get(name);
    invariant(w, `the folder has the weight ${name}`);
    return rowsOfWeight(w);
  };
  return replayed(engine, { arch, weights, table }, source, context);
}

const schemeName = ({ bits, groupSize }: AffineGroups): string => `${bits} bits, groups of ${groupSize}`;

function notesOf({ matrices, paddedWeights }: MlxModel, { bits }: ExportConfig): string[] {
  const again = matrices.filter((m) => m.fidelity === "quantized" && bits === undefined).length;
  return [
    ...(again > 0
      ? [
          `${again} tensors have codes that MLX cannot hold, such as palettes, and were quantized again; --bits chooses other bits`,
        ]
      : []),
    ...(paddedWeights > 0
      ? [`layers differ in width: ${paddedWeights} zeros pad them to one width, as the classes of mlx-lm require`]
      : []),
  ];
}
