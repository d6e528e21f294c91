/**
 * @file The conformance suite: every op of the table, in fp32 and fp16, and every gradient, on every engine.
 *
 * Forward results are compared with the naive interpreter. A gradient is checked twice: the gradient program run
 * by the interpreter in float64 against central differences of the forward program, which tests the rule; and the
 * same program run by each engine against the interpreter, which tests the engine.
 */
import { beforeAll, describe, expect, it } from "vitest";
import type { Engine } from "../../lib/engines/engine.ts";
import { roundToFloat16 } from "../../lib/float16.ts";
import { differentiate } from "../../lib/mil/autodiff.ts";
import { Builder } from "../../lib/mil/builder.ts";
import { opTable } from "../../lib/mil/op.ts";
import type { MilFunction, Value } from "../../lib/mil/program.ts";
import { elementCount, isFloat, tensorType } from "../../lib/mil/types.ts";
import { createRng } from "../../lib/random.ts";
import { engines } from "./engines.ts";
import { evaluate, fromTensor, type Naive, naiveOps, toTensor } from "./naive.ts";
import { type OpCase, opCases } from "./op-cases.ts";

const cases = opCases();
/** Checked with states, below. */
const stateful = ["const", "read_state", "write_state"];

/** The value as its own type holds it. */
const held = (t: Naive): Naive => (t.dtype === "fp16" ? { ...t, data: t.data.map(roundToFloat16) } : t);
const inHalf = (t: Naive): Naive => (t.dtype === "fp32" ? held({ ...t, dtype: "fp16" }) : t);

interface Built {
  readonly fn: MilFunction;
  readonly inputs: Record<string, Naive>;
}

/** The op alone, its results as outputs y0, y1…; every argument that is no constant is an input. */
function buildCase(c: OpCase, map: (t: Naive) => Naive = held): Built {
  const b = new Builder("case");
  const inputs: Record<string, Naive> = {};
  const place = (name: string, t: Naive): Value => {
    const value = map(t);
    if (c.constant?.some((k) => name === k)) return b.constant(toTensor(value), name);
    inputs[name] = value;
    return b.input(name, tensorType(value.dtype, value.shape));
  };
  const args = Object.fromEntries(
    Object.entries(c.inputs).map(([name, v]) => [
      name,
      "dtype" in v ? place(name, v) : v.map((t, i) => place(`${name}_${i}`, t)),
    ]),
  );
  const results = b.op(c.op, args, { ...c.params });
  return { fn: b.build(Object.fromEntries(results.map((r, i) => [`y${i}`, r]))), inputs };
}

async function runOn(engine: Engine, built: Built, float16: "round" | "widen"): Promise<Record<string, Naive>> {
  const executable = await engine.compile(built.fn, { float16 });
  const feeds = Object.fromEntries(Object.entries(built.inputs).map(([k, t]) => [k, toTensor(t)]));
  const results = await executable.run(feeds);
  await executable.dispose();
  return Object.fromEntries(Object.entries(results).map(([k, t]) => [k, fromTensor(t)]));
}

/**
 * fp32: 24 bits, a few operations, approximated transcendentals; sums here are short. fp16: one rounding of an
 * fp32 result, so at most one unit in the last place (2⁻¹⁰) away where the two sides fall on either side of a tie.
 */
const tolerance = { fp32: 2e-6, fp16: 2 ** -10 };

function expectClose(found: Record<string, Naive>, expected: Record<string, Naive>, scale = 1): void {
  expect(Object.keys(found).sort()).toEqual(Object.keys(expected).sort());
  for (const [name, want] of Object.entries(expected)) {
    const got = found[name] as Naive;
    expect([name, got.dtype, got.shape, got.data.length]).toEqual([name, want.dtype, want.shape, want.data.length]);
    const float = isFloat(want.dtype);
    const size = Math.max(0, ...want.data.map((v) => (Number.isFinite(v) ? Math.abs(v) : 0)));
    // Sums cancel and kernels approximate to an absolute error, so fp32 is measured against the largest element.
    const absolute = float ? tolerance.fp32 * scale * Math.max(size, 1) : 0;
    want.data.forEach((w, i) => {
      const g = got.data[i] as number;
      const allowed = absolute + (want.dtype === "fp16" ? tolerance.fp16 * Math.abs(w) : 0);
      const close = Object.is(g, w) || g === w || (Number.isFinite(w) && Math.abs(g - w) <= allowed);
      if (!close) expect.fail(`${name}[${i}] is ${g}, expected ${w} within ${allowed}`);
    });
  }
}

/** Some float input has a gradient, and no fixed ones are counted. */
function differentiable(c: OpCase): string[] {
  if (c.gradient === false || !opTable.get(c.op)?.gradient) return [];
  return Object.entries(c.inputs).flatMap(([name, v]) => {
    if (c.fixed?.includes(name)) return [];
    const list = "dtype" in v ? [[name, v] as const] : v.map((t, i) => [`${name}_${i}`, t] as const);
    return list.filter(([, t]) => isFloat(t.dtype)).map(([key]) => key);
  });
}

