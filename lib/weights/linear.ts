/**
 * @file A stored weight as a linear function of its tables or scales, its codes held fixed.
 *
 *   palette  ŵ_i = p[table of i's row, index_i];   scaled  ŵ_i = s_r · p[…];   affine  ŵ_i = p[group of i] · (code_i − offset)
 *
 * so that a gradient of ŵ becomes one of p: ∂/∂p_j = Σ_i ∂ŵ_i/∂p_j · ∂/∂ŵ_i. A vector in fp16, such as a norm, is its own parameter.
 * Not included: dense matrices, which nothing compresses, and sparse weights; row scales and offsets count as codes.
 */
import { f32At, i8At, u8At } from "../elements.ts";
import type { AffineWeight, CompressedWeight, DenseWeight, PaletteWeight } from "./weight.ts";

export interface LinearWeight {
  /** Tables (tables, entries), scales (scaleShape), or values. */
  readonly parameters: Float32Array;
  /** out += Σ_i gradient_i · ∂ŵ_i/∂p. */
  gather(gradient: Float32Array, out: Float32Array): void;
  /** ŵ for other parameters, not rounded. */
  spread(parameters: Float32Array, out: Float32Array): void;
  /** The same codes with other parameters. */
  withParameters(parameters: Float32Array): CompressedWeight;
}

/** Null for dense matrices and sparse weights. */
export function linearWeight(w: CompressedWeight): LinearWeight | null {
  switch (w.kind) {
    case "dense":
      return w.shape.length === 1 ? vector(w) : null;
    case "palette":
      return palette(w, null, (tables) => ({ ...w, tables }));
    case "scaled":
      return palette(w.inner, w.rowScales, (tables) => ({ ...w, inner: { ...w.inner, tables } }));
    case "affine":
      return affine(w);
    case "sparse":
      return null;
  }
}

function vector(w: DenseWeight): LinearWeight {
  return {
    parameters: w.values,
    gather(gradient, out) {
      for (let i = 0; i < out.length; i++) out[i] = f32At(out, i) + f32At(gradient, i);
    },
    spread: (parameters, out) => out.set(parameters),
    withParameters: (values) => ({ ...w, values }),
  };
}

function palette(
  { shape, bits, rowsPerTable, indices, tables }: PaletteWeight,
  rowScales: Float32Array | null,
  withParameters: LinearWeight["withParameters"],
): LinearWeight {
  const [rows, columns] = shape as [number, number];
  /** Calls with the first weight of every row, its table's first entry and its scale. */
  const eachRow = (visit: (from: number, table: number, scale: number) => void): void => {
    for (let r = 0; r < rows; r++)
      visit(r * columns, Math.floor(r / rowsPerTable) * 2 ** bits, rowScales ? f32At(rowScales, r) : 1);
  };
  return {
    parameters: tables,
    gather(gradient, out) {
      eachRow((from, table, scale) => {
        for (let i = from; i < from + columns; i++) {
          const p = table + u8At(indices, i);
          out[p] = f32At(out, p) + scale * f32At(gradient, i);
        }
      });
    },
    spread(parameters, out) {
      eachRow((from, table, scale) => {
        for (let i = from; i < from + columns; i++) out[i] = scale * f32At(parameters, table + u8At(indices, i));
      });
    },
    withParameters,
  };
}

function affine(w: AffineWeight): LinearWeight {
  const { codes, offsets } = w;
  const [rows, columns] = w.shape as [number, number];
  const [scaleRows, groups] = w.scaleShape as [number, number];
  const size = columns / groups;
  /** Calls with the first weight of every group in every row, and its scale. */
  const eachGroup = (visit: (from: number, p: number, offset: number) => void): void => {
    for (let r = 0; r < rows; r++) {
      for (let g = 0; g < groups; g++) {
        const p = Math.floor((r * scaleRows) / rows) * groups + g;
        visit(r * columns + g * size, p, offsets ? i8At(offsets, p) : 0);
      }
    }
  };
  return {
    parameters: w.scales,
    gather(gradient, out) {
      eachGroup((from, p, offset) => {
        let sum = 0;
        for (let i = from; i < from + size; i++) sum += (i8At(codes, i) - offset) * f32At(gradient, i);
        out[p] = f32At(out, p) + sum;
      });
    },
    spread(parameters, out) {
      eachGroup((from, p, offset) => {
        for (let i = from; i < from + size; i++) out[i] = (i8At(codes, i) - offset) * f32At(parameters, p);
      });
    },
    withParameters: (scales) => ({ ...w, scales }),
  };
}
