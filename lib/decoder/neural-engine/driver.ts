/**
 * @file Drives a package in the Neural Engine layout on an engine, following its metadata: chooses
 * functions, makes their inputs, carries the caches, grows the context.
 *
 * `host-part.ts` computes the inputs of a call. Functions are compiled on first use.
 */
import { f32At, under } from "../../elements.ts";
import type { Engine, EngineState, Executable } from "../../engines/engine.ts";
import { EspalierError } from "../../errors.ts";
import { float16FromFloat32 } from "../../float16.ts";
import type { MilFunction, Program } from "../../mil/program.ts";
import { newData, type Tensor, zeros } from "../../mil/tensor.ts";
import { showType, type TensorType } from "../../mil/types.ts";
import { logitValues, type StepModel, type StepSession } from "../generate.ts";
import type { NeuralEngineFunction, NeuralEngineInterface } from "../package-interface.ts";
import { checkTokens } from "../runner.ts";
import type { RowTable } from "../weights.ts";
import type { HostTables } from "./embedding.ts";
import { capLogits, chooseFunction, fits, type HostArray, hostInputs, rowColumns } from "./host-part.ts";

export interface DriverOptions extends HostTables {
  readonly float16: "round" | "widen";
  /** Observes every call. It may change functions before they are compiled, as long as they keep
   * their interface. */
  readonly observe?: {
    change(fn: MilFunction): MilFunction;
    outputs(name: string, outputs: Readonly<Record<string, Tensor>>): void;
  };
}

export interface SessionOptions {
  /** Names of the functions that may be used; all unless given. */
  readonly only?: readonly string[];
  /** Without padding, a prefill takes only chunks that fill it. */
  readonly padded?: boolean;
}

export interface NeuralEngineModel extends StepModel {
  readonly description: NeuralEngineInterface;
  open(options?: SessionOptions): StepSession;
  dispose(): Promise<void>;
}

/** Throws `format/malformed` when program and metadata do not belong together. */
export function openNeuralEngineModel(
  engine: Engine,
  program: Program,
  description: NeuralEngineInterface,
  options: DriverOptions,
): NeuralEngineModel {
  const functions = new Map<string, MilFunction>();
  for (const { name } of description.functions) {
    const fn = program.functions.find((f) => f.name === name);
    if (!fn) throw new EspalierError("format/malformed", `the metadata names a function ${name}, the package has none`);
    functions.set(name, fn);
  }
  const { embedding, perLayer, vocab, hidden } = description;
  const tables = [
    embedding.location === "host" ? { file: embedding.file, channels: hidden, table: options.embedding } : null,
    perLayer ? { ...perLayer, table: options.perLayer } : null,
  ];
  for (const needed of tables) {
    if (needed === null) continue;
    const { file, channels, table } = needed;
    if (!table)
      throw new EspalierError("model/missing-file", `the table ${file} is needed`, {
        hint: "It travels beside the package.",
      });
    const [rows = 0, columns] = table.shape;
    if (rows < vocab || columns !== channels)
      throw new EspalierError(
        "format/malformed",
        `${file} has a table [${table.shape.join(", ")}], the package needs ${vocab} rows of ${channels}`,
        { hint: "It belongs to another package." },
      );
  }
  const compiled = new Map<string, Promise<Executable>>();
  const loaded: LoadedFunctions = {
    description,
    options,
    type: (fn, input) => {
      const type = functions.get(fn)?.inputs.find((i) => i.name === input)?.type;
      if (!type)
        throw new EspalierError("format/malformed", `${fn} has no input ${input}, which its metadata asks for`);
      return type.kind === "state" ? type.wrapped : type;
    },
    executable: (name) => {
      let found = compiled.get(name);
      if (!found) {
        const fn = under(functions, name);
        found = engine.compile(options.observe?.change(fn) ?? fn, { float16: options.float16 });
        compiled.set(name, found);
      }
      return found;
    },
  };
  return {
    description,
    vocab: description.vocab,
    context: Math.max(...description.functions.map((f) => f.context)),
    open: (session = {}) => new NeuralEngineSession(loaded, session),
    async dispose() {
      for (const exe of compiled.values()) await (await exe).dispose();
      compiled.clear();
    },
  };
}

interface LoadedFunctions {
  readonly description: NeuralEngineInterface;
  readonly options: DriverOptions;
  /** The type of a function's input, a state's inside. */
  type(fn: string, input: string): TensorType;
  executable(name: string): Promise<Executable>;
}

class NeuralEngineSession implements StepSession {
  private readonly loaded: LoadedFunctions;
  private readonly functions: readonly NeuralEngineFunction[];
  private readonly contexts: readonly number[];
  private readonly padded: boolean;
  /** The context of the current caches, that of the last call. */
  private context: number;
  /** The context `chunk` counted on. */
  private wanted: number;
  private state: EngineState | null = null;
  private caches: Record<string, Tensor> = {};

  constructor(loaded: LoadedFunctions, { only, padded }: SessionOptions) {
    this.loaded = loaded;
    this.functions = loaded.description.functions.filter((f) => only?.includes(f.name) ?? true);
    this.contexts = [...new Set(this.functions.map((f) => f.context))].sort((a, b) => a - b);
    this.padded = padded ?? true;
    this.context = this.contexts[0] ?? 0;
    this.wanted = this.context;
  }

  chunk(position: number, remaining: number): number {
    this.wanted = this.contextFor(position, remaining);
    const usable = this.padded ? this.functions : this.functions.filter((f) => f.width <= remaining);
    return chooseFunction(usable, this.wanted, position, remaining)?.count ?? 1;
  }

