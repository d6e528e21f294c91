/**
 * @file The process of the warm what-if engine: models stay loaded between questions; partial measurements are told as they
 * come.
 */
import { availableParallelism } from "node:os";
import { z } from "zod";
import { type ModelSession, modelSession } from "../experiments/model-session.ts";
import { bosConfig } from "../experiments/text.ts";
import { openWhatIf, type WhatIf } from "../experiments/what-if/what-if.ts";
import { throwIfCancelled } from "../lib/cancel.ts";
import { createEngine, engineNamed } from "../lib/engines/create.ts";
import { toEspalierError } from "../lib/errors.ts";
import { WarmModels } from "./warm-models.ts";
import { type FromWhatIf, toWhatIf, type WhatIfQuestion } from "./what-if-protocol.ts";

/** Models held at a time, and texts of each with the model's streams on them. */
const MODELS = 2;
const TEXTS = 2;

interface WarmModel {
  readonly session: ModelSession;
  readonly onTexts: WarmModels<WhatIf>;
}

const onText = z.object({ text: z.string(), separator: z.string().nullable(), ...bosConfig });
const clock = { nowMs: () => performance.timeOrigin + performance.now() };
const engine = await createEngine(engineNamed(process.argv[2]), { threads: availableParallelism(), clock });
const models = new WarmModels<WarmModel>(
  MODELS,
  async (folder) => {
    const session = modelSession(engine, async (f) => f);
    return {
      session,
      onTexts: new WarmModels<WhatIf>(
        TEXTS,
        (key) => {
          const { text, separator, bos } = onText.parse(JSON.parse(key));
          return openWhatIf(
            { engine, models: session, clock },
            { model: folder, text, bos, ...(separator === null ? {} : { separator }) },
          );
        },
        async () => undefined,
      ),
    };
  },
  ({ session }) => session.close(),
);
const cancels = new Map<number, AbortController>();
const tell = (message: FromWhatIf): void => void process.send?.(message);

const answer = (question: WhatIfQuestion, signal: AbortSignal): Promise<unknown> =>
  models.use(question.folder, ({ onTexts }) =>
    onTexts.use(
      JSON.stringify({ text: question.textPath, separator: question.separator, bos: question.request.bos }),
      (whatIf) => answerWith(whatIf, question, signal),
    ),
  );

async function answerWith(whatIf: WhatIf, question: WhatIfQuestion, signal: AbortSignal): Promise<unknown> {
  const { request } = question;
  throwIfCancelled(signal);
  if (request.ask === "open") {
    const { protocol, sequences, tokens, baseNll } = whatIf;
    return { protocol, sequences, tokens, baseNll };
  }
  if (request.ask === "measure")
    return whatIf.measure(request.selection, {
      signal,
      onPartial: (partial) => tell({ type: "partial", id: question.id, partial }),
    });
  if (request.ask === "generate")
    return whatIf.generate(request.prompt, request.selection, { maxTokens: request.maxTokens, signal });
  if (request.ask === "predict") return whatIf.predict(request.selection);
  if (request.ask === "refine") return whatIf.refine(request.selection, { signal, pause });
  if (request.ask === "attention") return whatIf.attention(request.prompt, request.unit);
  if (request.ask === "explain") return whatIf.explain(request.unit, { signal });
  return whatIf.accuracy(question.tasksPath ?? "", request.selection, { limit: request.limit, signal });
}

// One question of a lane computes at a time; a cancellation reaches those that wait as well as the one at work. What takes
// seconds has a lane of its own, and pauses for what somebody waits for. A prediction is arithmetic once its gradients are
// there, so it waits for no measurement.
const lanes = { instant: Promise.resolve(), quick: Promise.resolve(), long: Promise.resolve() };
let quickWaiting = 0;
async function pause(): Promise<void> {
  while (quickWaiting > 0) await lanes.quick;
}
function laneOf({ request: { ask } }: WhatIfQuestion): keyof typeof lanes {
  if (ask === "predict") return "instant";
  return ask === "refine" || ask === "accuracy" ? "long" : "quick";
}

/** Gradients that predictions need are computed before somebody asks for one. */
function warm(opened: WhatIfQuestion): void {
  const { model, text, bos } = opened.request;
  const question: WhatIfQuestion = { ...opened, request: { ask: "predict", model, text, bos, selection: [] } };
  const done = lanes.instant.then(() => answer(question, new AbortController().signal));
  // The client that asked for a prediction gets the error.
  lanes.instant = done.then(
    () => undefined,
    () => undefined,
  );
}

process.on("message", (raw: unknown) => {
  const parsed = toWhatIf.safeParse(raw);
  if (!parsed.success) return;
  const message = parsed.data;
  if (message.type === "cancel") return cancels.get(message.id)?.abort();
  const cancel = new AbortController();
  cancels.set(message.id, cancel);
  const lane = laneOf(message);
  if (lane === "quick") quickWaiting++;
  lanes[lane] = lanes[lane]
    .then(() => answer(message, cancel.signal))
    .then((value) => {
      if (message.request.ask === "open") warm(message);
      return value;
    })
    .then((value) => tell({ type: "answer", id: message.id, value }))
    .catch((thrown: unknown) => {
      const { code, message: text } = toEspalierError(thrown);
      tell({ type: "error", id: message.id, code, message: text });
    })
    .finally(() => {
      cancels.delete(message.id);
      if (lane === "quick") quickWaiting--;
    });
});
process.on("disconnect", () => process.exit(0));
process.on("SIGINT", () => undefined);
tell({ type: "ready" });
