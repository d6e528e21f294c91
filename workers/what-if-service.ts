/**
 * @file The what-if engine in a process of its own, kept warm: questions go to it one by one, a newer one of the same asker
 * cancels an older. When nobody asks for a while it is ended, and started again when somebody does.
 */
import type { ChildProcess } from "node:child_process";
import { type ErrorCode, EspalierError, errorCodes } from "../lib/errors.ts";
import type { Core } from "../server/core.ts";
import { modelFolder } from "../server/models/model-registry.ts";
import { getText, textFile } from "../server/texts/texts.ts";
import type { WhatIfAnswers, WhatIfAsk, WhatIfMeasured, WhatIfService } from "../server/what-if/service.ts";
import { forkTask } from "./task-process.ts";
import { fromWhatIf, parseAnswer, type ToWhatIf } from "./what-if-protocol.ts";

const IDLE_MS = 600_000;

interface Waiting {
  resolve(value: unknown): void;
  reject(error: EspalierError): void;
  onPartial?: ((partial: WhatIfMeasured) => void) | undefined;
}

function tell(to: ChildProcess, message: ToWhatIf): void {
  if (to.connected) to.send(message);
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
      const c = forkTask("what-if-task.ts", { heapMegabytes: 4096, args: [core.engine] });
      let said = "";
      c.stderr?.setEncoding("utf8").on("data", (text: string) => {
        said = (said + text).slice(-2000);
      });
      c.on("message", (raw) => {
        const parsed = fromWhatIf.safeParse(raw);
        if (!parsed.success) return;
        const message = parsed.data;
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
          { hint: "Ask again: the process starts again by itself." },
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
      if (before !== undefined && waiting.has(before)) tell(c, { type: "cancel", id: before });
      latest.set(lane, id);
      const cancel = (): void => tell(c, { type: "cancel", id });
      options.signal?.addEventListener("abort", cancel);
      try {
        const value = await new Promise<unknown>((resolve, reject) => {
          waiting.set(id, { resolve, reject, onPartial: options.onPartial });
          tell(c, { type: "ask", id, request, folder, textPath, tasksPath, separator });
        });
        return parseAnswer<A["ask"]>(request.ask, value);
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
