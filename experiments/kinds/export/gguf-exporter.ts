/**
 * @file The exporter of GGUF files, for llama.cpp and programs built on it.
 *
 * Faithful is a file that has the bytes that were predicted, whose tensors were read back bit for bit, whose tokenizer gives the
 * ids of the model's on the compared texts, and, where nothing was quantized, whose logits are the model's within the rounding of the
 * floats. What quantizing to another type costs is measured as a KL to the model and counts as a loss: the file is good when
 * it and what the model lost before are together within the limit. The file is run here, by our own reader and engine; llama.cpp
 * runs it in the oracle tier.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { stat, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { type Checkpoint, openCheckpoint } from "../../../lib/checkpoint/checkpoint.ts";
import type { StepModel } from "../../../lib/decoder/generate.ts";
import { stepModel } from "../../../lib/decoder/step-model.ts";
import { parameterCount, type RowTable } from "../../../lib/decoder/weights.ts";
import type { Engine } from "../../../lib/engines/engine.ts";
import { EspalierError } from "../../../lib/errors.ts";
import { type GgufModel, ggufModel } from "../../../lib/export/gguf/gguf-model.ts";
import { modelfile } from "../../../lib/export/gguf/modelfile.ts";
import { decodedWeights } from "../../../lib/export/streamed-weights.ts";
import { jsonFile } from "../../../lib/files/named-files.ts";
import { utf8Text } from "../../../lib/files/utf8-text.ts";
import { openGguf } from "../../../lib/formats/gguf/gguf.ts";
import { type GgufKey, predictGguf, writeGguf } from "../../../lib/formats/gguf/write.ts";
import { elementCount } from "../../../lib/mil/types.ts";
import { wholeTokenizer } from "../../../lib/tokenizer/added-tokens.ts";
import { tokenizerKeys } from "../../../lib/tokenizer/gguf-metadata.ts";
import { loadTokenizer } from "../../../lib/tokenizer/tokenizer.ts";
import { loadWeights, type ModelFiles } from "../../model-session.ts";
import { readText } from "../../text-file.ts";
import type { GgufCard } from "./card.ts";
import { originalFp16Bytes } from "./card.ts";
import { type ExportConfig, type ExportSizes, refuseOthers } from "./config.ts";
import type { Exporter, ExportRequest } from "./exporter.ts";
import { compareWithModel, type Parity } from "./parity.ts";
import { byType, importancesOf, verdictOfCodes } from "./requantized.ts";
import { type ExportSource, exportSource, replayed } from "./source.ts";

/** Positions of the comparison: the cache that it runs with. */
const COMPARED_POSITIONS = 512;
/** Characters of the text whose token ids are compared. */
const COMPARED_CHARACTERS = 20_000;

interface Written {
  readonly path: string;
  readonly model: GgufModel;
  /** All metadata, the tokenizer's too. */
  readonly keys: readonly GgufKey[];
  readonly sizeBytes: number;
  /** SHA-256 of the data of each tensor as it was written. */
  readonly digests: ReadonlyMap<string, string>;
}

interface Verified extends Parity {
  readonly source: ExportSource;
  readonly tokenizerFaults: readonly string[];
  readonly textsCompared: number;
}

