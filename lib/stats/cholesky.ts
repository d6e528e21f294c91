/**
 * @file Symmetric positive definite systems by Cholesky's factors.
 *
 *   A = L Lᵀ;   A X = B  by L Y = B, then Lᵀ X = Y
 *
 * Matrices are dense, row by row. Not included: pivoting; callers damp the diagonal instead.
 */

/** Lower triangular L of a (n, n); null when a is not positive definite. */
export function cholesky(a: Float64Array, n: number): Float64Array | null {
  const l = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let v = a[i * n + j] as number;
      for (let k = 0; k < j; k++) v -= (l[i * n + k] as number) * (l[j * n + k] as number);
      if (i === j) {
        if (!(v > 0)) return null;
        l[i * n + i] = Math.sqrt(v);
      } else l[i * n + j] = v / (l[j * n + j] as number);
    }
  }
  return l;
}

/** Solves L Lᵀ X = B in place; `b` (n, columns). */
export function solveCholesky(l: Float64Array, n: number, b: Float64Array, columns: number): void {
  const reduce = (to: number, from: number, factor: number): void => {
    const [a, z] = [to * columns, from * columns];
    for (let c = 0; c < columns; c++) b[a + c] = (b[a + c] as number) - factor * (b[z + c] as number);
  };
  const divide = (row: number): void => {
    const pivot = l[row * n + row] as number;
    for (let c = row * columns; c < (row + 1) * columns; c++) b[c] = (b[c] as number) / pivot;
  };
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < i; k++) reduce(i, k, l[i * n + k] as number);
    divide(i);
  }
  for (let i = n - 1; i >= 0; i--) {
    for (let k = i + 1; k < n; k++) reduce(i, k, l[k * n + i] as number);
    divide(i);
  }
}

/** A⁻¹ from its factor, (n, n). */
export function inverseOfCholesky(l: Float64Array, n: number): Float64Array {
  // Rows of L⁻ᵀ are columns of L⁻¹: both products below then run along rows.
  const inverse = new Float64Array(n * n);
  const columns = new Float64Array(n * n);
  for (let c = 0; c < n; c++) {
    const own = columns.subarray(c * n, (c + 1) * n);
    for (let r = c; r < n; r++) {
      let v = r === c ? 1 : 0;
      for (let k = c; k < r; k++) v -= (l[r * n + k] as number) * (own[k] as number);
      own[r] = v / (l[r * n + r] as number);
    }
  }
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let v = 0;
      for (let k = i; k < n; k++) v += (columns[i * n + k] as number) * (columns[j * n + k] as number);
      inverse[i * n + j] = v;
      inverse[j * n + i] = v;
    }
  }
  return inverse;
}
