"use client";
/** @file Where one head looks: each token of a sentence against those before it. Hover or use the arrow keys to read the weights. */
import { useState } from "react";
import { cellStyle, sequentialColour } from "../../experiments/figures/colour-scales.ts";
import { fixed } from "../parts/format.ts";
import { decorative } from "./decorative.ts";

export interface AttentionMapProps {
  readonly label: string;
  readonly tokens: readonly string[];
  /** weights[i][j]: how much token i takes from token j ≤ i; rows sum to 1. */
  readonly weights: readonly (readonly number[])[];
  /** Pixels. */
  readonly width?: number;
}

const LEFT = 56;
const NARROW = 312;

/** A token as a label: spaces at its ends are the tokenizer's, line ends are shown. */
export const tokenLabel = (token: string): string => {
  // Tokens without text, such as the one a sentence begins with.
  if (token === "") return "start";
  const text = token.replace(/\n/g, "⏎").trim();
  return text === "" ? "␣" : text.length > 9 ? `${text.slice(0, 8)}…` : text;
};

export function AttentionMap({ label, tokens, weights, width = NARROW }: AttentionMapProps) {
  const [at, setAt] = useState<{ row: number; column: number } | null>(null);
  const n = tokens.length;
  const size = Math.min(width > NARROW ? 24 : 18, (width - LEFT - 6) / Math.max(1, n));
  const gap = size > 8 ? 1 : 0;
  const every = Math.max(1, Math.ceil(11 / size));
  const strongest = (row: number): number =>
    (weights[row] ?? []).reduce((best, w, j, all) => (w > (all[best] ?? -1) ? j : best), 0);
  const row = at?.row ?? n - 1;
  const column = at?.column ?? strongest(row);
  const weight = weights[row]?.[column] ?? 0;
  const onKey = (event: React.KeyboardEvent): void => {
    const [r, c] = [row, column];
    const to = {
      ArrowUp: [r - 1, c],
      ArrowDown: [r + 1, c],
      ArrowLeft: [r, c - 1],
      ArrowRight: [r, c + 1],
      Home: [r, 0],
      End: [r, r],
    }[event.key];
    if (!to) return;
    event.preventDefault();
    event.stopPropagation();
    const next = Math.max(0, Math.min(n - 1, to[0] ?? r));
    setAt({ row: next, column: Math.max(0, Math.min(next, to[1] ?? c)) });
  };
  const height = n * size + 46;
  const reading = `“${tokenLabel(tokens[row] ?? "")}” takes ${fixed(weight, 2)} from “${tokenLabel(tokens[column] ?? "")}”, token ${column + 1}`;
  return (
    <div className="explore-attention">
      <svg
        width={width}
        height={height}
        role="application"
        aria-roledescription="heat map"
        aria-label={`${label}. ${n} tokens; use the arrow keys to read the weights. ${reading}`}
        tabIndex={0}
        onKeyDown={onKey}
        onPointerLeave={() => setAt(null)}
      >
        {weights.map((own, i) =>
          own.slice(0, i + 1).map((w, j) => (
            <rect
              // biome-ignore lint/suspicious/noArrayIndexKey: a weight is its place
              key={`${i} ${j}`}
              x={LEFT + j * size}
              y={i * size}
              width={size - gap}
              height={size - gap}
              rx={size > 10 ? 2 : 0}
              style={{ fill: cellStyle((theme) => sequentialColour(w, theme)).background }}
              onPointerEnter={() => setAt({ row: i, column: j })}
            />
          )),
        )}
        <g {...decorative} pointerEvents="none">
          {tokens.map((t, i) =>
            i % every === 0 || i === row ? (
              <text
                // biome-ignore lint/suspicious/noArrayIndexKey: a token is its place
                key={i}
                x={LEFT - 6}
                y={(i + 0.5) * size + 4}
                textAnchor="end"
                className={i === row ? "strong" : undefined}
              >
                {tokenLabel(t)}
              </text>
            ) : null,
          )}
          {tokens.map((t, j) =>
            j % every === 0 || j === column ? (
              <text
                // biome-ignore lint/suspicious/noArrayIndexKey: a token is its place
                key={j}
                transform={`translate(${LEFT + (j + 0.35) * size} ${n * size + 9}) rotate(45)`}
                className={j === column ? "strong" : undefined}
              >
                {tokenLabel(t)}
              </text>
            ) : null,
          )}
          <rect
            x={LEFT - 1.5}
            y={row * size - 1.5}
            width={(row + 1) * size + 2}
            height={size + 2}
            rx={3}
            fill="none"
            stroke="var(--ink)"
          />
          <rect
            x={LEFT + column * size - 0.5}
            y={row * size - 0.5}
            width={size}
            height={size}
            rx={2}
            fill="none"
            stroke="var(--signal)"
            strokeWidth={1.5}
          />
          {n > 4 ? (
            <g transform={`translate(${LEFT + n * size - 92} 4)`}>
              <text x={0} y={8} className="soft">
                weight
              </text>
              {Array.from({ length: 6 }, (_, i) => (
                <rect
                  // biome-ignore lint/suspicious/noArrayIndexKey: a step is its place
                  key={i}
                  x={i * 15}
                  y={14}
                  width={15}
                  height={7}
                  style={{ fill: cellStyle((theme) => sequentialColour(i / 5, theme)).background }}
                />
              ))}
              <text x={0} y={33}>
                0
              </text>
              <text x={90} y={33} textAnchor="end">
                1
              </text>
            </g>
          ) : null}
        </g>
      </svg>
      <p className="soft-2 small" style={{ margin: "2px 0 0" }} aria-live="polite" data-testid="weight">
        {reading}
      </p>
    </div>
  );
}
