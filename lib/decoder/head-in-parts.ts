/**
 * @file Loss and divergence over a vocabulary in parts, for a head that is larger than memory should hold.
 *
 *   Z   = log Σ_s exp(Z_s)                       Z_s = logsumexp of the logits z of part s
 *   nll = Z − z[target]
 *   KL  = Z − Z_b + Σ_s exp(B_s − Z_b) d_s       b, B_s, Z_b: the same of the base;  d_s = Σ_{v in s} softmax_s(b)_v (b_v − z_v)
 *
 * What is kept of a part is a few numbers for each row, so no more logits than those of one part exist at once.
 */
import { f32At, f64At, i32At } from "../elements.ts";
import { floatData, intData } from "../engines/outputs.ts";
import { Builder } from "../mil/builder.ts";
import type { MilFunction, Value } from "../mil/program.ts";
import { i32, type Tensor } from "../mil/tensor.ts";
import { fp32, int32 } from "../mil/types.ts";
import type { DecoderArchitecture } from "./architecture.ts";
import { headFromInputs } from "./sequence-programs.ts";
import type { VocabularyPart } from "./weights.ts";

/** Tokens in a part: 84 MB of fp32 at a width of 2560. */
const PART_TOKENS = 8192;

export function vocabularyParts(vocab: number): VocabularyPart[] {
  return Array.from({ length: Math.ceil(vocab / PART_TOKENS) }, (_, i) => ({
    from: i * PART_TOKENS,
    to: Math.min(vocab, (i + 1) * PART_TOKENS),
  }));
}

/**
 * `x` (rows, hidden), `finalNorm`, `head` (part, hidden), `targets` (rows) within the part, and with `besideBase` also
 * `baseLogits` (rows, part) → by row `z` = Z_s, `picked` = z[target], `best` = max z, `top1`; of the base `base_z` and so on,
 * and `d` = d_s.
 */
export function headPartProgram(
  arch: DecoderArchitecture,
  part: VocabularyPart,
  rows: number,
  besideBase: boolean,
): MilFunction {
  const own = { ...arch, vocab: part.to - part.from };
  const b = new Builder("head_part");
  const targets = b.expandDims(b.input("targets", int32(rows)), [1]);
  const at = (logits: Value, indices: Value): Value => b.squeeze(b.gatherAlongAxis(logits, indices, 1), [1]);
  const facts = (logits: Value) => ({
    z: b.logSumExp(logits, [1]),
    picked: at(logits, targets),
    best: b.max(logits, [1]),
    top1: b.argmax(logits),
  });
  const logits = headFromInputs(b, own, rows);
  if (!besideBase) return b.build(facts(logits));
  const base = b.input("baseLogits", fp32(rows, own.vocab));
  const { z, picked, best, top1 } = facts(base);
  const d = b.sum(b.mul(b.softmax(base, 1), b.sub(base, logits)), [1]);
  return b.build({ ...facts(logits), base_z: z, base_picked: picked, base_best: best, base_top1: top1, d });
}

/** The targets as they count within a part; one outside it is 0, and its value is not used. */
export const targetsWithin = (targets: Int32Array, { from, to }: VocabularyPart): Tensor =>
  i32(
    [targets.length],
    targets.map((t) => (t >= from && t < to ? t - from : 0)),
  );

type Out = Readonly<Record<string, Tensor>>;

/** What the parts of a vocabulary have said of one model's rows so far. */
class RowFacts {
  /** log Σ exp of the logits of all parts seen. */
  readonly z: Float64Array; // (rows)
  readonly picked: Float64Array; // (rows)
  readonly top1: Int32Array; // (rows)
  private readonly best: Float64Array; // (rows)

  constructor(rows: number) {
    this.z = new Float64Array(rows).fill(Number.NEGATIVE_INFINITY);
    this.picked = new Float64Array(rows);
    this.best = new Float64Array(rows).fill(Number.NEGATIVE_INFINITY);
    this.top1 = new Int32Array(rows);
  }

  /** Takes a part's values of the rows from `at` on. */
  add(out: Out, prefix: string, at: number, part: VocabularyPart, targets: Int32Array): void {
    const of = (name: string): Float32Array => floatData(out[prefix + name]);
    const [z, picked, best, top1] = [of("z"), of("picked"), of("best"), intData(out[`${prefix}top1`])];
    for (let r = 0; r < z.length; r++) {
      const row = at + r;
      const target = i32At(targets, row);
      this.z[row] = logAddExp(f64At(this.z, row), f32At(z, r));
      if (target >= part.from && target < part.to) this.picked[row] = f32At(picked, r);
      // Of equal logits the first counts, as in one argmax over all.
      if (f32At(best, r) > f64At(this.best, row)) {
        this.best[row] = f32At(best, r);
        this.top1[row] = part.from + i32At(top1, r);
      }
    }
  }

  nll(): Float32Array {
    return Float32Array.from(this.z, (z, row) => z - f64At(this.picked, row));
  }
}

/** The loss of all rows, once every part was added. */
export class LossInParts {
  private readonly own: RowFacts;
  private readonly targets: Int32Array;

  constructor(targets: Int32Array) {
    this.own = new RowFacts(targets.length);
    this.targets = targets;
  }

  add(out: Out, at: number, part: VocabularyPart): void {
    this.own.add(out, "", at, part, this.targets);
  }

  result(): { nll: Float32Array; top1: Int32Array } {
    return { nll: this.own.nll(), top1: this.own.top1 };
  }
}

/** The loss of all rows of a model and of its base, and the divergence between them. */
export class ComparisonInParts {
  private readonly own: RowFacts;
  private readonly base: RowFacts;
  /** Σ_s exp(B_s − Z_b) d_s over the parts seen. */
  private readonly d: Float64Array;
  private readonly targets: Int32Array;

  constructor(targets: Int32Array) {
    this.own = new RowFacts(targets.length);
    this.base = new RowFacts(targets.length);
    this.d = new Float64Array(targets.length);
    this.targets = targets;
  }

  add(out: Out, at: number, part: VocabularyPart): void {
    const before = this.base.z.slice();
    this.own.add(out, "", at, part, this.targets);
    this.base.add(out, "base_", at, part, this.targets);
    const [z, d] = [floatData(out.base_z), floatData(out.d)];
    for (let r = 0; r < d.length; r++) {
      const row = at + r;
      const now = f64At(this.base.z, row);
      this.d[row] = f64At(this.d, row) * Math.exp(f64At(before, row) - now) + f32At(d, r) * Math.exp(f32At(z, r) - now);
    }
  }

  result(): { nll: Float32Array; baseNll: Float32Array; kl: Float32Array; agree: Int32Array } {
    const { own, base } = this;
    return {
      nll: own.nll(),
      baseNll: base.nll(),
      kl: Float32Array.from(this.d, (d, row) => f64At(own.z, row) - f64At(base.z, row) + d),
      agree: own.top1.map((token, row) => (token === i32At(base.top1, row) ? 1 : 0)),
    };
  }
}

function logAddExp(a: number, b: number): number {
  const most = Math.max(a, b);
  return most + Math.log1p(Math.exp(Math.min(a, b) - most));
}
