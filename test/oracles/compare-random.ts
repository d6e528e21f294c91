/**
 * Compares what coremltools made of random programs (check_random.py) with what we make of them: the type of every value, the
 * values it folds or decodes, and its own serialisation, which our reader must take and which must compute the same.
 * Usage: compare-random.ts FOLDER
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createOnnxRuntimeEngine } from "../../lib/engines/onnxruntime/onnxruntime-engine.ts";
import { EspalierError } from "../../lib/errors.ts";
import { float32FromFloat16 } from "../../lib/float16.ts";
import { readPackage } from "../../lib/formats/coreml/package-reader.ts";
import { decodeConstexpr } from "../../lib/mil/constexpr.ts";
import { argumentsOf } from "../../lib/mil/op.ts";
import { removeDeadCode } from "../../lib/mil/passes/dead-code.ts";
import type { MilFunction, Operation, Value } from "../../lib/mil/program.ts";
import type { Tensor } from "../../lib/mil/tensor.ts";
import { createRng } from "../../lib/random.ts";
import { randomTensor } from "./random-program.ts";

interface Described {
  readonly types: Record<string, [string, number[]]>;
  readonly folded: Record<string, (number | string)[]>;
  readonly decoded: Record<string, (number | string)[]>;
}
interface Result {
  readonly error?: string;
  readonly functions?: Record<string, Described>;
}

const folder = process.argv[2] ?? ".";
const engine = await createOnnxRuntimeEngine({ threads: 1 });
const faults: string[] = [];
const counts = { types: 0, folded: 0, decoded: 0, notFinite: 0, again: 0, notRun: 0 };

const numbersOf = (t: Tensor): number[] => [
  ...(t.data instanceof Uint16Array && t.dtype === "fp16" ? float32FromFloat16(t.data) : t.data),
];

/** Whether two numbers agree within what the element type can say, several operations deep. */
function agree(a: number, b: number, dtype: string, half: boolean): boolean {
  if (Object.is(a, b) || a === b || (Number.isNaN(a) && Number.isNaN(b))) return true;
  if (!Number.isFinite(a) || !Number.isFinite(b)) return dtype === "fp16" && Math.max(Math.abs(a), Math.abs(b)) > 60000;
  const tolerance = dtype === "fp16" || (half && dtype === "fp32") ? 2e-2 : dtype === "fp32" ? 1e-4 : 0;
  return Math.abs(a - b) <= tolerance * Math.max(1, Math.abs(a), Math.abs(b));
}

function compareTypes(where: string, fn: MilFunction, theirs: Described): void {
  for (const op of fn.operations) {
    if (op.type === "const") continue;
    for (const o of op.outputs) {
      const found = theirs.types[o.name];
      if (!found || o.type.kind !== "tensor") continue;
      counts.types++;
      if (found[0] !== o.type.dtype || found[1].join() !== o.type.shape.join())
        faults.push(
          `${where}: ${op.type} ${o.name} is ${o.type.dtype}[${o.type.shape}], coremltools says ${found[0]}[${found[1]}]`,
        );
    }
  }
}

const decode = (op: Operation, output: number, known: Map<Value, Tensor>): Tensor | null => {
  const operands: Record<string, Tensor> = {};
  for (const [name, v] of Object.entries(op.inputs)) {
    const t = known.get(v as Value);
    if (t) operands[name] = t;
  }
  const type = op.outputs[output]?.type;
  return type?.kind === "tensor" ? decodeConstexpr(argumentsOf(op), operands, type, output) : null;
};

function compareDecoded(where: string, fn: MilFunction, theirs: Described): void {
  const known = new Map<Value, Tensor>();
  for (const op of fn.operations) {
    const [out] = op.outputs;
    if (!out) continue;
    if (op.constant) known.set(out, op.constant);
    if (!op.type.startsWith("constexpr_")) continue;
    for (const [i, value] of op.outputs.entries()) {
      const made = decode(op, i, known);
      if (!made) continue;
      known.set(value, made);
      const found = theirs.decoded[value.name];
      if (!found) continue;
      counts.decoded++;
      const ours = numbersOf(made);
      if (ours.length !== found.length || ours.some((v, at) => v !== Number(found[at])))
        faults.push(`${where}: ${op.type} ${value.name} decodes differently`);
    }
  }
}

const orderings = new Set(["argsort", "topk", "reduce_argmax", "reduce_argmin"]);

/** Whether two orderings of the same elements differ only where elements are equal. */
function isTie(value: Value, theirs: Described, ours: number[], found: number[]): boolean {
  const op = value.producer;
  const x = op?.inputs.x as Value | undefined;
  if (!op || !x || !orderings.has(op.type) || x.type.kind !== "tensor") return false;
  const data = x.producer?.constant
    ? numbersOf(x.producer.constant)
    : (theirs.folded[x.name] ?? theirs.decoded[x.name])?.map(Number);
  if (!data) return false;
  const { shape, dtype } = x.type;
  const axis = (Number(op.params.axis) + shape.length) % shape.length;
  const inner = shape.slice(axis + 1).reduce((n, d) => n * d, 1);
  const size = shape[axis] ?? 1;
  const kept =
    value.type.kind === "tensor" && op.type !== "argsort" && op.type !== "topk"
      ? 1
      : ours.length / (data.length / size);
  const at = (i: number, index: number): number => {
    const outer = Math.floor(i / (inner * kept));
    return data[(outer * size + index) * inner + (i % inner)] ?? Number.NaN;
  };
  return ours.every((index, i) => agree(at(i, index), at(i, found[i] ?? 0), dtype, dtype === "fp16"));
}

