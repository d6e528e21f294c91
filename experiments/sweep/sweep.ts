/**
 * @file Sweeps: many trials of one experiment over a space of configs; grid, random, and successive halving.
 *
 * Successive halving (Jamieson and Talwalkar, 2016): n configs start with budget b; after each rung the best 1/η of them go on
 * with η times the budget, until one rung would hold fewer than one. Budget is a numeric field of the config, such as `steps`.
 * Not included: Bayesian methods, and asynchronous promotion.
 */
import { z } from "zod";
import { createRng } from "../../lib/random.ts";
import { experimentKinds } from "../registry.ts";

const axis = z.union([
  z.object({
    values: z
      .array(z.union([z.string(), z.number(), z.boolean(), z.array(z.string())]))
      .min(1)
      .max(200),
  }),
  z.object({
    from: z.number(),
    to: z.number(),
    scale: z.enum(["linear", "logarithmic"]).default("linear"),
    integer: z.boolean().default(false),
    /** Points of a grid. */
    points: z.number().int().min(2).max(100).default(5),
  }),
]);
export type Axis = z.infer<typeof axis>;

export const sweepDefinition = z.object({
  title: z.string().trim().min(1).max(120).describe("A name, shown in lists"),
  kind: z.enum(experimentKinds).describe("The experiment"),
  config: z.record(z.string(), z.unknown()).describe("Fields that stay the same"),
  axes: z.record(z.string(), axis).describe("Fields that vary"),
  method: z.enum(["grid", "random", "halving"]).default("grid").describe("How the varied fields are combined"),
  trials: z.number().int().min(1).max(2_000).default(16).describe("Random and halving: number of configs to draw"),
  seed: z.number().int().default(0).describe("Decides which configs are drawn"),
  /** Halving only. */
  budget: z
    .object({ field: z.string(), from: z.number().int().positive(), eta: z.number().int().min(2).max(10).default(3) })
    .optional()
    .describe("Halving: the field that grows from rung to rung"),
  objective: z
    .object({ number: z.string(), goal: z.enum(["least", "greatest"]) })
    .optional()
    .describe("Which of a run's numbers is best"),
});
export type SweepDefinition = z.infer<typeof sweepDefinition>;

const pointsOf = (a: Axis): readonly unknown[] => {
  if ("values" in a) return a.values;
  return Array.from({ length: a.points }, (_, i) => at(a, i / (a.points - 1)));
};

function at(a: Exclude<Axis, { values: unknown }>, share: number): number {
  const raw = a.scale === "logarithmic" ? a.from * (a.to / a.from) ** share : a.from + (a.to - a.from) * share;
  return a.integer ? Math.round(raw) : raw;
}

/** The configs a sweep begins with: all of a grid, or as many as are drawn. */
export function firstTrials(sweep: SweepDefinition): Record<string, unknown>[] {
  const axes = Object.entries(sweep.axes);
  if (sweep.method === "grid") {
    let configs: Record<string, unknown>[] = [{ ...sweep.config }];
    for (const [field, a] of axes)
      configs = configs.flatMap((c) => pointsOf(a).map((value) => ({ ...c, [field]: value })));
    return configs;
  }
  const rng = createRng(sweep.seed, "sweep");
  const drawn = Array.from({ length: sweep.trials }, () => ({
    ...sweep.config,
    ...Object.fromEntries(axes.map(([field, a]) => [field, "values" in a ? rng.pick(a.values) : at(a, rng.uniform())])),
  }));
  const { budget } = sweep;
  return sweep.method === "halving" && budget ? drawn.map((c) => ({ ...c, [budget.field]: budget.from })) : drawn;
}

export interface FinishedTrial {
  readonly config: Record<string, unknown>;
  /** The objective; null when it failed, which never goes on. */
  readonly score: number | null;
}

/** The configs of the next rung; none when the sweep is over. All trials of the rung must have ended. */
export function nextRung(sweep: SweepDefinition, rung: readonly FinishedTrial[]): Record<string, unknown>[] {
  const { budget, objective } = sweep;
  if (sweep.method !== "halving" || !budget || !objective) return [];
  const sign = objective.goal === "least" ? 1 : -1;
  const kept = Math.floor(rung.length / budget.eta);
  return rung
    .filter((t): t is FinishedTrial & { score: number } => t.score !== null)
    .sort((a, b) => sign * (a.score - b.score))
    .slice(0, kept)
    .map((t) => ({ ...t.config, [budget.field]: Number(t.config[budget.field]) * budget.eta }));
}
