"use client";
/** @file The budget of the line on the chart, typed. */
import { useState } from "react";
import type { Size } from "./measures.ts";

export function BudgetField({ size, budget, onChange }: { size: Size; budget: number; onChange: (v: number) => void }) {
  const [typed, setTyped] = useState<string | null>(null);
  return (
    <label className="row small">
      <span className="soft">Budget</span>
      <input
        type="number"
        step="any"
        min={0}
        className="tradeoff-budget"
        title={size.axis}
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
