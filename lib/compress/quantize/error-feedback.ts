/**
 * @file The coefficients with which GPTQ corrects a column's error in the columns that follow.
 *
 * Reference: Chee et al., "QuIP: 2-Bit Quantization of Large Language Models With Guarantees" (2023), theorem 6: with
 * H = (I + F) D (I + F)ᵀ, F strictly upper triangular, GPTQ is
 *
 *   ŵ_k = Q(w_k + Σ_{i<k} (w_i − ŵ_i) F_ik)
 *
 * which needs one factorization of H instead of the factor of its inverse. The factorization is Cholesky's from the last column
 * to the first, in blocks whose products of rows run four columns at a time.
 */
import type { Steps } from "./steps.ts";

/** Columns factored at once. */
const BLOCK = 48;

/** I + F (n, n), unit upper triangular, of a symmetric H (n, n); null when H is not positive definite. */
export function* upperUnitFactor(h: Float64Array, n: number): Steps<Float32Array | null> {
  // Cholesky of H with rows and columns reversed: L_ij there is the factor's entry (n − 1 − i, n − 1 − j).
  const l = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) l[i * n + j] = h[(n - 1 - i) * n + (n - 1 - j)] as number;
  }
  for (let from = 0; from < n; from += BLOCK) {
    const to = Math.min(n, from + BLOCK);
    for (let i = from; i < n; i++) {
      takeProducts(l, n, i, from, Math.min(to, i + 1), from);
      // Within the block, column by column; rows of the diagonal block are complete before those below them are reached.
      for (let j = from; j < to && j <= i; j++) {
        let v = l[i * n + j] as number;
        for (let k = from; k < j; k++) v -= (l[i * n + k] as number) * (l[j * n + k] as number);
        if (i === j) {
          if (!(v > 0)) return null;
          l[i * n + i] = Math.sqrt(v);
        } else l[i * n + j] = v / (l[j * n + j] as number);
      }
    }
    yield;
  }
  const out = new Float32Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++)
      out[(n - 1 - i) * n + (n - 1 - j)] = (l[i * n + j] as number) / (l[j * n + j] as number);
  }
  return out;
}

/** l_ij −= Σ_{k<inner} l_ik l_jk for j from … to − 1. */
function takeProducts(l: Float64Array, n: number, i: number, from: number, to: number, inner: number): void {
  const row = i * n;
  let j = from;
  for (; j + 3 < to; j += 4) {
    const [r0, r1, r2, r3] = [j * n, (j + 1) * n, (j + 2) * n, (j + 3) * n];
    let [s0, s1, s2, s3] = [0, 0, 0, 0];
    for (let k = 0; k < inner; k++) {
      const v = l[row + k] as number;
      s0 += v * (l[r0 + k] as number);
      s1 += v * (l[r1 + k] as number);
      s2 += v * (l[r2 + k] as number);
      s3 += v * (l[r3 + k] as number);
    }
    l[row + j] = (l[row + j] as number) - s0;
    l[row + j + 1] = (l[row + j + 1] as number) - s1;
    l[row + j + 2] = (l[row + j + 2] as number) - s2;
    l[row + j + 3] = (l[row + j + 3] as number) - s3;
  }
  for (; j < to; j++) {
    let s = 0;
    for (let k = 0; k < inner; k++) s += (l[row + k] as number) * (l[j * n + k] as number);
    l[row + j] = (l[row + j] as number) - s;
  }
}
