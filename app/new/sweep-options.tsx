"use client";
/** @file How the configs of a sweep are chosen: all of a grid, drawn at random, or halved rung by rung. */
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
            {field("eta", "the best one in")}
            <span className="soft small">go on with that many times the budget</span>
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
    </fieldset>
  );
}