export const ggufExporter: Exporter<Written, Verified, GgufCard> = {
  id: "gguf",

  check: refuseOthers,

  async write({ config, model, folder, context }) {
    const { checkpoint } = model;
    const importances = await importancesOf(config, model, context);
    const made = ggufModel(checkpoint, config.type ?? null, config.name, importances);
    const keys = [...made.keys, ...(await tokenizerOf(model))];
    const path = join(folder, "unchecked.gguf");
    const digests = new Map<string, string>();
    const watched = made.tensors.map((t, i) => ({
      ...t,
      async *bytes() {
        const hash = createHash("sha256");
        for await (const piece of t.bytes()) {
          context.signal?.throwIfAborted();
          hash.update(piece);
          yield piece;
        }
        digests.set(t.name, hash.digest("hex"));
        context.onShare((0.4 * (i + 1)) / made.tensors.length);
      },
    }));
    await writeGguf(path, keys, watched);
    const { size } = await stat(path);
    const predicted = predictGguf(keys, made.tensors);
    if (size !== predicted)
      throw new EspalierError("export/parity", `the file has ${size} bytes, ${predicted} were predicted`, {
        hint: "This is a bug in Espalier's writer; nothing was kept.",
      });
    return { path, model: made, keys, sizeBytes: size, digests };
  },

  async verify({ path, digests }, request) {
    const { config, model, context } = request;
    await compareBytes(path, digests);
    const positions = Math.min(COMPARED_POSITIONS, model.checkpoint.architecture.maxPositions);
    const sizes: ExportSizes = { layout: "plain", contexts: [positions], prefill: [], embedding: "inside" };
    const weights = decodedWeights(model.checkpoint);
    const source = await exportSource(config, sizes, model, { weights, notes: [] }, context);
    context.onShare(0.6);
    const read = await openCheckpoint(path);
    try {
      const tokenizers = await compareTokenizers(read, request);
      const shipped = await readModel(context.engine, read, source, positions);
      try {
        const found = await compareWithModel(source.reference, shipped, source.text, model.tokenizer, {
          signal: context.signal,
          onShare: (share) => context.onShare(0.6 + 0.4 * share),
        });
        return { ...found, ...tokenizers, source };
      } finally {
        await shipped.dispose();
      }
    } finally {
      await read.close();
    }
  },

  async card(written, { parity, sample, source, tokenizerFaults, textsCompared }, { config, model, provenance }) {
    const { tensors, architecture, paddedWeights } = written.model;
    const isQuantized = tensors.some((t) => t.fidelity === "quantized");
    const verdict = verdictOfCodes(model, config.maxKl, { parity, isQuantized, faults: tokenizerFaults });
    const { ready, status, good } = verdict;
    const name = `${config.name}.gguf`;
    const parameters = parameterCount(model.checkpoint.architecture);
    const fp16Bytes = originalFp16Bytes(good, parameters);
    const weightBytes = tensors.reduce((n, t) => n + t.sizeBytes, 0);
    return {
      to: "gguf",
      ...verdict,
      package: name,
      file: ready ? name : `${status}-${name}`,
      sizeBytes: written.sizeBytes,
      predictedBytes: written.sizeBytes,
      packageBytes: written.sizeBytes,
      weightBytes,
      notes: notesOf(written.model, config),
      parameters,
      bitsPerWeight: (8 * weightBytes) / parameters,
      fp16Bytes,
      timesSmallerThanFp16: fp16Bytes / written.sizeBytes,
      execution: {
        kind: source.held ? "whole" : "by-parts",
        modelBytes: source.modelBytes,
        heldUpToBytes: config.streamAboveBytes,
        explanation: "read by Espalier's own reader",
      },
      parity,
      sample,
      provenance,
      notChecked: ["llama.cpp itself, which is not part of Espalier"],
      architecture,
      contexts: [model.checkpoint.architecture.maxPositions],
      types: byType(written.model.tensors),
      paddedWeights,
      tensorsCompared: tensors.length,
      textsCompared,
    };
  },

  async beside({ model, keys }, { file }, { config, folder }) {
    if (!config.ollama) return;
    const hasChatTemplate = keys.some((k) => k.key === "tokenizer.chat_template");
    await writeFile(join(folder, "Modelfile"), modelfile({ file, context: model.even.maxPositions, hasChatTemplate }));
  },

  async contents(path) {
    const file = await openGguf(path);
    try {
      const schemes = new Map<string, { tensors: number; elements: number; sizeBytes: number }>();
      let dataBytes = 0;
      for (const { type, shape, sizeBytes } of file.tensors.values()) {
        const at = schemes.get(type) ?? { tensors: 0, elements: 0, sizeBytes: 0 };
        schemes.set(type, {
          tensors: at.tensors + 1,
          elements: at.elements + elementCount(shape),
          sizeBytes: at.sizeBytes + sizeBytes,
        });
        dataBytes += sizeBytes;
      }
      const weights = [...schemes].map(([scheme, s]) => ({ scheme, ...s }));
      return { opset: "GGUF", functions: [], weights, modelBytes: file.sizeBytes - dataBytes };
    } finally {
      await file.close();
    }
  },

  async hash(path) {
    const hash = createHash("sha256");
    for await (const chunk of createReadStream(path) as AsyncIterable<Uint8Array>) hash.update(chunk);
    return hash.digest("hex");
  },
};

