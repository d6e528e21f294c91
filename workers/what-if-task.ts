/** @file The process of the warm what-if engine: models stay loaded between questions; partial measurements are told as they come. */
import { availableParallelism } from "node:os";
import { modelSession } from "../experiments/models.ts";
import { openWhatIf, type WhatIf } from "../experiments/what-if/what-if.ts";
import { createEngine } from "../lib/engines/create.ts";
import { toEspalierError } from "../lib/errors.ts";
import type { WhatIfQuestion } from "./what-if-service.ts";

/** Models with their streams held at a time. */
const KEPT = 2;

const clock = { nowMs: () => performance.timeOrigin + performance.now() };
const engine = await createEngine("onnxruntime", { threads: availableParallelism() });
const models = modelSession(engine, async (folder) => folder);
const opened = new Map<string, Promise<WhatIf>>();
const cancels = new Map<number, AbortController>();

function open({ folder, textPath, separator }: WhatIfQuestion): Promise<WhatIf> {
  const key = `${folder} ${textPath}`;
  let found = opened.get(key);
  if (!found) {
    const oldest = [...opened.keys()][0];
    if (opened.size >= KEPT && oldest !== undefined) opened.delete(oldest);
    found = openWhatIf(
      { engine, models, clock },
      { model: folder, text: textPath, ...(separator === null ? {} : { separator }) },
    );
    opened.set(key, found);
    found.catch(() => opened.delete(key));
  }
  return found;
}

async function answer(question: WhatIfQuestion, signal: AbortSignal): Promise<unknown> {
  const { request } = question;
  const whatIf = await open(question);
  if (request.ask === "open") {
    const { protocol, sequences, tokens, baseNll } = whatIf;
    return { protocol, sequences, tokens, baseNll };
  }
  if (request.ask === "measure")
    return whatIf.measure(request.selection, {
      signal,
      onPartial: (partial) => process.send?.({ type: "partial", id: question.id, partial }),
    });
  if (request.ask === "generate")
    return whatIf.generate(request.prompt, request.selection, { maxTokens: request.maxTokens, signal });
  if (request.ask === "predict") return whatIf.predict(request.selection, { signal, pause });
  if (request.ask === "attention") return whatIf.attention(request.prompt, request.unit);
  if (request.ask === "explain") return whatIf.explain(request.unit, { signal });
  return whatIf.accuracy(question.tasksPath ?? "", request.selection, { limit: request.limit, signal });
}

// One question of a lane computes at a time; a cancellation reaches those that wait as well as the one at work. What takes
// seconds has a lane of its own, and pauses for what somebody waits for.
const lanes = { quick: Promise.resolve() as Promise<unknown>, long: Promise.resolve() as Promise<unknown> };
let quickWaiting = 0;
async function pause(): Promise<void> {
  while (quickWaiting > 0) await lanes.quick;
}
const laneOf = (question: WhatIfQuestion): keyof typeof lanes =>
  question.request.ask === "predict" || question.request.ask === "accuracy" ? "long" : "quick";

process.on("message", (message: WhatIfQuestion | { type: "cancel"; id: number }) => {
  if (message.type === "cancel") return cancels.get(message.id)?.abort();
  const cancel = new AbortController();
  cancels.set(message.id, cancel);
  const lane = laneOf(message);
  if (lane === "quick") quickWaiting++;
  lanes[lane] = lanes[lane]
    .then(() => answer(message, cancel.signal))
    .then((value) => process.send?.({ type: "answer", id: message.id, value }))
    .catch((thrown: unknown) => {
      const { code, message: text } = toEspalierError(thrown);
      process.send?.({ type: "error", id: message.id, code, message: text });
    })
    .finally(() => {
      cancels.delete(message.id);
      if (lane === "quick") quickWaiting--;
    });
});
process.on("disconnect", () => process.exit(0));
process.on("SIGINT", () => undefined);
process.send?.({ type: "ready" });
