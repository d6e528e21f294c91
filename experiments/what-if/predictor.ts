/**
 * @file The predictions for one model on one text: gradients of all gates from one pass over a few sequences, at once; then,
 * step by step, more sequences and selections that are measured to correct them by.
 */

import type { GateUnit } from "../../lib/compress/importance/gates.ts";
import type { DecoderArchitecture } from "../../lib/decoder/architecture.ts";
import { f64At, itemAt, numberAt } from "../../lib/elements.ts";
import type { TokenSequence } from "../../lib/eval/sequences.ts";
import { createRng } from "../../lib/random.ts";
import { meanAndError } from "../../lib/stats/ratio.ts";
import { parseUnit } from "../../lib/units.ts";
import { NEURON_BLOCK, unitsOf } from "../kinds/sensitivity/model-units.ts";
import { type ClosedLayer, closedBy } from "./closed-gates.ts";
import {
  type Calibration,
  calibrate,
  drawSelections,
  type MeasuredSelection,
  predictSelection,
  type SelectionSize,
} from "./taylor-prediction.ts";

export interface SelectionPrediction {
  /** Σ of single effects by Taylor, nats per token. */
  readonly additive: number;
  readonly value: number;
  /** Of 95 %; null until enough selections are measured to know one. */
  readonly low: number | null;
  readonly high: number | null;
  /** Selections that were measured to correct the sum by. */
  readonly selections: number;
  /** Sequences the gradients are of. */
  readonly sequences: number;
}

export interface Refinement {
  readonly done: number;
  readonly of: number;
}

/** Selections measured to correct predictions by, and how many there must be for an interval. */
const CALIBRATING = 32;
const ENOUGH = 8;
/** Of the sequences, twice as many as are looked at first are looked at later. */
const LATER = 2;

/** By sequence, of each gate of a layer. */
interface LayerGradients {
  readonly heads: readonly Float64Array[];
  readonly neurons: readonly Float64Array[];
  readonly attention: Float64Array;
  readonly mlp: Float64Array;
  readonly perLayer: Float64Array | null;
}

/** Which units selections are drawn from: heads alone for heads and groups, heads and blocks of neurons for all else. */
const pools = { heads: ["heads"], all: ["heads", "neurons"] } as const;
type Pool = keyof typeof pools;

export interface PredictorParts {
  readonly arch: DecoderArchitecture;
  readonly sequences: readonly TokenSequence[];
  /** How many of them, from the front, are looked at first. */
  readonly first: number;
  /** Gradients by unit and sequence. */
  gradients(sequences: readonly TokenSequence[], units: readonly GateUnit[]): Promise<readonly Float64Array[]>;
  /** The change of loss on the first sequences, nats per token. */
  measureFirst(closed: readonly ClosedLayer[]): Promise<number>;
}

export class Predictor {
  private readonly parts: PredictorParts;
  /** Groups of sequences in order; the first is made when the first prediction is asked for. */
  private readonly known: LayerGradients[][] = [];
  private making: Promise<void> | null = null;
  private readonly measured: Record<Pool, Map<string, MeasuredSelection>> = { heads: new Map(), all: new Map() };
  private readonly drawn: Partial<Record<Pool, string[][]>> = {};
  private readonly fitted: Partial<Record<Pool, Calibration>> = {};

  constructor(parts: PredictorParts) {
    this.parts = parts;
  }

  private get looked(): number {
    return this.known.reduce((n, g) => n + (g[0]?.attention.length ?? 0), 0);
  }

  /** Looks at `count` more sequences. */
  private look(count: number): Promise<void> {
    this.making ??= this.lookNow(count).finally(() => {
      this.making = null;
    });
    return this.making;
  }

  private async lookNow(count: number): Promise<void> {
    const { arch, sequences } = this.parts;
    const from = this.looked;
    const kinds = ["attention", "mlp", ...(arch.perLayer ? (["perLayer"] as const) : [])] as const;
    const units = arch.layers.flatMap((layer, l): GateUnit[] => [
      ...Array.from({ length: layer.queryHeads }, (_, index) => ({ layer: l, kind: "heads" as const, index })),
      ...Array.from({ length: layer.neurons }, (_, index) => ({ layer: l, kind: "neurons" as const, index })),
      ...kinds.map((kind) => ({ layer: l, kind, index: 0 })),
    ]);
    const found = await this.parts.gradients(sequences.slice(from, from + count), units);
    const left = [...found];
    const take = (n: number): Float64Array[] => left.splice(0, n);
    this.known.push(
      arch.layers.map(({ queryHeads, neurons }) => {
        const own = { heads: take(queryHeads), neurons: take(neurons) };
        const [attention, mlp, perLayer] = take(kinds.length) as [Float64Array, Float64Array, Float64Array?];
        return { ...own, attention, mlp, perLayer: perLayer ?? null };
      }),
    );
  }

