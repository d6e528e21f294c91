/**
 * @file RMSNorm as one kernel: x / √(mean x² + ε) ⊙ w, or without w, is `SimplifiedLayerNormalization`.
 *
 * Matched as mul(mul(x, rsqrt(reduce_mean(square(x)), ε)), w) over the last axis, w a vector as long as it.
 */
import { dim, numberAt } from "../../../elements.ts";
import type { Operation, Value } from "../../../mil/program.ts";
import { elementCount } from "../../../mil/types.ts";
import { eitherOrder, type Fusion, type FusionMatch, madeBy, numbers, operand, shapeOf } from "./pattern.ts";

/** x / √(mean x² + ε). */
function normalized(scale: Operation): Normalized | null {
  for (const [x, r] of eitherOrder(scale)) {
    const root = madeBy(r, "rsqrt");
    const mean = root && madeBy(operand(root, "x"), "reduce_mean");
    const square = mean && madeBy(operand(mean, "x"), "square");
    if (!root || !mean || !square || operand(square, "x") !== x) continue;
    const rank = shapeOf(x).length;
    const axes = numbers(mean, "axes");
    if (axes.length !== 1 || ![rank - 1, -1].includes(numberAt(axes, 0)) || mean.params.keep_dims !== true) continue;
    return { x, epsilon: Number(root.params.epsilon), covers: [scale, root, mean, square] };
  }
  return null;
}

interface Normalized {
  readonly x: Value;
  readonly epsilon: number;
  readonly covers: readonly Operation[];
}

function fused({ x, epsilon, covers }: Normalized, gain: Value | null): FusionMatch | null {
  const shape = shapeOf(x);
  if (elementCount(shape) === 0) return null;
  const width = dim(shape, -1);
  return {
    covers,
    emit: (g, nameOf) => {
      const weight = gain ? nameOf(gain) : g.initializer("float", [width], new Float32Array(width).fill(1));
      return g.node("SimplifiedLayerNormalization", [nameOf(x), weight], { axis: -1, epsilon: { float: epsilon } });
    },
  };
}

export const rmsNorm: Fusion = (last) => {
  if (last.type !== "mul") return null;
  for (const [inner, gain] of eitherOrder(last)) {
    const scale = madeBy(inner, "mul");
    const found = scale && normalized(scale);
    const shape = shapeOf(gain);
    if (!found || shape.length !== 1 || shape[0] !== shapeOf(found.x).at(-1)) continue;
    return fused({ ...found, covers: [last, ...found.covers] }, gain);
  }
  const alone = normalized(last);
  return alone && fused(alone, null);
};