/** Σ r ⊙ y over every float result, with r a random input: a scalar that feels every element. */
function projected(c: OpCase): Built {
  const { fn, inputs } = buildCase(c);
  const rng = createRng(7, `${c.op} ${c.label}`);
  const b = new Builder("projected");
  const map = new Map<Value, Value>(fn.inputs.map((i) => [i, b.input(i.name, i.type)]));
  const get = (v: Value): Value => map.get(v) as Value;
  for (const op of fn.operations) {
    const args = Object.fromEntries(
      Object.entries(op.inputs).map(([k, v]) => [k, Array.isArray(v) ? v.map(get) : get(v as Value)]),
    );
    const made = op.constant ? [b.constant(op.constant)] : b.op(op.type, args, { ...op.params });
    op.outputs.forEach((o, i) => {
      map.set(o, made[i] as Value);
    });
  }
  const all: Record<string, Naive> = { ...inputs };
  let loss: Value = b.fill([], 0);
  fn.outputs.forEach((o, i) => {
    if (o.type.kind !== "tensor" || !isFloat(o.type.dtype)) return;
    const { shape } = o.type;
    all[`r${i}`] = {
      dtype: "fp32",
      shape,
      data: Float64Array.from({ length: elementCount(shape) }, () => Math.fround(rng.normal())),
    };
    const y = b.cast(get(o), "fp32");
    loss = b.add(loss, b.sum(b.mul(y, b.input(`r${i}`, tensorType("fp32", shape)))));
  });
  return { fn: b.build({ loss }), inputs: all };
}

/** ∂loss/∂input by central differences of order 4 in float64, whose error is near h⁴ + ε/h ≈ 1e-11. */
function finiteDifferences(built: Built, name: string): Float64Array {
  const h = 1e-3;
  const x = built.inputs[name] as Naive;
  const lossAt = (i: number, step: number): number => {
    const data = x.data.slice();
    data[i] = (data[i] as number) + step;
    return evaluate(built.fn, { ...built.inputs, [name]: { ...x, data } }).loss?.data[0] as number;
  };
  return x.data.map((_, i) => (8 * (lossAt(i, h) - lossAt(i, -h)) - (lossAt(i, 2 * h) - lossAt(i, -2 * h))) / (12 * h));
}

describe("the table", () => {
  it("has a case and a reference for every op", () => {
    const covered = new Set([...cases.map((c) => c.op), ...stateful]);
    expect([...opTable.keys()].filter((op) => !covered.has(op))).toEqual([]);
    expect([...opTable.keys()].filter((op) => !naiveOps.has(op))).toEqual([]);
    expect([...covered].filter((op) => !opTable.has(op))).toEqual([]);
  });

  it("has a differentiated case for every op with a gradient", () => {
    const checked = new Set(cases.filter((c) => differentiable(c).length > 0).map((c) => c.op));
    const rules = [...opTable.values()].filter((s) => s.gradient).map((s) => s.type);
    expect(rules.filter((op) => !checked.has(op))).toEqual([]);
  });

  it("has no two cases of one name", () => {
    const names = cases.map((c) => `${c.op} ${c.label}`);
    expect(names.filter((n, i) => names.indexOf(n) !== i)).toEqual([]);
  });
});

const ops = [...new Set(cases.map((c) => c.op))];
const casesOf = (op: string): OpCase[] => cases.filter((c) => c.op === op);

/** Runs `check` on each case of an op and says which one failed. */
async function eachCase(op: string, check: (c: OpCase) => Promise<void> | void): Promise<void> {
  for (const c of casesOf(op)) {
    try {
      await check(c);
    } catch (cause) {
      throw new Error(`${c.op} (${c.label}): ${cause instanceof Error ? cause.message : cause}`, { cause });
    }
  }
}

describe("gradients agree with finite differences", () => {
  it.each(ops.filter((op) => casesOf(op).some((c) => differentiable(c).length > 0)))("%s", async (op) => {
    await eachCase(op, (c) => {
      const wrt = differentiable(c);
      if (wrt.length === 0) return;
      const built = projected(c);
      const found = evaluate(differentiate(built.fn, "loss", wrt), built.inputs);
      for (const name of wrt) {
        const expected = finiteDifferences(built, name);
        const gradient = found[`d_${name}`] as Naive;
        expect(gradient.shape).toEqual(built.inputs[name]?.shape);
        expected.forEach((want, i) => {
          const got = gradient.data[i] as number;
          const allowed = 1e-7 * Math.max(1, Math.abs(want));
          if (!(Math.abs(got - want) <= allowed)) expect.fail(`d_${name}[${i}] is ${got}, expected ${want}`);
        });
      }
    });
  });
});

describe.each(engines)("$name", ({ create }) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await create();
  });

  describe("computes as the reference does", () => {
    it.each(ops)("%s", async (op) => {
      await eachCase(op, async (c) => {
        const built = buildCase(c);
        expectClose(await runOn(engine, built, "widen"), evaluate(built.fn, built.inputs));
      });
    });
  });

  describe("computes in fp16 as the reference does, rounding once", () => {
    const takesHalf = (c: OpCase): boolean =>
      c.float16 !== false &&
      Object.values(c.inputs).some((v) => [v].flat().some((t) => "dtype" in t && t.dtype === "fp32"));
    it.each(ops.filter((op) => casesOf(op).some(takesHalf)))("%s", async (op) => {
      await eachCase(op, async (c) => {
        if (!takesHalf(c)) return;
        const built = buildCase(c, inHalf);
        expectClose(await runOn(engine, built, "round"), evaluate(built.fn, built.inputs, { float16: true }));
      });
    });
  });

  describe("computes gradients as the reference does", () => {
    it.each(ops.filter((op) => casesOf(op).some((c) => differentiable(c).length > 0)))("%s", async (op) => {
      await eachCase(op, async (c) => {
        const wrt = differentiable(c);
        if (wrt.length === 0) return;
        const built = projected(c);
        const program = { fn: differentiate(built.fn, "loss", wrt), inputs: built.inputs };
        // A gradient is a longer chain of fp32 operations than the op itself.
        expectClose(await runOn(engine, program, "widen"), evaluate(program.fn, program.inputs), 10);
      });
    });
  });
});