async function tokenizerOf({ checkpoint, tokenizer }: ModelFiles) {
  const { begin, end } = tokenizer.addedTokens("auto");
  const whole = await wholeTokenizer(checkpoint);
  if (whole === null) throw new EspalierError("model/missing-file", `${checkpoint.path} has no tokenizer.json`);
  const template = await checkpoint.file("chat_template.jinja");
  return tokenizerKeys({
    ...whole,
    generation: await jsonFile(checkpoint, "generation_config.json"),
    model: checkpoint.config,
    chatTemplate: template ? utf8Text(template, "chat_template.jinja") : null,
    vocab: checkpoint.architecture.vocab,
    adds: { bos: begin.length > 0, eos: end.length > 0 },
  });
}

/** Throws `export/parity` where a tensor in the file is not what was written. */
async function compareBytes(path: string, digests: ReadonlyMap<string, string>): Promise<void> {
  const file = await openGguf(path);
  try {
    for (const [name, digest] of digests) {
      const hash = createHash("sha256");
      for await (const piece of file.tensorPieces(name)) hash.update(piece);
      if (hash.digest("hex") !== digest)
        throw new EspalierError(
          "export/parity",
          `the tensor ${name} was written, but reading it back gives other values`,
          {
            hint: "This is a bug in Espalier's writer or a fault of the disk; nothing was kept.",
          },
        );
    }
  } finally {
    await file.close();
  }
}

const sampleTexts = ["Hello, world! 1234 x = y + 2\n\n\tÄpfel, 日本語, 🌿 don't  stop", "  two  spaces and\r\na line"];

async function compareTokenizers(
  read: Checkpoint,
  { config, model }: ExportRequest,
): Promise<Pick<Verified, "tokenizerFaults" | "textsCompared">> {
  const theirs = await loadTokenizer(read);
  const held = config.text === undefined ? [] : [(await readText(config.text)).slice(0, COMPARED_CHARACTERS)];
  const texts = [...sampleTexts, ...held];
  const differing = texts.filter((text) => {
    const [a, b] = [model.tokenizer.encode(text), theirs.encode(text)];
    return a.length !== b.length || a.some((id, i) => id !== b[i]);
  });
  const found = differing.map((t) => `the tokenizer of the file splits ${JSON.stringify(t.slice(0, 30))} differently`);
  const added = (t: typeof theirs): string => JSON.stringify(t.addedTokens("auto").begin);
  const around = added(theirs) === added(model.tokenizer) ? [] : ["the file starts texts with other tokens"];
  return { tokenizerFaults: [...found, ...around], textsCompared: texts.length };
}

/** The file as a step model: in memory or, for a streamed model, replaying the compared texts. */
async function readModel(engine: Engine, read: Checkpoint, source: ExportSource, context: number): Promise<StepModel> {
  if (source.held) return stepModel(engine, await loadWeights(read), { context, prefillLength: Math.min(16, context) });
  const table = (name: string): RowTable => read.table(name);
  return replayed(engine, { arch: read.architecture, weights: decodedWeights(read), table }, source, context);
}

function notesOf({ tensors, paddedWeights }: GgufModel, { type, calibration }: ExportConfig): string[] {
  const weighted = calibration !== undefined && tensors.some((t) => t.fidelity === "quantized");
  const quantized = tensors.filter((t) => t.fidelity === "quantized" && type === undefined).length;
  return [
    ...(quantized > 0
      ? [
          `${quantized} tensors have codes that no GGUF type can hold, such as palettes, and were quantized again; --type chooses another type`,
        ]
      : []),
    ...(weighted
      ? [`errors of quantizing were weighted by the importance of columns in ${basename(calibration)}`]
      : []),
    ...(paddedWeights > 0
      ? [`layers differ in width: ${paddedWeights} zeros pad them to one width, as GGUF requires`]
      : []),
  ];
}
