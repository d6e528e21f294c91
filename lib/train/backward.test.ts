import { expect, test } from "vitest";
import { tinyIds, tinyModel } from "../../test/fixtures/tiny-model.ts";
import { isTrained } from "../decoder/architecture.ts";
import { perLayerRows, weightList } from "../decoder/weights.ts";
import { createOnnxRuntimeEngine } from "../engines/onnxruntime/onnxruntime-engine.ts";
import { f32, float32Data, i32, type Tensor } from "../mil/tensor.ts";
import { createRng } from "../random.ts";
import { Backward } from "./backward.ts";
import { trainingProgram } from "./training-program.ts";

const engine = await createOnnxRuntimeEngine({ threads: 1 });
const shape = { batch: 2, length: 9 };
const rows = shape.batch * shape.length;

test.each(["llama", "biased", "granite", "olmo2", "gemma2", "gemma3", "gemma4", "gemma4_dense"] as const)(
  "%s: gradients half by half are those of the whole program",
  async (family) => {
    const weights = tinyModel(family, 4);
    const { vocab } = weights.arch;
    const ids = tinyIds(rows, vocab, 1);
    const targets = tinyIds(rows, vocab, 2);
    const tokenWeights = Float32Array.from({ length: rows }, (_, i) => (i % 3) / rows);
    const rng = createRng(5);
    const teacher = f32(
      [rows, vocab],
      Float32Array.from({ length: rows * vocab }, () => 2 * rng.normal()),
    );
    const objective = { crossEntropy: 0.3, distillation: 0.7, temperature: 2 };
    const exe = await engine.compile(trainingProgram(weights.arch, shape, objective));
    const whole = await exe.run({
      ids: i32([shape.batch, shape.length], ids),
      targets: i32([rows], targets),
      tokenWeights: f32([rows], tokenWeights),
      teacherLogits: teacher,
      ...Object.fromEntries(weights.tensors),
      ...(await perLayerRows(weights, ids, shape.batch)),
    });
    const names = weightList(weights.arch).flatMap(({ name, role }) => (isTrained(role) ? [name] : []));
    const backward = new Backward(engine, weights, { trained: new Set(names) });
    const sums = new Map<string, Float64Array>();
    const add = (name: string, gradient: Float32Array): void => {
      const sum = sums.get(name) ?? new Float64Array(gradient.length);
      sums.set(
        name,
        sum.map((v, i) => v + (gradient[i] as number)),
      );
    };
    const tape = await backward.forward(ids, shape);
    const logits = {
      kind: "logits" as const,
      logits: async (from: number, count: number): Promise<Tensor> =>
        f32([count, vocab], float32Data(teacher).subarray(from * vocab, (from + count) * vocab)),
    };
    const { dx, ...found } = await backward.head(tape, targets, tokenWeights, objective, logits, add);
    await backward.back(tape, dx, add);
    for (const name of ["loss", "crossEntropy", "divergence"] as const)
      expect(found[name]).toBeCloseTo(float32Data(whole[name] as Tensor)[0] as number, 5);
    for (const name of names) {
      const expected = float32Data(whole[`d_${name}`] as Tensor);
      const scale = Math.max(...expected.map(Math.abs));
      const own = sums.get(name) as Float64Array;
      const worst = own.reduce((w, v, i) => Math.max(w, Math.abs(v - (expected[i] as number))), 0);
      expect(worst, name).toBeLessThan(1e-6 + 1e-4 * scale);
    }
    // All tokens as the top ones say what the logits say.
    const top = {
      kind: "top" as const,
      top: vocab,
      ids: Int32Array.from({ length: rows * vocab }, (_, i) => i % vocab),
      logP: logSoftmax(float32Data(teacher), vocab, objective.temperature),
      rest: new Float32Array(rows),
    };
    const again = await backward.head(tape, targets, tokenWeights, objective, top, () => {});
    expect(again.loss).toBeCloseTo(found.loss, 5);
    for (const [i, v] of dx.entries()) expect(again.dx[i]).toBeCloseTo(v, 5);
    await backward.dispose();
  },
);

function logSoftmax(values: Float32Array, width: number, temperature: number): Float32Array {
  const out = new Float32Array(values.length);
  for (let r = 0; r < values.length; r += width) {
    const own = [...values.subarray(r, r + width)].map((v) => v / temperature);
    const most = Math.max(...own);
    const total = most + Math.log(own.reduce((t, v) => t + Math.exp(v - most), 0));
    for (const [i, v] of own.entries()) out[r + i] = v - total;
  }
  return out;
}
