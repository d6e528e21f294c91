/** @file Clients of the API: over HTTP, or straight into the router of this process. Both look the same to who uses them. */

import { createTRPCClient, httpBatchLink, type TRPCClient, TRPCClientError, type TRPCLink } from "@trpc/client";
import { callTRPCProcedure, getTRPCErrorFromUnknown } from "@trpc/server";
import { observable } from "@trpc/server/observable";
import { z } from "zod";
import { EspalierError, errorCodes, toEspalierError } from "../../lib/errors.ts";
import { failureOf } from "../db/failures.ts";
import { refusedInput } from "./refused-input.ts";
import { type AppRouter, appRouter } from "./router.ts";
import type { ApiContext } from "./trpc.ts";

export type Client = TRPCClient<AppRouter>;

export const httpClient = (address: string, token: string | null): Client =>
  createTRPCClient<AppRouter>({
    links: [
      httpBatchLink({
        url: `${address.replace(/\/$/, "")}/api/trpc`,
        headers: { "x-espalier": "cli", ...(token ? { authorization: `Bearer ${token}` } : {}) },
      }),
    ],
  });

/** Answers go through JSON, so that they have the types they have over HTTP. */
export function localClient(context: ApiContext): Client {
  const link: TRPCLink<AppRouter> =
    () =>
    ({ op }) =>
      observable((observer) => {
        const abort = new AbortController();
        callTRPCProcedure({
          router: appRouter,
          path: op.path,
          getRawInput: async () => (op.input === undefined ? undefined : JSON.parse(JSON.stringify(op.input))),
          ctx: context,
          type: op.type,
          signal: abort.signal,
          batchIndex: 0,
        }).then(
          (data: unknown) => {
            observer.next({
              result: { type: "data", data: data === undefined ? undefined : JSON.parse(JSON.stringify(data)) },
            });
            observer.complete();
          },
          (thrown: unknown) => {
            const error = getTRPCErrorFromUnknown(thrown);
            observer.error(TRPCClientError.from(refusedInput(error) ?? failureOf(error.cause ?? error)));
          },
        );
        return () => abort.abort();
      });
  return createTRPCClient<AppRouter>({ links: [link] });
}

/** What the workbench refused, with its code and hint, however it was asked. */
export function apiError(thrown: unknown): EspalierError {
  if (!(thrown instanceof TRPCClientError)) return toEspalierError(thrown);
  if (thrown.cause instanceof EspalierError) return thrown.cause;
  const data = refusal.safeParse(thrown.data);
  if (!data.success) return toEspalierError(thrown);
  const { espalier, hint } = data.data;
  return new EspalierError(espalier, thrown.message, { ...(hint === null ? {} : { hint }), cause: thrown });
}

const refusal = z.object({ espalier: z.enum(errorCodes), hint: z.string().nullable() });
