/** @file What a kind of run does, drawn: what Home shows of each step before anything has been run. */
import type { ReactNode } from "react";
import { cellStyle, divergingColour, sequentialColour } from "../../experiments/figures/colour-scales.ts";

/** Two blocks of 4 × 8 small cells. */
function Cells({ of }: { of: (row: number, column: number) => { background: string; hatched?: boolean } }) {
  return (
    <span className="home-cells" aria-hidden="true">
      {Array.from({ length: 64 }, (_, i) => {
        const { background, hatched } = of(Math.floor(i / 8), i % 8);
        return (
          // biome-ignore lint/suspicious/noArrayIndexKey: a cell is its place
          <i key={i} style={{ background }} className={hatched ? "hatched" : undefined} />
        );
      })}
    </span>
  );
}

// A drawing, not a measurement: the same pattern every time.
const pattern = (row: number, column: number): number => ((row * 37 + column * 101 + row * column * 13) % 97) / 97;

/** A kind without a picture is told in words alone. */
const pictures: Partial<Record<string, () => ReactNode>> = {
  sensitivity: () => (
    <Cells
      of={(r, c) => {
        const p = pattern(r, c);
        return { background: cellStyle((theme) => divergingColour(p > 0.9 ? -0.04 : p ** 5, 1, theme)).background };
      }}
    />
  ),
  prune: () => (
    <Cells
      of={(r, c) =>
        pattern(r, c) < 0.34 ? { background: "transparent", hatched: true } : { background: "var(--ink-2)" }
      }
    />
  ),
  distill: () => (
    <svg width={150} height={96} aria-hidden="true">
      <path d="M2 92H148" stroke="var(--line-2)" />
      <path
        d={`M2 10${Array.from({ length: 48 }, (_, i) => {
          const noise = (pattern(i, i * 3) - 0.5) * 14;
          return `L${2 + i * 3} ${78 - 68 * Math.exp(-i / 9) + noise}`;
        }).join("")}`}
        fill="none"
        stroke="var(--d1)"
        opacity={0.35}
      />
      <path
        d={`M2 10${Array.from({ length: 48 }, (_, i) => `L${2 + i * 3} ${80 - 70 * Math.exp(-i / 9)}`).join("")}`}
        fill="none"
        stroke="var(--d1)"
        strokeWidth={2}
      />
    </svg>
  ),
  quantize: () => (
    <span className="home-bars" aria-hidden="true">
      {[6, 4, 3, 4, 3, 2, 4, 3, 2, 6, 4, 3, 2, 3, 4, 2, 3, 6].map((bits, i) => (
        <i
          // biome-ignore lint/suspicious/noArrayIndexKey: a bar is its place
          key={i}
          style={{ height: bits * 14, background: cellStyle((theme) => sequentialColour(bits / 7, theme)).background }}
        />
      ))}
    </span>
  ),
  export: () => (
    <svg width={56} height={96} viewBox="0 0 56 96" fill="none" aria-hidden="true">
      <rect x={2} y={2} width={50} height={92} rx={9} stroke="var(--ink)" strokeWidth={2} />
      <path d="M20 6h14" stroke="var(--ink)" strokeWidth={3} strokeLinecap="round" />
      <path d="M12 24h28M12 33h18M12 82h28" stroke="var(--line-2)" strokeWidth={3} strokeLinecap="round" />
      <path d="M12 62l9-9 6 6 12-14" stroke="var(--d1)" strokeWidth={2} strokeLinecap="round" strokeLinejoin="round" />
    </svg>
  ),
};

export function StepPicture({ kind }: { kind: string }) {
  return pictures[kind]?.() ?? null;
}
