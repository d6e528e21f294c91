"use client";
/** @file The budget of the line on the chart, typed. */
import { useState } from "react";

export function BudgetField(props: { unit: string; budget: number; onChange: (v: number) => void }) {
  const { unit, budget, onChange } = props;
  const [typed, setTyped] = useState<string | null>(null);
  return (
    <label className="row small">
      <span className="soft">Budget</span>
      <input
        type="number"
        step="any"
        min={0}
        className="tradeoff-budget"
        title={unit}
        value={typed ?? Number(budget.toPrecision(4))}
        onChange={(e) => {
          setTyped(e.target.value);
          const value = Number(e.target.value);
          if (value > 0) onChange(value);
        }}
        onBlur={() => setTyped(null)}
      />
    </label>
  );
}
