"use client";
/** @file How the configs of a sweep are chosen: all of a grid, drawn at random, or halved rung by rung. */
import { fieldTitle } from "../../experiments/flags.ts";
import { rungsOf } from "../../experiments/sweep/rungs.ts";
import { Segments } from "../parts/controls.tsx";
import { count } from "../parts/format.ts";
import type { FieldSchema } from "./config-form.ts";

export interface SweepForm {
  readonly method: "grid" | "random" | "halving";
  readonly trials: string;
  readonly seed: string;
  readonly budget: string;
  readonly from: string;
  readonly eta: string;
  readonly objective: string;
  readonly goal: "least" | "greatest";
}

export const noSweep: SweepForm = {
  method: "grid",
  trials: "16",
  seed: "0",
  budget: "steps",
  from: "50",
  eta: "3",
  objective: "KL",
  goal: "least",
};

/** What the server takes besides title, kind, config and axes. */
export function sweepFields(form: SweepForm): Record<string, unknown> {
  const objective = { objective: { number: form.objective, goal: form.goal } };
  if (form.method === "grid") return { method: "grid", ...objective };
  const drawn = { method: form.method, trials: Number(form.trials), seed: Number(form.seed), ...objective };
  return form.method === "random"
    ? drawn
    : { ...drawn, budget: { field: form.budget, from: Number(form.from), eta: Number(form.eta) } };
}

export function SweepOptions(props: {
  form: SweepForm;
  set: (changes: Partial<SweepForm>) => void;
  grid: number;
  schemas: Readonly<Record<string, FieldSchema>>;
  /** What the fields of the form say. */
  given: Readonly<Record<string, string>>;
  /** Whether a field is given a range. */
  isRange: boolean;
}) {
  const { form, set } = props;
  const budgets = Object.entries(props.schemas)
    .filter(([, s]) => s.type === "integer")
    .map(([name]) => name);
  const field = (name: keyof SweepForm, title: string, width = 70): React.ReactNode => (
    <label className="row" style={{ gap: 8 }}>
      {title}
      <input style={{ width }} value={form[name]} onChange={(e) => set({ [name]: e.target.value })} />
    </label>
  );
  return (
    <fieldset className="new-sweep">
      <legend>Several values: a sweep</legend>
      <div className="row" style={{ gap: 14 }}>
        <Segments
          label="How configs are chosen"
          options={[
            ["grid", `grid of ${count(props.grid)}`],
            ["random", "random"],
            ["halving", "successive halving"],
          ]}
          value={form.method}
          onChange={(method) => set({ method })}
        />
        {form.method === "grid" ? null : field("trials", "trials")}
        {form.method === "grid" ? null : field("seed", "seed")}
      </div>
      <div className="row" style={{ gap: 14, marginTop: 8 }}>
        {form.method === "halving" ? (
          <>
            <label className="row" style={{ gap: 8 }}>
              budget
              <select value={form.budget} onChange={(e) => set({ budget: e.target.value })}>
                {budgets.map((b) => (
                  <option key={b}>{b}</option>
                ))}
              </select>
            </label>
            {field("from", "begins with")}
            {field("eta", "of each rung the best 1 in")}
          </>
        ) : null}
        {field("objective", "best is the", 110)}
        <Segments
          label="Which is best"
          options={[
            ["least", "least"],
            ["greatest", "greatest"],
          ]}
          value={form.goal}
          onChange={(goal) => set({ goal })}
        />
      </div>
      {form.method === "halving" ? <Rungs form={form} given={props.given} /> : null}
      {form.method !== "grid" && props.isRange ? (
        <p className="soft small" style={{ margin: "8px 0 0" }}>
          Configs are drawn from the ranges; how many points a range has (x7) counts for a grid only.
        </p>
      ) : null}
    </fieldset>
  );
}

/** What successive halving will run, before it does. */
function Rungs({ form, given }: { form: SweepForm; given: Readonly<Record<string, string>> }) {
  const [trials, from, eta] = [Number(form.trials), Number(form.from), Number(form.eta)];
  if (!(trials >= 1 && from >= 1 && eta >= 2)) return null;
  const rungs = rungsOf({ trials, budget: { from, eta } });
  const all = rungs.reduce((n, r) => n + r.trials * r.budget, 0);
  const typed = given[form.budget] ?? "";
  const title = fieldTitle(form.budget).toLowerCase();
  return (
    <p className="small" style={{ margin: "8px 0 0" }}>
      {rungs.map((r) => `${count(r.trials)} of ${count(r.budget)}`).join(", then ")} {title}: {count(all)} in all,{" "}
      {count(rungs.reduce((n, r) => n + r.trials, 0))} runs.
      {typed === "" ? "" : ` The ${title} of the form, ${typed}, do not count here.`}
    </p>
  );
}
