/**
 * @file Whether runs differ beyond chance: their models on the very same sequences, as evaluations and trade-offs stored them.
 *
 * Evaluations keep losses per sequence under the model's hash and the very tokens. Two models are compared on the shards that both
 * were measured on by one engine beside one base, by the paired difference of `lib/stats/paired-difference.ts`, with p from Student's t over
 * sequences.
 */

import { and, eq, inArray } from "drizzle-orm";
import { z } from "zod";
import { storedSubject } from "../../experiments/definition.ts";
import { evaluate, lossSubject } from "../../experiments/kinds/evaluate/evaluate.ts";
import { under } from "../../lib/elements.ts";
import { pairedDifference } from "../../lib/stats/paired-difference.ts";
import { studentTwoSidedP } from "../../lib/stats/student-t.ts";
import type { Core } from "../core.ts";
import { models, runs, units } from "../db/schema.ts";

const losses = z.object({
  losses: z.array(z.object({ id: z.string(), tokens: z.number(), nll: z.number(), kl: z.number().nullable() })),
});

export interface PairedTest {
  readonly runId: string;
  readonly against: string;
  readonly measure: "KL" | "loss";
  /** The run less the one it is compared with, nats per token. */
  readonly mean: number;
  readonly standardError: number;
  readonly p: number;
  readonly sequences: number;
}

/** Each run against the first; those without sequences in common are left out. */
export async function pairedTests(core: Core, ids: readonly string[]): Promise<PairedTest[]> {
  const found = await core.db
    .select({ id: runs.id, kind: runs.kind, config: runs.config, output: runs.outputModelId })
    .from(runs)
    .where(inArray(runs.id, [...ids]));
  const modelOf = new Map<string, string>();
  for (const r of found) {
    const model = r.output ?? (r.kind === "evaluate" ? String(r.config.model) : null);
    const maker = /^run:(run_\w+)$/.exec(model ?? "")?.[1];
    if (maker) {
      const [made] = await core.db.select({ output: runs.outputModelId }).from(runs).where(eq(runs.id, maker));
      if (made?.output) modelOf.set(r.id, made.output);
    } else if (model !== null) modelOf.set(r.id, model);
  }
  const first = ids[0];
  if (first === undefined || modelOf.size < 2) return [];
  const hashes = new Map(
    (
      await core.db
        .select({ id: models.id, hash: models.hash })
        .from(models)
        .where(inArray(models.id, [...new Set(modelOf.values())]))
    ).map((m) => [m.id, m.hash]),
  );
  const hashOf = (id: string): string | undefined => hashes.get(modelOf.get(id) ?? "");
  const wanted = [...new Set(ids.flatMap((id) => hashOf(id) ?? []))];
  if (wanted.length < 2) return [];
  const bases = [null, ...(await core.db.selectDistinct({ hash: models.hash }).from(models)).map((m) => m.hash)];
  const subjects = bases.map((base) => storedSubject(evaluate, lossSubject("text", base)));
  const { engine, model, subject, shard, value } = units;
  const rows = await core.db
    .select({ engine, model, subject, shard, value })
    .from(units)
    .where(and(inArray(model, wanted), inArray(subject, subjects)));
  const byHash = new Map<string, Map<string, Sequence>>();
  for (const row of rows) {
    const parsed = losses.safeParse(row.value);
    if (!parsed.success) continue;
    const list = byHash.get(row.model) ?? new Map<string, Sequence>();
    for (const s of parsed.data.losses) list.set(JSON.stringify([row.engine, row.subject, row.shard, s.id]), s);
    byHash.set(row.model, list);
  }
  return ids.slice(1).flatMap((id) => {
    const [a, b] = [byHash.get(hashOf(first) ?? ""), byHash.get(hashOf(id) ?? "")];
    return a && b && a !== b ? (testOf(id, first, a, b) ?? []) : [];
  });
}

type Sequence = z.infer<typeof losses>["losses"][number];

function testOf(
  runId: string,
  against: string,
  base: ReadonlyMap<string, Sequence>,
  candidate: ReadonlyMap<string, Sequence>,
): PairedTest | null {
  const both = [...base.keys()].filter((k) => candidate.has(k));
  const pairs = both.map((k) => [under(base, k), under(candidate, k)] as const);
  const withKl = pairs.filter(([a, b]) => a.kl !== null && b.kl !== null);
  const measure = withKl.length >= 2 ? "KL" : "loss";
  const used = measure === "KL" ? withKl : pairs;
  if (used.length < 2) return null;
  const of = (s: Sequence): number => (measure === "KL" ? (s.kl ?? Number.NaN) : s.nll);
  const d = pairedDifference(
    used.map(([a]) => of(a)),
    used.map(([, b]) => of(b)),
    { weights: used.map(([a]) => a.tokens) },
  );
  return {
    runId,
    against,
    measure,
    mean: d.mean,
    standardError: d.standardError,
    p: studentTwoSidedP(d.z, d.clusters - 1),
    sequences: used.length,
  };
}
