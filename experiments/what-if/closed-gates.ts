/** @file The effect of removing a selection of units, as closed gates by layer and as weights of 0.
 */

import { closedGates } from "../../lib/compress/importance/gates.ts";
import { selectionByName } from "../../lib/compress/prune/prune-selection.ts";
import { type DecoderArchitecture, isKvSource } from "../../lib/decoder/architecture.ts";
import type { Gates } from "../../lib/decoder/runner.ts";
import { type GateKind, gateShape } from "../../lib/decoder/sequence-programs.ts";
import { type DecoderWeights, weight } from "../../lib/decoder/weights.ts";
import { numberAt } from "../../lib/elements.ts";
import { EspalierError } from "../../lib/errors.ts";
import { f32, float32Data, type Tensor } from "../../lib/mil/tensor.ts";
import { parseUnit } from "../../lib/units.ts";

export interface ClosedLayer {
  readonly heads: ReadonlySet<number>;
  readonly neurons: ReadonlySet<number>;
  readonly attention: boolean;
  readonly mlp: boolean;
  /** What its per-layer embeddings add, where the model has them. */
  readonly perLayer: boolean;
}

/** Gates of a layer where only heads are closed, and of one where more is: these are the two
 * programs to compile. */
export const headGates: readonly GateKind[] = ["heads"];
export const allGates = (arch: DecoderArchitecture): readonly GateKind[] => [
  "heads",
  "neurons",
  "attention",
  "mlp",
  ...(arch.perLayer ? (["perLayer"] as const) : []),
];

/**
 * Heads, KV groups, neurons, attention, MLPs and layers by name. Throws `prune/…` as pruning itself would: for what is not
 * there, and for a layer left without heads though its attention is not named.
 */
export function closedBy(arch: DecoderArchitecture, selection: readonly string[]): ClosedLayer[] {
  const whole = arch.layers.map(() => new Set<GateKind>());
  const units = selection.map((name) => ({ name, ...parseUnit(name) }));
  for (const { name, ...unit } of units) {
    const own = whole[unit.layer];
    if (!own) {
      throw new EspalierError("prune/unknown-unit", `${name}: there is no layer ${unit.layer}`, {
        hint: `Layers are L0 to L${arch.layers.length - 1}.`,
      });
    }
    for (const { kind } of closedGates(unit, arch)) own.add(kind);
  }
  const isWhole = (layer: number, kind: GateKind): boolean => whole[layer]?.has(kind) === true;
  const parts = units.filter(
    ({ kind, layer }) =>
      ((kind === "heads" || kind === "groups") && !isWhole(layer, "attention")) ||
      (kind === "neurons" && !isWhole(layer, "mlp")),
  );
  const { heads, neurons } = selectionByName(
    arch,
    parts.map((u) => u.name),
  );
  return arch.layers.map((_, l) => ({
    heads: new Set(heads[l]),
    neurons: new Set(neurons[l]),
    attention: isWhole(l, "attention"),
    mlp: isWhole(l, "mlp"),
    perLayer: isWhole(l, "perLayer"),
  }));
}

export const isOpen = (c: ClosedLayer): boolean => c.heads.size + c.neurons.size === 0 && !c.attention && !c.mlp;

/** Nothing of the layer is left and nothing of it is needed: the stream passes by. */
export const isGone = (arch: DecoderArchitecture, index: number, c: ClosedLayer): boolean =>
  c.attention && c.mlp && !arch.perLayer && !arch.layers[index]?.layerScalar && !isKvSource(arch, index);

/** The gates of a layer for a batch; none when all is open. */
export function gatesFor(arch: DecoderArchitecture, layer: number, closed: ClosedLayer, batch: number): Gates {
  const l = arch.layers[layer];
  if (!l || isOpen(closed)) return {};
  const onlyHeads = closed.neurons.size === 0 && !closed.attention && !closed.mlp;
  return gatesOf(arch, layer, onlyHeads ? headGates : allGates(arch), closed, batch);
}

/** Gates of these kinds, whether closed or not. */
export function gatesOf(
  arch: DecoderArchitecture,
  layer: number,
  kinds: readonly GateKind[],
  closed: ClosedLayer,
  batch: number,
): Gates {
  const l = arch.layers[layer];
  if (!l) return {};
  const isClosed = (kind: GateKind, index: number): boolean => {
    if (kind === "heads") return closed.heads.has(index);
    if (kind === "neurons") return closed.neurons.has(index);
    if (kind === "attention") return closed.attention;
    return kind === "mlp" ? closed.mlp : kind === "perLayer" && closed.perLayer;
  };
  return Object.fromEntries(
    kinds.map((kind) => {
      const shape = gateShape(kind, l, batch);
      const width = shape.length === 2 ? numberAt(shape, 1) : 1;
      const values = Float32Array.from({ length: batch * width }, (_, i) => (isClosed(kind, i % width) ? 0 : 1));
      return [kind, f32(shape, values)];
    }),
  );
}

export const nothingClosed: ClosedLayer = {
  heads: new Set(),
  neurons: new Set(),
  attention: false,
  mlp: false,
  perLayer: false,
};

/**
 * The model with the columns of the output and down projections at 0 that closed gates would silence: the same numbers
 * with the same programs, whatever is closed.
 */
export function silenced(weights: DecoderWeights, closed: readonly ClosedLayer[]): DecoderWeights {
  const tensors = new Map<string, Tensor>(weights.tensors);
  for (const [l, c] of closed.entries()) {
    const layer = weights.arch.layers[l];
    if (!layer) continue;
    const zero = (name: string, isGone: (column: number) => boolean): void => {
      const t = weight(weights, name);
      const columns = numberAt(t.shape, 1);
      tensors.set(
        name,
        f32(
          t.shape,
          float32Data(t).map((v, i) => (isGone(i % columns) ? 0 : v)),
        ),
      );
    };
    if (c.attention || c.heads.size > 0)
      zero(`L${l}_output`, (column) => c.attention || c.heads.has(Math.floor(column / layer.headDim)));
    if (c.mlp || c.neurons.size > 0) zero(`L${l}_down`, (column) => c.mlp || c.neurons.has(column));
    if (c.perLayer) zero(`L${l}_perLayerProjection`, () => true);
  }
  return { ...weights, tensors };
}
