import { join } from "node:path";
import { expect, test } from "vitest";
import { leaveOneOut } from "../../lib/compress/importance/leave-one-out.ts";
import { headsByName } from "../../lib/compress/prune/selection.ts";
import { pruneHeads } from "../../lib/compress/prune/slice.ts";
import { DecoderRunner } from "../../lib/decoder/runner.ts";
import { createOnnxRuntimeEngine } from "../../lib/engines/onnxruntime/engine.ts";
import { sequenceLosses } from "../../lib/eval/perplexity.ts";
import { writeFileAtomic } from "../../lib/files/atomic.ts";
import { temporaryFolder } from "../../test/fixtures/tiny-model.ts";
import { modelSession } from "../models.ts";
import { heldOutDocuments, SEPARATOR } from "../starter/corpus.ts";
import { textSequences } from "../text.ts";
import { openWhatIf } from "./what-if.ts";

const starter = join(import.meta.dirname, "../starter/model");
const engine = await createOnnxRuntimeEngine({ threads: 1 });
const models = modelSession(engine, async (r) => r);
const text = join(await temporaryFolder(), "text.txt");
await writeFileAtomic(text, heldOutDocuments("calibrate", 6).join(SEPARATOR));
let now = 0;
const whatIf = await openWhatIf(
  { engine, models, clock: { nowMs: () => ++now } },
  { model: starter, text, separator: SEPARATOR, limit: 6 },
);
const model = await models.open(starter);
const { sequences } = await textSequences({ text, separator: SEPARATOR, limit: 6, context: 128 }, model);

test("one head alone is worth what leave-one-out says", async () => {
  const { units } = await leaveOneOut(model.runner, sequences, [{ layer: 6, kind: "heads", index: 4 }]);
  const values = [...(units[0]?.perSequence ?? [])];
  const found = await whatIf.measure(["L6.H4"]);
  expect(found.sequences).toBe(6);
  expect(found.difference).toBeCloseTo(values.reduce((a, b) => a + b, 0) / values.length, 5);
});

test("a selection is worth what the sliced model loses", async () => {
  const selection = ["L7.H2", "L5.H0", "L2.G1"];
  const sliced = pruneHeads(model.weights, headsByName(model.weights.arch, selection));
  const perToken = async (runner: DecoderRunner) =>
    (await sequenceLosses(runner, sequences)).map((l) => l.nll / l.tokens);
  const [before, after] = [await perToken(model.runner), await perToken(new DecoderRunner(engine, sliced))];
  const mean = after.reduce((n, v, i) => n + v - (before[i] as number), 0) / after.length;
  const partial: number[] = [];
  const found = await whatIf.measure(selection, { onPartial: (p) => partial.push(p.sequences) });
  expect(found.difference).toBeCloseTo(mean, 4);
  expect(partial.at(-1)).toBe(6);
});

test("nothing selected changes nothing; an unknown head is refused; a cancelled measurement ends", async () => {
  expect((await whatIf.measure([])).difference).toBe(0);
  await expect(whatIf.measure(["L99.H0"])).rejects.toMatchObject({ code: "prune/unknown-unit" });
  await expect(whatIf.measure(["L1.mlp"])).rejects.toMatchObject({ code: "prune/unknown-unit" });
  const cancel = new AbortController();
  cancel.abort();
  await expect(whatIf.measure(["L0.H0"], { signal: cancel.signal })).rejects.toMatchObject({ code: "run/cancelled" });
});

test("text before and after says where it first differs", async () => {
  const same = await whatIf.generate("Once", [], { maxTokens: 8 });
  expect(same.firstDifference).toBeNull();
  const { base, pruned, firstDifference } = await whatIf.generate("Once", ["L7.G0"], { maxTokens: 24 });
  const at = base.tokens.findIndex((t, i) => t !== pruned.tokens[i]);
  expect(firstDifference).toBe(at < 0 ? null : at);
  expect(base.tokens.slice(0, 8)).toEqual(same.base.tokens);
});