  async feed(tokens: readonly number[], position: number): Promise<Float32Array> {
    const { description } = this.loaded;
    checkTokens(tokens, description.vocab);
    const call = { position, count: tokens.length };
    const context = Math.max(this.wanted, this.contextFor(position, tokens.length));
    const fn = this.functions
      .filter((f) => f.context === context && fits(f, call))
      .sort((a, b) => a.width - b.width)[0];
    if (!fn) {
      throw new EspalierError("input/invalid", `no function takes ${tokens.length} tokens at position ${position}`, {
        hint: `The package has ${this.functions.map((f) => f.name).join(", ")}.`,
      });
    }
    const executable = await this.loaded.executable(fn.name);
    await this.grow(fn, executable);
    const inputs: Record<string, Tensor> = { ...this.caches, ...(await this.tokenInputs(fn, tokens)) };
    for (const [name, array] of Object.entries(hostInputs(description, fn, call)))
      inputs[name] = this.input(fn, name, array);
    const out = await executable.run(inputs, this.state ?? undefined);
    this.loaded.options.observe?.outputs(fn.name, out);
    this.keepCaches(out);
    return this.logits(fn, out, call);
  }

  dispose(): void {
    this.state?.dispose();
    this.state = null;
  }

  /** The smallest context, not below the current one, that holds the tokens; the largest if none
   * does. */
  private contextFor(position: number, count: number): number {
    const enough = this.contexts.find((c) => c >= this.context && c >= position + count);
    return enough ?? this.contexts.at(-1) ?? 0;
  }

  /** Makes the caches of `fn`'s context and copies the slots of the current ones. */
  private async grow(fn: NeuralEngineFunction, executable: Executable): Promise<void> {
    const isState = this.loaded.description.cacheForm === "state";
    const isFirst = isState ? this.state === null : Object.keys(this.caches).length === 0;
    if (!isFirst && fn.context === this.context) return;
    const old = isState ? ((await this.state?.read()) ?? {}) : this.caches;
    const fresh: Record<string, Tensor> = {};
    for (const { name } of fn.caches) fresh[name] = withSlots(old[name], this.loaded.type(fn.name, name));
    if (isState) {
      this.state?.dispose();
      this.state = executable.makeState(isFirst ? {} : fresh);
    } else this.caches = fresh;
    this.context = fn.context;
  }

  private keepCaches(out: Readonly<Record<string, Tensor>>): void {
    for (const name of Object.keys(this.caches)) {
      const next = out[`${name}_out`];
      if (!next) throw new EspalierError("format/malformed", `the package gives no ${name}_out`);
      this.caches[name] = next;
    }
  }

  /** The tokens, and what is looked up for them in tables outside. */
  private async tokenInputs(fn: NeuralEngineFunction, tokens: readonly number[]): Promise<Record<string, Tensor>> {
    const { width } = fn;
    const { description, options } = this.loaded;
    const { embedding, perLayer, hidden } = description;
    const inputs: Record<string, Tensor> = {};
    const lookUp = async (name: string, table: RowTable | null | undefined, channels: number, scale: number) => {
      if (table) inputs[name] = this.input(fn, name, rowColumns(await table.rows(tokens), channels, width, scale));
    };
    if (embedding.location === "host") await lookUp("hidden", options.embedding, hidden, embedding.scale);
    else {
      const ids = new Int32Array(width);
      ids.set(tokens);
      inputs.ids = this.input(fn, "ids", { shape: [1, width], values: ids });
    }
    if (perLayer) await lookUp(perLayer.input, options.perLayer, perLayer.channels, perLayer.scale);
    return inputs;
  }

  private input(fn: NeuralEngineFunction, name: string, { shape, values }: HostArray): Tensor {
    const { dtype } = this.loaded.type(fn.name, name);
    if (values instanceof Int32Array) return { dtype: "int32", shape, data: values };
    return { dtype, shape, data: dtype === "fp16" ? float16FromFloat32(values) : values };
  }

  /** (rows, vocab) from the parts, each (1, part, 1, S); with the final soft cap, which the host
   * applies. */
  private logits(
    fn: NeuralEngineFunction,
    out: Readonly<Record<string, Tensor>>,
    { position, count }: { position: number; count: number },
  ): Float32Array {
    const { vocab, logits, finalSoftcap } = this.loaded.description;
    const rows = fn.logits === "last" ? 1 : count;
    const columns = fn.logits === "last" ? 1 : fn.width;
    const values = new Float32Array(rows * vocab);
    for (const { output, from, to } of logits) {
      const part = logitValues(out[output], position);
      for (let v = from; v < to; v++) {
        for (let r = 0; r < rows; r++) values[r * vocab + v] = f32At(part, (v - from) * columns + r);
      }
    }
    return capLogits(finalSoftcap, values);
  }
}

/** Zeros of `type` (1, R, n, D) with the slots of `old` (1, R, fewer, D) in front. */
function withSlots(old: Tensor | undefined, type: TensorType): Tensor {
  if (!old) return zeros(type);
  const [, rows, slots, dimension] = type.shape as [number, number, number, number];
  const [, oldRows, oldSlots, oldDimension] = old.shape as [number, number, number, number];
  if (oldRows !== rows || oldDimension !== dimension || oldSlots > slots) {
    throw new EspalierError("format/malformed", `a cache [${old.shape.join(", ")}] does not grow to ${showType(type)}`);
  }
  const data = newData(type.dtype, rows * slots * dimension);
  for (let r = 0; r < rows; r++) {
    data.set(old.data.subarray(r * oldSlots * dimension, (r + 1) * oldSlots * dimension), r * slots * dimension);
  }
  return { dtype: type.dtype, shape: type.shape, data };
}