  /** A by sequence, and D, over the first `groups` groups of sequences. */
  private effects(closed: readonly ClosedLayer[], groups = this.known.length): { perSequence: number[]; size: number } {
    const perSequence: number[] = [];
    let size = 0;
    let sequences = 0;
    for (const group of this.known.slice(0, groups)) {
      const count = group[0]?.attention.length ?? 0;
      const sums = new Array<number>(count).fill(0);
      const add = (g: Float64Array): void => {
        for (let s = 0; s < count; s++) sums[s] = numberAt(sums, s) - f64At(g, s);
      };
      const sized = (g: Float64Array): void => {
        for (let s = 0; s < count; s++) size += Math.abs(f64At(g, s));
      };
      for (const [l, c] of closed.entries()) {
        const own = group[l];
        if (!own) continue;
        const heads = own.heads.filter((_, h) => c.attention || c.heads.has(h));
        const neurons = own.neurons.filter((_, n) => c.mlp || c.neurons.has(n));
        for (const g of c.attention ? [own.attention] : heads) add(g);
        for (const g of c.mlp ? [own.mlp] : neurons) add(g);
        if (c.perLayer && own.perLayer) add(own.perLayer);
        for (const g of [...heads, ...neurons]) sized(g);
      }
      perSequence.push(...sums);
      sequences += count;
    }
    return { perSequence, size: sequences > 0 ? size / sequences : 0 };
  }

  private sizeOf(closed: readonly ClosedLayer[], pool: Pool, groups = this.known.length): SelectionSize {
    const { perSequence, size } = this.effects(closed, groups);
    const { arch } = this.parts;
    return {
      additive: perSequence.reduce((t, v) => t + v, 0) / Math.max(1, perSequence.length),
      size,
      share: unitsClosed(closed, arch, pool === "heads") / unitsOf(arch, pools[pool]).length,
    };
  }

  /** From gradients alone at first; corrected by what has been measured since. */
  async predict(selection: readonly string[]): Promise<SelectionPrediction> {
    const { arch, sequences, first } = this.parts;
    const closed = closedBy(arch, selection);
    if (this.known.length === 0) await this.look(first);
    const pool = poolOf(selection);
    const calibration = this.fitted[pool];
    const size = this.sizeOf(closed, pool);
    const common = { additive: size.additive, selections: calibration?.selections ?? 0, sequences: this.looked };
    if (!calibration) return { ...common, value: size.additive, low: null, high: null };
    const { standardError } = meanAndError(this.effects(closed).perSequence);
    const unseen = 1 - this.looked / sequences.length;
    return { ...common, ...predictSelection(calibration, size, unseen > 0 ? unseen * standardError ** 2 : 0) };
  }

  /** Adds the measured effect of a selection on the first sequences. */
  observe(selection: readonly string[], closed: readonly ClosedLayer[], measured: number): void {
    if (selection.length === 0 || this.known.length === 0) return;
    const pool = poolOf(selection);
    const own = this.measured[pool];
    own.set([...selection].sort().join(), { ...this.sizeOf(closed, pool, 1), measured });
    if (own.size >= ENOUGH) this.fitted[pool] = calibrate([...own.values()]);
  }

  /** One step further: more sequences first, then a few selections of the kind that `selection` is. */
  async refine(
    selection: readonly string[],
    steps: number,
    pause: () => Promise<void> = async () => undefined,
  ): Promise<Refinement> {
    const { arch, sequences, first } = this.parts;
    const pool = poolOf(selection);
    if (this.known.length === 0) await this.look(first);
    else if (this.known.length === 1 && this.looked < sequences.length) await this.look(LATER * first);
    const own = this.measured[pool];
    this.drawn[pool] ??= this.draw(pool);
    const left = (this.drawn[pool] ?? []).filter((names) => !own.has([...names].sort().join()));
    for (const names of left.slice(0, steps)) {
      await pause();
      const closed = closedBy(arch, names);
      this.observe(names, closed, await this.parts.measureFirst(closed));
    }
    const of = (this.drawn[pool] ?? []).length;
    return { done: of - Math.max(0, left.length - steps), of };
  }

  private draw(pool: Pool): string[][] {
    const { arch } = this.parts;
    const units = unitsOf(arch, pools[pool]);
    const names = units.map((u) => u.name);
    const effects = units.map(({ layer, kind, index, count }) => {
      const own = this.known[0]?.[layer];
      const gates = (kind === "heads" ? own?.heads : own?.neurons)?.slice(index, index + count) ?? [];
      return -gates.reduce((total, g) => total + g.reduce((t, v) => t + v, 0) / g.length, 0);
    });
    return drawSelections(effects, CALIBRATING, createRng(0, `what-if ${pool}`)).map((drawn) =>
      withoutEmptyLayers(
        arch.layers.map((l) => l.queryHeads),
        drawn.map((i) => itemAt(names, i)),
      ),
    );
  }
}

const poolOf = (selection: readonly string[]): Pool =>
  selection.every((n) => ["heads", "groups"].includes(parseUnit(n).kind)) ? "heads" : "all";

/** Draws may take all heads of a layer; its last one is left in. */
function withoutEmptyLayers(heads: readonly number[], names: readonly string[]): string[] {
  const gone = heads.map(() => 0);
  return names.filter((name) => {
    const { kind, layer } = parseUnit(name);
    if (kind !== "heads") return true;
    if ((gone[layer] ?? 0) + 1 >= (heads[layer] ?? 0)) return false;
    gone[layer] = (gone[layer] ?? 0) + 1;
    return true;
  });
}

/** How many units of the pool a selection amounts to: heads, and blocks of neurons. */
function unitsClosed(closed: readonly ClosedLayer[], arch: DecoderArchitecture, onlyHeads: boolean): number {
  return closed.reduce((n, c, l) => {
    const layer = arch.layers[l];
    const heads = c.attention ? (layer?.queryHeads ?? 0) : c.heads.size;
    const neurons = c.mlp ? (layer?.neurons ?? 0) : c.neurons.size;
    return n + heads + (onlyHeads ? 0 : neurons / NEURON_BLOCK);
  }, 0);
}
