/** @file What a call was refused for before it began: the field of its input, what is wrong and what to do, in one line. */
import { z } from "zod";
import { EspalierError } from "../../lib/errors.ts";

/** Null for any other error. tRPC gives the issues of zod as the text of a JSON list. */
export function refusedInput(error: { readonly code: string; readonly cause?: unknown }): EspalierError | null {
  if (error.code !== "BAD_REQUEST" || !(error.cause instanceof z.ZodError)) return null;
  const issue = error.cause.issues[0];
  const field = issue?.path.join(".") ?? "";
  return new EspalierError("input/invalid", `${field === "" ? "the input" : field}: ${issue?.message ?? "not valid"}`, {
    hint: "Give a value of that kind and length.",
    cause: error.cause,
  });
}
