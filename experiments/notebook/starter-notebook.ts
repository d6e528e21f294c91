/**
 * @file The notebook that comes with Espalier: which heads the starter can live without, told by measuring it.
 *
 * Its cells are not run beforehand; running them one after the other is how the tool is learned.
 */
import { SEPARATOR } from "../starter/corpus.ts";
import type { NotebookContent } from "./cells.ts";

export const STARTER_NOTEBOOK = "nb_starter";

const on = (split: "calibrate" | "select") => ({ text: `starter-${split}`, separator: SEPARATOR });
const text = (id: string, words: string): NotebookContent["cells"][number] => ({ id, type: "markdown", text: words });
const experiment = (id: string, kind: string, config: Record<string, unknown>): NotebookContent["cells"][number] => ({
  id,
  type: "experiment",
  kind,
  config,
  runId: null,
});

export function starterNotebook(): NotebookContent {
  return {
    title: "Which heads can the starter live without?",
    cells: [
      text(
        "intro",
        `A head is worth the loss that its removal causes:

$$\\Delta_i = \\mathcal{L}(\\theta \\setminus i) - \\mathcal{L}(\\theta)$$

paired by sequence, so that what both runs share cancels. This notebook measures all 64 heads of the small model that comes with Espalier, drops a third,
wins the loss back and spends fewer bits on the rest. **Run the cells from the top**: click *Run* on a cell, or select it and press Ctrl-Enter
(⌘-Enter on a Mac). Nothing was run in advance; every number comes from your own run.`,
      ),
      text(
        "measure",
        `## Measure

Leave-one-out closes one head's gate at a time; Taylor predicts the same from one backward pass. The cell below measures both on text the model has
never seen, the *calibrate* split. It fills in while it runs; you can go on reading.`,
      ),
      experiment("heads", "sensitivity", {
        model: "starter",
        ...on("calibrate"),
        units: ["heads"],
        metric: ["leave-one-out", "taylor"],
      }),
      text(
        "read",
        `Cells with strong colours break the model when they are removed; a small ring marks a head whose effect is within the noise. A few heads carry most of the work, and many could be removed without anybody noticing. On the page [Explore](/explore) you can drop them by hand and see the cost at once.`,
      ),
      text(
        "prune-text",
        `## Prune

Single effects do not add up, so they choose the set, and the set is then *measured* as a whole. This drops the 34 % of heads that are worth least and cuts them out of the
weights; the model that comes out is smaller, not masked.`,
      ),
      experiment("pruned", "prune", { model: "starter", ...on("calibrate"), ratio: 0.34 }),
      experiment("cost", "evaluate", { model: "cell:pruned", base: "starter", ...on("select") }),
      text(
        "distill-text",
        `## Win it back

The pruned model learns from the whole one: a hundred steps of distillation, with the divergence on held-out text measured on the way and the best weights kept.
Stop it and resume it if you like; it continues exactly where it stopped.`,
      ),
      experiment("distilled", "distill", {
        model: "starter",
        student: "cell:pruned",
        text: "starter-train",
        heldOut: "starter-select",
        separator: SEPARATOR,
        steps: 100,
        batch: 8,
        context: 160,
        learningRate: 0.001,
        evaluateEvery: 25,
      }),
      text(
        "bits-text",
        `## Fewer bits

Palettes keep a table of a few values for every 16 rows and an index for each weight, the format the Neural Engine reads best. Four bits cost almost nothing; two
begin to show.`,
      ),
      experiment("four", "quantize", { model: "cell:distilled", bits: 4 }),
      experiment("two", "quantize", { model: "cell:distilled", bits: 2, embeddingBits: 4 }),
      experiment("curve", "tradeoff", {
        base: "starter",
        models: ["cell:pruned", "cell:distilled", "cell:four", "cell:two"],
        ...on("select"),
        measure: "kl",
      }),
      text(
        "freeze-text",
        `## Keep what you found

A figure that is *frozen* keeps its data and never changes again, whatever runs later; its hash is shown in the corner. The one below draws the runs above: freeze it
once they are done. *Export* at the top writes the notebook as HTML, Markdown or .ipynb without computing anything again.`,
      ),
      {
        id: "figure",
        type: "figure",
        figure: "tradeoff",
        runs: ["cell:curve"],
        caption: "Accuracy against size",
        frozen: null,
      },
      { id: "numbers", type: "comparison", runs: ["cell:four", "cell:two"] },
      text(
        "next",
        `## On to a phone

[Trade-off](/tradeoff) shows these points with everything else that was run; pick one there and export it. A package is read back and executed here before it is
called ready.`,
      ),
    ],
  };
}
