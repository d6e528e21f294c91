/**
 * @file A teacher's predictions, reduced to the k most likely tokens and the mass of all others.
 *
 *   log p_i = z_i / τ − log Σ_v exp(z_v / τ),  r = 1 − Σ_top p
 *
 * Reference: the tail bucket of cached distillation; see `head-gradients.ts` for the loss. Ties go to the lower id.
 */
import { f32At, f64At, i32At } from "../elements.ts";

export interface TopTokens {
  readonly top: number;
  readonly ids: Int32Array; // (rows, top)
  readonly logP: Float32Array; // (rows, top), of ids, the most likely first
  readonly rest: Float32Array; // (rows)
}

/** Of logits (rows, vocab). */
export function topTokens(logits: Float32Array, vocab: number, top: number, temperature: number): TopTokens {
  const rows = logits.length / vocab;
  const found = {
    top,
    ids: new Int32Array(rows * top),
    logP: new Float32Array(rows * top),
    rest: new Float32Array(rows),
  };
  const best = new Float64Array(top);
  const ids = new Int32Array(top);
  for (let r = 0; r < rows; r++) {
    const at = r * vocab;
    let count = 0;
    let most = Number.NEGATIVE_INFINITY;
    for (let v = 0; v < vocab; v++) {
      const z = f32At(logits, at + v) / temperature;
      if (z > most) most = z;
      if (count === top && z <= f64At(best, top - 1)) continue;
      // Insertion from the end: few values get this far once the first have been seen.
      let i = count < top ? count++ : top - 1;
      for (; i > 0 && f64At(best, i - 1) < z; i--) {
        best[i] = f64At(best, i - 1);
        ids[i] = i32At(ids, i - 1);
      }
      best[i] = z;
      ids[i] = v;
    }
    let total = 0;
    for (let v = 0; v < vocab; v++) total += Math.exp(f32At(logits, at + v) / temperature - most);
    const logTotal = most + Math.log(total);
    let mass = 0;
    for (let i = 0; i < top; i++) {
      const logP = f64At(best, i) - logTotal;
      found.ids[r * top + i] = i32At(ids, i);
      found.logP[r * top + i] = logP;
      mass += Math.exp(logP);
    }
    found.rest[r] = top === vocab ? 0 : Math.max(0, 1 - mass);
  }
  return found;
}

/** Rows of several, one after the other. */
export function joinTopTokens(parts: readonly TopTokens[]): TopTokens {
  const top = parts[0]?.top ?? 0;
  const rows = parts.reduce((n, p) => n + p.rest.length, 0);
  const joined = {
    top,
    ids: new Int32Array(rows * top),
    logP: new Float32Array(rows * top),
    rest: new Float32Array(rows),
  };
  let at = 0;
  for (const p of parts) {
    joined.ids.set(p.ids, at * top);
    joined.logP.set(p.logP, at * top);
    joined.rest.set(p.rest, at);
    at += p.rest.length;
  }
  return joined;
}
