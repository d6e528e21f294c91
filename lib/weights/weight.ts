/**
 * @file The one closed type of a compressed weight, and what it stands for.
 *
 * A value holds exactly the codes, scales and tables that go into a package (fp16 where the package
 * keeps fp16). Evaluating a compressed model means decoding exactly these; there is no second "fake
 * quantization" path.
 *
 *   dense    w
 *   affine   w = scale · (code − offset), one scale per block of rows × columns
 *   palette  w = table[group][index], one table per `rowsPerTable` consecutive rows
 *   sparse   w = 0 where the mask is 0, else the next nonzero
 *   scaled   w = diag(s) · palette: the package multiplies what the palette gives by s, so the product is never rounded
 *
 * A weight whose data is not at hand yet is a `DeferredWeight`: its form is known, so everything can be counted and typed.
 * Not included: vector palettes, sparse palettes.
 */

export interface DenseWeight {
  readonly kind: "dense";
  readonly dtype: "fp32" | "fp16";
  readonly shape: readonly number[];
  /** Row-major; rounded to fp16 already when `dtype` is fp16. */
  readonly values: Float32Array;
}

export interface AffineWeight {
  readonly kind: "affine";
  readonly bits: 4 | 8;
  readonly shape: readonly number[]; // (rows, columns)
  /** Signed codes, one per byte. */
  readonly codes: Int8Array; // (rows, columns)
  /** Rounded to fp16. */
  readonly scales: Float32Array; // scaleShape
  /** Divides `shape` entry by entry. */
  readonly scaleShape: readonly number[]; // (rows, columns / groupSize)
  /** Same type as the codes; null when symmetric. */
  readonly offsets: Int8Array | null; // scaleShape
}

export interface PaletteWeight {
  readonly kind: "palette";
  readonly bits: 1 | 2 | 3 | 4 | 6 | 8;
  readonly shape: readonly number[]; // (rows, columns)
  readonly indices: Uint8Array; // (rows, columns)
  /** Rounded to fp16. */
  readonly tables: Float32Array; // (rows / rowsPerTable, 2^bits)
  readonly rowsPerTable: number;
}

export interface SparseWeight {
  readonly kind: "sparse";
  readonly shape: readonly number[];
  /** 0 or 1, one per byte. */
  readonly mask: Uint8Array; // shape
  /** Rounded to fp16. */
  readonly nonzeros: Float32Array; // (popcount of mask)
}

/**
 * A palette with a scale for every output channel. Core ML has no such weight below iOS 26, and need not: (diag(s) P) x is
 * s ⊙ (P x), so the scale multiplies the output of the projection, or the row that was looked up.
 */
export interface ScaledWeight {
  readonly kind: "scaled";
  readonly shape: readonly number[];
  readonly inner: PaletteWeight;
  /** Rounded to fp16. */
  readonly rowScales: Float32Array; // (rows)
}

export type CompressedWeight = DenseWeight | AffineWeight | PaletteWeight | SparseWeight | ScaledWeight;

/** Everything about a weight but its data. */
export type WeightForm =
  | { readonly kind: "dense"; readonly dtype: "fp32" | "fp16"; readonly shape: readonly number[] }
  | {
      readonly kind: "affine";
      readonly bits: AffineWeight["bits"];
      readonly shape: readonly number[];
      readonly scaleShape: readonly number[];
      readonly offsets: boolean;
    }
  | PaletteForm
  | { readonly kind: "sparse"; readonly shape: readonly number[]; readonly nonzeros: number }
  | { readonly kind: "scaled"; readonly shape: readonly number[]; readonly inner: PaletteForm };

export interface PaletteForm {
  readonly kind: "palette";
  readonly bits: PaletteWeight["bits"];
  readonly shape: readonly number[];
  readonly rowsPerTable: number;
}

export interface DeferredWeight {
  readonly kind: "deferred";
  readonly form: WeightForm;
  /** Consecutive rows of the weight, or of `rows`, each a weight of the same kind; made one at a
   * time, and again at every call. */
  pieces(rows?: RowRange): AsyncIterable<CompressedWeight>;
}

/** Rows `from` … `to` − 1. */
export interface RowRange {
  readonly from: number;
  readonly to: number;
}