const holdsHalf = (fn: MilFunction): boolean =>
  fn.operations.some((op) => op.outputs.some((o) => o.type.kind === "tensor" && o.type.dtype === "fp16"));

/** Runs the part of a function that coremltools folded, and compares. */
async function compareFolded(where: string, fn: MilFunction, theirs: Described): Promise<void> {
  const wanted = fn.operations
    .flatMap((op) => (op.type === "const" || op.type.startsWith("constexpr_") ? [] : op.outputs))
    .filter((o) => theirs.folded[o.name] !== undefined && o.type.kind === "tensor");
  const half = holdsHalf(fn);
  /** Positions of equal elements, whose order is nobody's promise, and what is not finite; what follows from them is left out. */
  const unsettled = new Set<Value>();
  for (const value of wanted) {
    const { folded } = theirs;
    const operations = fn.operations.filter((op) => op.type !== "write_state");
    // Some values are known whatever the inputs are: the shape of one, for instance.
    const constant: MilFunction = removeDeadCode({ ...fn, operations, outputs: [value] });
    if (constant.operations.some((op) => op.outputs.some((o) => unsettled.has(o)))) continue;
    let out: Tensor | undefined;
    try {
      const executable = await engine.compile(constant, { float16: "round" });
      out = (await executable.run(randomInputs(where, fn), executable.makeState()))[value.name];
      await executable.dispose();
    } catch (thrown) {
      if (!(thrown instanceof EspalierError) || thrown.code !== "program/unsupported-op") throw thrown;
      counts.notRun++;
      continue;
    }
    if (!out) throw new Error(`${where}: no ${value.name}`);
    counts.folded++;
    const ours = numbersOf(out);
    const found = (folded[value.name] ?? []).map(Number);
    // What comes of NaN and of infinities is not agreed on, nor what an overflow rounds to.
    if (![...ours, ...found].every((v) => Math.abs(v) < 60000)) {
      counts.notFinite++;
      unsettled.add(value);
      continue;
    }
    const bad = ours.findIndex((v, i) => !agree(v, found[i] ?? Number.NaN, out?.dtype ?? "", half));
    if (bad >= 0 && isTie(value, theirs, ours, found)) unsettled.add(value);
    else if (bad >= 0)
      faults.push(
        `${where}: ${value.producer?.type} ${value.name}[${bad}] is ${ours[bad]}, coremltools folds ${found[bad]}`,
      );
  }
}

function randomInputs(where: string, fn: MilFunction): Record<string, Tensor> {
  const rng = createRng(7, where);
  const inputs: Record<string, Tensor> = {};
  for (const { name, type } of fn.inputs)
    if (type.kind === "tensor") inputs[name] = randomTensor(rng, type.dtype, type.shape);
  return inputs;
}

/** Both programs on the same inputs, from zero states. */
async function compareRun(where: string, ours: MilFunction, theirs: MilFunction): Promise<void> {
  const inputs = randomInputs(where, ours);
  const results = [];
  for (const fn of [ours, theirs]) {
    try {
      const executable = await engine.compile(removeDeadCode(fn), { float16: "round" });
      results.push(await executable.run(inputs, executable.makeState()));
      await executable.dispose();
    } catch (thrown) {
      if (!(thrown instanceof EspalierError) || thrown.code !== "program/unsupported-op") throw thrown;
      counts.notRun++;
      return;
    }
  }
  const [a, b] = results;
  for (const { name } of ours.outputs) {
    const [x, y] = [a?.[name], b?.[name]];
    if (!x || !y || numbersOf(x).some((v, i) => !agree(v, numbersOf(y)[i] ?? Number.NaN, x.dtype, holdsHalf(ours))))
      faults.push(`${where}: the output ${name} of coremltools' serialisation differs`);
  }
  counts.again++;
}

const packages = readdirSync(folder).filter((f) => /^\d+\.mlpackage$/.test(f));
for (const file of packages) {
  const result: Result = JSON.parse(readFileSync(join(folder, file.replace(".mlpackage", ".result.json")), "utf8"));
  if (result.error !== undefined) {
    faults.push(`${file}: refused: ${result.error}`);
    continue;
  }
  const read = await readPackage(join(folder, file));
  for (const fn of read.program.functions) {
    const theirs = result.functions?.[fn.name];
    if (!theirs) {
      faults.push(`${file}: coremltools has no function ${fn.name}`);
      continue;
    }
    compareTypes(`${file} ${fn.name}`, fn, theirs);
    compareDecoded(`${file} ${fn.name}`, fn, theirs);
    await compareFolded(`${file} ${fn.name}`, fn, theirs);
  }
  try {
    const again = await readPackage(join(folder, file.replace(".mlpackage", ".again.mlpackage")));
    for (const fn of read.program.functions) {
      const other = again.program.functions.find((f) => f.name === fn.name);
      if (other) await compareRun(`${file} ${fn.name}`, fn, other);
      else faults.push(`${file}: the serialisation lacks ${fn.name}`);
    }
  } catch (thrown) {
    if (!(thrown instanceof EspalierError)) throw thrown;
    faults.push(`${file}: coremltools' serialisation: ${thrown.code}: ${thrown.message}`);
  }
}
for (const fault of faults) console.log(fault);
console.log(
  `${packages.length} programs: ${counts.types} types, ${counts.folded} folded and ${counts.decoded} decoded values compared (${counts.notFinite} more not finite), ${counts.again} functions of coremltools' serialisation run, ${counts.notRun} not run here; ${faults.length} differences`,
);
process.exit(faults.length > 0 || packages.length === 0 ? 1 : 0);
