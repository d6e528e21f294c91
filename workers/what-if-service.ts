/**
 * @file The what-if engine in a process of its own, kept warm: questions go to it one by one, a newer one of the same asker
 * cancels an older. When nobody asks for a while it is ended, and started again when somebody does.
 */
import type { ChildProcess } from "node:child_process";
import { z } from "zod";
import { type ErrorCode, EspalierError, errorCodes } from "../lib/errors.ts";
import type { Core } from "../server/core.ts";
import { modelFolder } from "../server/models/models.ts";
import { getText, textFile } from "../server/texts/texts.ts";
import type { WhatIfAnswers, WhatIfAsk, WhatIfMeasured, WhatIfService } from "../server/what-if/service.ts";
import { forkTask } from "./task-process.ts";

const IDLE_MS = 600_000;

export interface WhatIfQuestion {
  readonly type: "ask";
  readonly id: number;
  readonly request: WhatIfAsk;
  readonly folder: string;
  readonly textPath: string;
  /** Of the questions, when some are asked. */
  readonly tasksPath: string | null;
  readonly separator: string | null;
}

const withError = z.object({ mean: z.number(), standardError: z.number() });
const measured = z.object({
  difference: z.number(),
  standardError: z.number(),
  kl: withError,
  agreement: withError,
  sequences: z.number(),
  of: z.number(),
  milliseconds: z.number(),
});

const fromTask = z.discriminatedUnion("type", [
  z.object({ type: z.literal("ready") }),
  z.object({ type: z.literal("partial"), id: z.number(), partial: measured }),
  z.object({ type: z.literal("answer"), id: z.number(), value: z.unknown() }),
  z.object({ type: z.literal("error"), id: z.number(), code: z.string(), message: z.string() }),
]);

interface Waiting {
  resolve(value: unknown): void;
  reject(error: EspalierError): void;
  onPartial?: ((partial: WhatIfMeasured) => void) | undefined;
}

export function whatIfService(core: Core): WhatIfService {
  let child: Promise<ChildProcess> | null = null;
  let lastId = 0;
  let idle: NodeJS.Timeout | null = null;
  const waiting = new Map<number, Waiting>();
  const latest = new Map<string, number>();

  const end = (): void => {
    const old = child;
    child = null;
    void old?.then((c) => c.kill("SIGKILL")).catch(() => undefined);
  };
  const start = (): Promise<ChildProcess> =>
    new Promise((resolve, reject) => {
      const c = forkTask("what-if-task.ts", { heapMegabytes: 4096 });
      let said = "";
      c.stderr?.setEncoding("utf8").on("data", (text: string) => {
        said = (said + text).slice(-2000);
      });
      c.on("message", (raw) => {
        const message = fromTask.parse(raw);
        if (message.type === "ready") return resolve(c);
        const one = waiting.get(message.id);
        if (message.type === "partial") return one?.onPartial?.(message.partial);
        waiting.delete(message.id);
        if (message.type === "answer") one?.resolve(message.value);
        else one?.reject(new EspalierError(codeOf(message.code), message.message));
      });
      const over = (how: string): void => {
        const error = new EspalierError(
          "engine/failed",
          `the what-if process ended (${how})${said ? `: ${said.trim().split("\n").at(-1)}` : ""}`,
          { hint: "Ask again; it is started anew." },
        );
        child = null;
        for (const one of waiting.values()) one.reject(error);
        waiting.clear();
        reject(error);
      };
      c.on("exit", (code, signal) => over(String(signal ?? code)));
      // One that cannot be started says so instead.
      c.on("error", (cause) => over(cause.message));
    });

  return {
    async ask<A extends WhatIfAsk>(
      request: A,
      options: {
        client: string;
        signal?: AbortSignal | undefined;
        onPartial?: ((partial: WhatIfMeasured) => void) | undefined;
      },
    ): Promise<WhatIfAnswers[A["ask"]]> {
      const folder = await modelFolder(core, request.model);
      const textPath = await textFile(core, request.text);
      const { separator } = await getText(core, request.text);
      const tasksPath = request.ask === "accuracy" ? await tasksFile(core, request.tasks) : null;
      child ??= start();
      const c = await child;
      if (idle) clearTimeout(idle);
      idle = setTimeout(end, IDLE_MS);
      idle.unref();
      const id = ++lastId;
      const lane = `${options.client} ${request.ask}`;
      const before = latest.get(lane);
      if (before !== undefined && waiting.has(before)) c.send({ type: "cancel", id: before });
      latest.set(lane, id);
      const cancel = (): void => void (c.connected && c.send({ type: "cancel", id }));
      options.signal?.addEventListener("abort", cancel);
      try {
        const value = await new Promise<unknown>((resolve, reject) => {
          waiting.set(id, { resolve, reject, onPartial: options.onPartial });
          const question: WhatIfQuestion = { type: "ask", id, request, folder, textPath, tasksPath, separator };
          c.send(question);
        });
        // The task answers each question with the type the service promises.
        return value as WhatIfAnswers[A["ask"]];
      } finally {
        options.signal?.removeEventListener("abort", cancel);
      }
    },
    async close() {
      if (idle) clearTimeout(idle);
      end();
    },
  };
}

/** Throws `input/invalid` for a text that holds no questions. */
async function tasksFile(core: Core, id: string): Promise<string> {
  const { kind } = await getText(core, id);
  if (kind === "tasks") return textFile(core, id);
  throw new EspalierError("input/invalid", `"${id}" holds ${kind}, tasks are needed`, {
    hint: "Pick questions from the list of texts.",
  });
}

const codeOf = (code: string): ErrorCode => errorCodes.find((c) => c === code) ?? "engine/failed";
