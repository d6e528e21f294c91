/**
 * @file The name of a stored result: everything that decides it, in four parts that are stored with
 * it and can be searched.
 *
 *   hash = SHA-256 of [engine, model, subject, shard] as JSON
 */
import { createHash } from "node:crypto";
import { z } from "zod";
import type { TokenSequence } from "../lib/eval/sequences.ts";

export const unitName = z.object({
  /** The identity of the engine, its device included; empty where nothing was computed. */
  engine: z.string(),
  /** Hash of the model it is about. */
  model: z.string(),
  /** What was found of the model, with the version of what found it and every setting that decides it; under 1000 characters. */
  subject: z.string(),
  /** `shardName` of the text it was measured on; empty where no text decides. */
  shard: z.string(),
});
export type UnitName = z.infer<typeof unitName>;

/** `apart`: a run that shares no results has a name space of its own. */
export const unitHash = ({ engine, model, subject, shard }: UnitName, apart?: string): string =>
  createHash("sha256")
    .update(
      JSON.stringify(apart === undefined ? [engine, model, subject, shard] : [engine, model, subject, shard, apart]),
    )
    .digest("hex");

/** SHA-256 of the tokens of some sequences and of which of them are scored. */
export function shardName(sequences: readonly TokenSequence[]): string {
  const hash = createHash("sha256");
  for (const { ids, scoredFrom } of sequences) {
    hash.update(Int32Array.of(ids.length, scoredFrom));
    hash.update(Int32Array.from(ids));
  }
  return hash.digest("hex");
}
