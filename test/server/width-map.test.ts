/** A width map as a page sees it: cell by cell while a real task measures them, and afterwards. */
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { heldOutDocuments, heldOutQuestions, SEPARATOR } from "../../experiments/starter/corpus.ts";
import { allocateWidths } from "../../lib/compress/allocate/allocation.ts";
import type { Core } from "../../server/core.ts";
import { registerModel } from "../../server/models/model-registry.ts";
import { getRun, submitRun } from "../../server/runs/lifecycle.ts";
import { runWidthMap } from "../../server/runs/run-width-map.ts";
import { addText } from "../../server/texts/texts.ts";
import { type Host, startHost } from "../../workers/host.ts";
import { whatIfService } from "../../workers/what-if-service.ts";
import { openTestCore } from "./workbench-fixture.ts";

let core: Core;
let host: Host;
beforeAll(async () => {
  core = await openTestCore("embedded");
  await registerModel(core, join(import.meta.dirname, "../../experiments/starter/model"), { id: "starter" });
  await addText(core, {
    id: "held.out",
    kind: "text",
    separator: SEPARATOR,
    content: heldOutDocuments("select", 3).join(SEPARATOR),
  });
  await addText(core, {
    id: "questions",
    kind: "tasks",
    content: heldOutQuestions("select", 6)
      .map((q) => JSON.stringify(q))
      .join("\n"),
  });
  host = await startHost(core, { threadsPerTask: 1, alone: true });
}, 120_000);
afterAll(async () => {
  await host.stop();
  await core.close();
}, 60_000);

test("the matrix fills in while the run works, and an allocation follows from it", { timeout: 300_000 }, async () => {
  const run = await submitRun(core, {
    kind: "sensitivity",
    config: {
      model: "starter",
      text: "held.out",
      separator: SEPARATOR,
      limit: 1,
      context: 64,
      units: ["tensors"],
      widths: ["palette3", "palette4"],
    },
  });
  const seen = [0];
  for (;;) {
    const { state } = await getRun(core, run.id);
    const matrix = await runWidthMap(core, run.id);
    expect(matrix.done).toBeGreaterThanOrEqual(seen.at(-1) ?? 0);
    expect(matrix.cells).toHaveLength(matrix.done);
    if (matrix.done > (seen.at(-1) ?? 0)) seen.push(matrix.done);
    if (matrix.measuring) expect(matrix.measuring).toMatch(/^(embedding|L\d\.\w+) palette[34]$/);
    if (!["queued", "running"].includes(state)) break;
    await new Promise((go) => setTimeout(go, 150));
  }
  expect((await getRun(core, run.id)).state).toBe("succeeded");
  const matrix = await runWidthMap(core, run.id);
  expect(matrix).toMatchObject({ done: 114, total: 114, widths: ["palette4", "palette3"], measuring: null });
  expect(matrix.columns).toHaveLength(57);
  // It was there in parts before it was there whole.
  expect(seen.length).toBeGreaterThan(2);
  const found = allocateWidths(matrix, 900_000);
  expect(found.tensors).not.toBeNull();
  expect(found.sizeBytes).toBeLessThanOrEqual(900_000);

  const other = await submitRun(core, { kind: "prune", config: { model: "starter", drop: ["L0.H0"] } });
  await expect(runWidthMap(core, other.id)).rejects.toMatchObject({ code: "input/invalid" });
});

test("the what-if process answers every kind of question", { timeout: 300_000 }, async () => {
  const whatIf = whatIfService(core);
  try {
    const on = { model: "starter", text: "held.out" };
    const asked = { client: "test" };
    const partials: number[] = [];
    const measured = await whatIf.ask(
      { ask: "measure", ...on, selection: ["L6.H1", "L2.N0-31"] },
      { ...asked, onPartial: (p) => partials.push(p.kl.mean) },
    );
    expect(measured.kl.mean).toBeGreaterThan(0);
    expect(partials.length).toBeGreaterThan(0);
    const { tokens, weights } = await whatIf.ask(
      { ask: "attention", ...on, prompt: "Once upon", unit: "L1.H2" },
      asked,
    );
    expect(weights).toHaveLength(tokens.length);
    expect((await whatIf.ask({ ask: "explain", ...on, unit: "L1.G1" }, asked)).breaks.length).toBeGreaterThan(0);
    const answers = await whatIf.ask(
      { ask: "accuracy", ...on, selection: ["L3"], tasks: "questions", limit: 6 },
      asked,
    );
    expect(answers.items).toBe(6);
    const first = await whatIf.ask({ ask: "predict", ...on, selection: ["L6.H1"] }, asked);
    expect(first).toMatchObject({ low: null, high: null, selections: 0 });
    // Long work does not keep a measurement waiting.
    const long = whatIf.ask({ ask: "refine", ...on, selection: ["L6.H1"] }, asked);
    let isDone = false;
    void long.then(() => {
      isDone = true;
    });
    await whatIf.ask({ ask: "measure", ...on, selection: ["L7.H1"] }, asked);
    expect(isDone).toBe(false);
    const { done, of } = await long;
    expect(done).toBeGreaterThan(0);
    expect(done).toBeLessThan(of);
    await expect(
      whatIf.ask({ ask: "accuracy", ...on, selection: [], tasks: "held.out", limit: 6 }, asked),
    ).rejects.toMatchObject({ code: "input/invalid" });
  } finally {
    await whatIf.close();
  }
});
