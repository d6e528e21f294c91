"use client";
/** @file The architecture as a picture: a row a layer, its query heads by KV group, its MLP as wide as its neurons. */
import type { inferRouterOutputs } from "@trpc/server";
import type { AppRouter } from "../../server/api/router.ts";
import { Figure } from "../parts/figure.tsx";
import { count } from "../parts/format.ts";

export type Anatomy = inferRouterOutputs<AppRouter>["models"]["anatomy"];

const LEFT = 40;
const MLP = 150;

export function ArchitecturePicture({ anatomy }: { anatomy: Anatomy }) {
  const { layers } = anatomy;
  const [heads, neurons] = [Math.max(...layers.map((l) => l.queryHeads)), Math.max(...layers.map((l) => l.neurons))];
  const row = layers.length > 40 ? 9 : layers.length > 20 ? 14 : 20;
  const cell = Math.max(3, Math.min(18, Math.floor(300 / heads)));
  const groupGap = cell > 6 ? 4 : 2;
  const widest = Math.max(...layers.map((l) => l.queryHeads * cell + (l.kvGroups - 1) * groupGap));
  const mlpAt = LEFT + widest + 28;
  const width = mlpAt + MLP + 70;
  const height = layers.length * row + 40;
  const isSliding = layers.some((l) => l.window !== null);
  return (
    <Figure
      title="What it is made of"
      sentence={`${layers.length} layers of width ${count(anatomy.hidden)}; query heads side by side, those of one KV group together; the bar at the right is the MLP.${isSliding ? " Bold names are layers with full attention." : ""}`}
      table={() => ({
        columns: ["layer", "query heads", "KV groups", "channels per head", "neurons", "window"],
        rows: layers.map((l, i) => [`L${i}`, l.queryHeads, l.kvGroups, l.headDim, l.neurons, l.window ?? "all"]),
      })}
    >
      <svg data-drawing width="100%" viewBox={`0 0 ${width} ${height}`} style={{ maxWidth: width }} role="img">
        <title>Layers of the model</title>
        <text x={LEFT} y={12}>
          query heads
        </text>
        <text x={mlpAt} y={12}>
          neurons
        </text>
        {layers.map((l, i) => {
          const y = 20 + (layers.length - 1 - i) * row;
          return (
            // biome-ignore lint/suspicious/noArrayIndexKey: a layer is its place
            <g key={i}>
              {row >= 14 || i % 4 === 0 ? (
                <text
                  x={LEFT - 8}
                  y={y + row / 2 + 3}
                  textAnchor="end"
                  style={isSliding && l.window === null ? { fontWeight: 650, fill: "var(--ink)" } : undefined}
                >
                  L{i}
                </text>
              ) : null}
              {l.headToGroup.map((g, h) => (
                <rect
                  // biome-ignore lint/suspicious/noArrayIndexKey: a head is its place
                  key={h}
                  x={LEFT + h * cell + g * groupGap}
                  y={y + 1}
                  width={cell - 1.5}
                  height={row - 5}
                  rx={1.5}
                  fill="var(--ink-2)"
                />
              ))}
              {Array.from({ length: l.kvGroups }, (_, g) => {
                const [from, to] = [l.headToGroup.indexOf(g), l.headToGroup.lastIndexOf(g)];
                return from < 0 ? null : (
                  <rect
                    // biome-ignore lint/suspicious/noArrayIndexKey: a group is its place
                    key={g}
                    x={LEFT + from * cell + g * groupGap}
                    y={y + row - 3}
                    width={(to - from + 1) * cell - 1.5}
                    height={1.2}
                    fill="var(--line-2)"
                  />
                );
              })}
              <rect
                x={mlpAt}
                y={y + 2}
                width={(MLP * l.neurons) / neurons}
                height={row - 7}
                rx={1.5}
                fill="var(--d1)"
              />
              {row >= 14 && (i === 0 || l.neurons !== layers[i - 1]?.neurons) ? (
                <text x={mlpAt + (MLP * l.neurons) / neurons + 6} y={y + row / 2 + 3}>
                  {count(l.neurons)}
                </text>
              ) : null}
            </g>
          );
        })}
      </svg>
    </Figure>
  );
}
