"use client";
/** @file How much a curve is smoothed: a slider and a field that hold the same value. */
import { useCallback, useState } from "react";

const MOST = 0.999;

/** β of the moving average, kept within what makes sense. */
export function useSmoothing(first: number): [number, (beta: number) => void] {
  const [beta, setBeta] = useState(first);
  const set = useCallback((b: number) => {
    if (Number.isFinite(b)) setBeta(Number(Math.max(0, Math.min(MOST, b)).toFixed(3)));
  }, []);
  return [beta, set];
}

/** The slider is finest near 1, where smoothing changes most: its place is −log₁₀(1 − β). */
export function Smoothing({ value, onChange }: { value: number; onChange: (beta: number) => void }) {
  return (
    <span className="row smoothing" style={{ gap: 8, flexWrap: "nowrap" }}>
      <label className="row" style={{ gap: 8, flexWrap: "nowrap" }}>
        <span className="soft">Smoothing</span>
        <input
          type="range"
          min={0}
          max={3}
          step={0.05}
          value={-Math.log10(1 - value)}
          aria-valuetext={value.toFixed(3)}
          onChange={(e) => onChange(1 - 10 ** -Number(e.target.value))}
          style={{ width: 96 }}
        />
      </label>
      <input
        type="number"
        aria-label="Smoothing, exactly"
        min={0}
        max={MOST}
        step={0.01}
        value={value}
        onChange={(e) => onChange(Number(e.target.value))}
        style={{ width: 70 }}
      />
    </span>
  );
}
