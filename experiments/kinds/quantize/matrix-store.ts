/**
 * @file The compressed matrices of one model, each stored once per width, however often a search
 * needs it.
 */

import { throwIfCancelled } from "../../../lib/cancel.ts";
import { requireFloat16 } from "../../../lib/checkpoint/finite-float16.ts";
import { compressByRows } from "../../../lib/compress/quantize/by-rows.ts";
import { type Granularity, granularityFor } from "../../../lib/compress/quantize/granularity.ts";
import { inTurns } from "../../../lib/compress/quantize/steps.ts";
import { type ErrorWeights, storeAs, storeSteps, type Width } from "../../../lib/compress/quantize/width.ts";
import {
  type DecoderWeights,
  type RowTable,
  readWeight,
  type WeightEntry,
  weightList,
} from "../../../lib/decoder/weights.ts";
import { numberAt } from "../../../lib/elements.ts";
import { roundToFloat16 } from "../../../lib/float16.ts";
import { float32Data } from "../../../lib/mil/tensor.ts";
import { elementCount } from "../../../lib/mil/types.ts";
import { eventLoopTurn } from "../../../lib/turn.ts";
import { tensorUnit } from "../../../lib/units.ts";
import type { CompressedWeight } from "../../../lib/weights/weight.ts";

export class MatrixStore {
  private readonly weights: DecoderWeights;
  private readonly wanted: Granularity;
  private readonly errorWeights: ReadonlyMap<string, ErrorWeights>;
  private readonly signal: AbortSignal | undefined;
  /** By flat name and width: about a byte a weight. */
  private readonly known = new Map<string, Map<Width, CompressedWeight>>();

  constructor(
    weights: DecoderWeights,
    wanted: Granularity,
    errorWeights: ReadonlyMap<string, ErrorWeights>,
    signal?: AbortSignal,
  ) {
    this.weights = weights;
    this.wanted = wanted;
    this.errorWeights = errorWeights;
    this.signal = signal;
  }

  async get(entry: WeightEntry, width: Width): Promise<CompressedWeight> {
    const own = this.known.get(entry.name) ?? new Map<Width, CompressedWeight>();
    this.known.set(entry.name, own);
    const found = own.get(width) ?? (await this.make(entry, width));
    own.set(width, found);
    return found;
  }

  private async make(entry: WeightEntry, width: Width): Promise<CompressedWeight> {
    throwIfCancelled(this.signal);
    const { name, shape } = entry;
    const { granularity } = granularityFor(shape, this.wanted);
    const table = this.weights.tables.get(name);
    if (table) return this.makeTable(name, table, width, granularity);
    return inTurns(
      storeSteps(width, await this.values(entry), shape, granularity, this.errorWeights.get(name)),
      this.signal,
    );
  }

  private makeTable(name: string, table: RowTable, width: Width, granularity: Granularity): Promise<CompressedWeight> {
    const rows = numberAt(table.shape, 0);
    return compressByRows(table, {
      rowsTogether: width.startsWith("palette") ? (granularity.rowsPerTable ?? rows) : 1,
      // Scales of rows are relative to the whole, which is never at hand here.
      compress: (v, s) => {
        requireFloat16(v, name);
        return storeAs(width, v, s, { ...granularity, rowScales: false }, this.errorWeights.get(name));
      },
      onBlock: async () => {
        throwIfCancelled(this.signal);
        await eventLoopTurn();
      },
    });
  }

  /** What a mixture leaves alone: norm gains in fp16, since they are a thousandth of the model and decide its scale, and tables. */
  async fixed(tables: Readonly<Record<string, Width>>): Promise<Map<string, CompressedWeight>> {
    const found = new Map<string, CompressedWeight>();
    for (const entry of weightList(this.weights.arch)) {
      const width = tables[tensorUnit(entry.name)];
      if (width) found.set(entry.name, await this.get(entry, width));
      else if (entry.shape.length === 1) found.set(entry.name, await this.gain(entry));
    }
    return found;
  }

  private async gain(entry: WeightEntry): Promise<CompressedWeight> {
    return { kind: "dense", dtype: "fp16", shape: entry.shape, values: (await this.values(entry)).map(roundToFloat16) };
  }

  /** Throws `numeric/non-finite` for a value beyond fp16, which stored weights decode to. */
  private async values(entry: WeightEntry): Promise<Float32Array> {
    const values = float32Data(await readWeight(this.weights, entry));
    requireFloat16(values, entry.name);
    return values;
  }

  /** Lets go of every width that `recipe` does not choose. */
  keepOnly(recipe: Readonly<Record<string, Width>>): void {
    for (const [name, own] of this.known)
      for (const width of [...own.keys()]) if (recipe[tensorUnit(name)] !== width) own.delete(width);
  }

  /** Every weight by flat name; what `made` holds already is taken from there. */
  async all(
    recipe: Readonly<Record<string, Width>>,
    made: ReadonlyMap<string, CompressedWeight>,
    onShare: (share: number) => void,
  ): Promise<Map<string, CompressedWeight>> {
    const list = weightList(this.weights.arch);
    const total = list.reduce((n, e) => n + elementCount(e.shape), 0);
    const found = new Map<string, CompressedWeight>();
    let done = 0;
    for (const entry of list) {
      const width = recipe[tensorUnit(entry.name)];
      const known = made.get(entry.name);
      found.set(entry.name, known ?? (await (width === undefined ? this.gain(entry) : this.get(entry, width))));
      done += elementCount(entry.shape);
      onShare(done / total);
    }
    return found;
  }
}
