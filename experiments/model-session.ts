/**
 * @file Models opened for the length of a session: checkpoint, tokenizer, weights and runner, each loaded once.
 */
import { totalmem } from "node:os";
import { type Checkpoint, openCheckpoint } from "../lib/checkpoint/checkpoint.ts";
import { isRowTable } from "../lib/decoder/architecture.ts";
import { pagedWeights, wholeModelBytes } from "../lib/decoder/paged-weights.ts";
import { DecoderRunner } from "../lib/decoder/runner.ts";
import { type DecoderWeights, decoderWeights, type RowTable, weightList } from "../lib/decoder/weights.ts";
import type { Engine, Executable } from "../lib/engines/engine.ts";
import { EspalierError } from "../lib/errors.ts";
import { decodedWeights } from "../lib/export/streamed-weights.ts";
import { f32, type Tensor } from "../lib/mil/tensor.ts";
import { byteSize } from "../lib/number-text.ts";
import { loadTokenizer, type Tokenizer } from "../lib/tokenizer/tokenizer.ts";

/** A model none of whose weights has been read. */
export interface ModelFiles {
  readonly reference: string;
  readonly checkpoint: Checkpoint;
  /** The checkpoint's own. */
  readonly hash: string;
  readonly tokenizer: Tokenizer;
}

export interface OpenModel extends ModelFiles {
  readonly weights: DecoderWeights;
  readonly runner: DecoderRunner;
}

export interface ModelSession {
  /** With all weights in memory. Throws `run/memory` for a model that does not fit. */
  readonly open: (reference: string) => Promise<OpenModel>;
  /** As `open`, but the layers of a model that takes more than half of the memory are read when they
   * run. Its weights are not among `weights.tensors`: use the runner. */
  readonly openToRun: (reference: string) => Promise<OpenModel>;
  /** As `open`, without reading the weights, for callers that stream them. */
  files(reference: string): Promise<ModelFiles>;
  /** Lets the weights of a model go; opening it again reads them again. */
  release(reference: string): void;
  close(): Promise<void>;
}

export interface SessionMemory {
  /** That the process may use; default: all of the machine's. */
  readonly memoryBytes?: number | undefined;
}

/** What this process may use: a container's limit, or the machine's memory. */
function machineBytes(): number {
  const limit = process.constrainedMemory();
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem();
}

/** `resolve` turns what a person typed (a folder, a file, the id of a known model) into the path of a checkpoint. */
export function modelSession(
  engine: Engine,
  resolve: (reference: string) => Promise<string>,
  { memoryBytes = machineBytes() }: SessionMemory = {},
): ModelSession {
  const opened = new Map<string, Promise<OpenModel>>();
  const inPages = new Map<string, Promise<OpenModel>>();
  // Programs hold no weights, so models of one architecture share what is compiled.
  const compiled = new Map<string, Promise<Executable>>();

  const seen = new Map<string, Promise<ModelFiles>>();
  const look = async (reference: string): Promise<ModelFiles> => {
    const checkpoint = await openCheckpoint(await resolve(reference));
    const tokenizer = await loadTokenizer(checkpoint);
    return { reference, checkpoint, hash: await checkpoint.hash(), tokenizer };
  };
  const files = (reference: string): Promise<ModelFiles> => kept(seen, reference, look);
  const load = async (reference: string): Promise<OpenModel> => {
    const model = await files(reference);
    const sizeBytes = wholeModelBytes(model.checkpoint.architecture);
    if (sizeBytes > memoryBytes) throw tooLarge(reference, sizeBytes, memoryBytes);
    const weights = await loadWeights(model.checkpoint);
    const runner = new DecoderRunner(engine, weights, compiled);
    await runner.hold();
    return { ...model, weights, runner };
  };
  const page = async (reference: string): Promise<OpenModel> => {
    const model = await files(reference);
    const { checkpoint } = model;
    const { architecture: arch } = checkpoint;
    const stored = { arch, weights: decodedWeights(checkpoint), table: (name: string) => checkpoint.table(name) };
    const weights = await pagedWeights(stored, memoryBytes / 2);
    return { ...model, weights, runner: new DecoderRunner(engine, weights, compiled) };
  };
  const open = (reference: string): Promise<OpenModel> => kept(opened, reference, load);
  return {
    open,
    files,
    async openToRun(reference) {
      const { checkpoint } = await files(reference);
      const fits = wholeModelBytes(checkpoint.architecture) <= memoryBytes / 2;
      return fits ? open(reference) : kept(inPages, reference, page);
    },
    release(reference) {
      opened.delete(reference);
      inPages.delete(reference);
    },
    async close() {
      for (const model of seen.values()) await (await model).checkpoint.close();
      for (const model of opened.values()) (await model).runner.letGo();
      for (const exe of compiled.values()) await (await exe).dispose();
      for (const known of [seen, opened, inPages, compiled]) known.clear();
    },
  };
}

const tooLarge = (reference: string, sizeBytes: number, memoryBytes: number): EspalierError =>
  new EspalierError(
    "run/memory",
    `${reference} takes ${byteSize(sizeBytes)} in fp32, ${byteSize(memoryBytes)} of memory may be used`,
    {
      hint: "evaluate, sensitivity, export, and quantize with --text and fixed widths (--bits) read such a model a layer at a time; this needs all of it. Take a machine with more memory, or set ESPALIER_TASK_MEMORY (bytes) if it has more.",
    },
  );

/** What is known under `key`, or is made now; a failure is not kept. */
function kept<T>(known: Map<string, Promise<T>>, key: string, make: (key: string) => Promise<T>): Promise<T> {
  let found = known.get(key);
  if (!found) {
    found = make(key);
    known.set(key, found);
    found.catch(() => known.delete(key));
  }
  return found;
}

/** All weights as fp32, compressed ones decoded, one tensor at a time; of per-layer embeddings the rows that are asked for. */
export async function loadWeights(checkpoint: Checkpoint): Promise<DecoderWeights> {
  const tensors = new Map<string, Tensor>();
  const tables = new Map<string, RowTable>();
  for (const entry of weightList(checkpoint.architecture)) {
    const { name, shape, role } = entry;
    if (isRowTable(role)) {
      tables.set(name, checkpoint.table(name));
      continue;
    }
    const values =
      entry.layer === null
        ? await checkpoint.globalTensor(entry.role)
        : await checkpoint.layerTensor(entry.layer, entry.role);
    tensors.set(name, f32(shape, values));
  }
  return decoderWeights(checkpoint.architecture, tensors, tables);
}
