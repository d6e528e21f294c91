/** @file The ground of the API: context, errors with code and hint, procedures. */
import { initTRPC, TRPCError } from "@trpc/server";
import type { ErrorCode } from "../../lib/errors.ts";
import type { Core } from "../core.ts";
import { failureOf } from "../db/failures.ts";
import type { HubImports } from "../models/hub-import.ts";
import type { Listening } from "../reports/addresses.ts";
import type { Uploads } from "../transfer/upload.ts";
import type { WhatIfService } from "../what-if/service.ts";
import { refusedInput } from "./refused-input.ts";

export interface ApiContext {
  readonly core: Core;
  readonly whatIf: WhatIfService;
  /** Files sent over HTTP; null where nobody can send any. */
  readonly uploads: Uploads | null;
  /** Downloads from the hub; null where nobody waits for any. */
  readonly hubImports: HubImports | null;
  /** Where the server of this process listens; absent when there is none. */
  readonly listening?: Listening | undefined;
  readonly signal?: AbortSignal | undefined;
}

const statusOf = (code: ErrorCode): TRPCError["code"] => {
  if (code === "run/unknown" || code === "model/missing-file") return "NOT_FOUND";
  if (code === "run/state" || code === "store/exists") return "CONFLICT";
  if (code === "access/denied") return "FORBIDDEN";
  if (code === "store/database" || code === "store/disk-full") return "SERVICE_UNAVAILABLE";
  if (code === "run/cancelled") return "CLIENT_CLOSED_REQUEST";
  return /^(input|prune|format|model|export|program)\//.test(code) ? "BAD_REQUEST" : "INTERNAL_SERVER_ERROR";
};

const t = initTRPC.context<ApiContext>().create({
  isServer: true,
  errorFormatter({ shape, error }) {
    const cause = refusedInput(error) ?? (error.cause === undefined ? null : failureOf(error.cause));
    const isInput = error.code === "BAD_REQUEST" && cause?.code === "internal/invariant";
    return {
      ...shape,
      message: cause && !isInput ? cause.message : shape.message,
      data: {
        code: shape.data.code,
        httpStatus: shape.data.httpStatus,
        path: shape.data.path ?? null,
        espalier: isInput ? "input/invalid" : (cause?.code ?? null),
        hint: cause?.hint ?? null,
      },
    };
  },
  sse: {
    // A stream that is silent longer is taken for broken and opened again from its last event.
    ping: { enabled: true, intervalMs: 10_000 },
    client: { reconnectAfterInactivityMs: 25_000 },
  },
});

const errors = t.middleware(async ({ next }) => {
  const result = await next();
  if (result.ok) return result;
  const { cause } = result.error;
  if (cause === undefined || result.error.code !== "INTERNAL_SERVER_ERROR") return result;
  const known = failureOf(cause);
  throw new TRPCError({ code: statusOf(known.code), message: known.message, cause: known });
});

export const router = t.router;
export const procedure = t.procedure.use(errors);
