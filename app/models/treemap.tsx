"use client";
/** @file Where the bytes are: every tensor as an area, layers as blocks (squarified treemap, d3-hierarchy). */
import { hierarchy, treemap, treemapSquarify } from "d3-hierarchy";
import { useState } from "react";
import { Figure } from "../parts/figure.tsx";
import { bytes, count, fixed, percent } from "../parts/format.ts";
import type { Anatomy } from "./architecture.tsx";

const [WIDTH, HEIGHT] = [560, 330];

type Tensor = Anatomy["tensors"][number];
interface Node {
  readonly name: string;
  readonly tensor?: Tensor;
  readonly children?: Node[];
}

const partOf = (role: string): "attention" | "mlp" | "table" | "norm" => {
  if (/norm/i.test(role)) return "norm";
  if (/^(query|key|value|output)$/.test(role)) return "attention";
  return /^(gate|up|down)$/.test(role) ? "mlp" : "table";
};
const colours = { attention: "var(--d1)", mlp: "var(--d3)", table: "var(--d4)", norm: "var(--d7)" } as const;
const words = { attention: "attention", mlp: "MLP", table: "vocabulary", norm: "norms" } as const;

export function Treemap({ anatomy }: { anatomy: Anatomy }) {
  const [over, setOver] = useState<Tensor | null>(null);
  const layers = new Map<string, Tensor[]>();
  for (const t of anatomy.tensors) {
    const name = t.layer === null ? "outside the layers" : `L${t.layer}`;
    layers.set(name, [...(layers.get(name) ?? []), t]);
  }
  const data: Node = {
    name: "model",
    children: [...layers].map(([name, tensors]) => ({
      name,
      children: tensors.map((t) => ({ name: t.name, tensor: t })),
    })),
  };
  const root = treemap<Node>().tile(treemapSquarify).size([WIDTH, HEIGHT]).paddingInner(1).paddingOuter(1.5)(
    hierarchy(data)
      .sum((n) => n.tensor?.sizeBytes ?? 0)
      .sort((a, b) => (b.value ?? 0) - (a.value ?? 0)),
  );
  const total = root.value ?? 1;
  const kinds = [...new Set(anatomy.tensors.map((t) => partOf(t.role)))];
  return (
    <Figure
      title="Where the bytes are"
      sentence={
        over
          ? `${over.name}: ${over.shape.join(" × ")}, ${over.type}, ${bytes(over.sizeBytes)}, ${fixed((8 * over.sizeBytes) / over.elements, 2)} bits per weight.`
          : `${bytes(total)} as stored, codes, scales and tables counted. Point at a tensor to read it.`
      }
      table={() => ({
        columns: ["tensor", "shape", "scheme", "elements", "bytes", "bits per weight"],
        rows: anatomy.tensors.map((t) => [
          t.name,
          t.shape.join(" × "),
          t.type,
          t.elements,
          t.sizeBytes,
          Number(((8 * t.sizeBytes) / t.elements).toFixed(3)),
        ]),
      })}
    >
      <svg data-drawing width="100%" viewBox={`0 0 ${WIDTH} ${HEIGHT + 24}`} style={{ maxWidth: 760 }} role="img">
        <title>Bytes by tensor</title>
        {root.leaves().map((leaf) => {
          const { tensor } = leaf.data;
          if (!tensor) return null;
          const [w, h] = [leaf.x1 - leaf.x0, leaf.y1 - leaf.y0];
          const part = partOf(tensor.role);
          return (
            <g key={tensor.name} onPointerEnter={() => setOver(tensor)} onPointerLeave={() => setOver(null)}>
              <rect
                x={leaf.x0}
                y={leaf.y0}
                width={w}
                height={h}
                fill={colours[part]}
                fillOpacity={over === tensor ? 0.95 : part === "table" ? 0.6 : 0.5}
                stroke="var(--surface)"
              />
              {w > 54 && h > 26 ? (
                <>
                  <text x={leaf.x0 + 5} y={leaf.y0 + 13} style={{ fill: "var(--ink)", fontWeight: 560 }}>
                    {tensor.layer === null ? tensor.role : `L${tensor.layer} ${tensor.role}`}
                  </text>
                  <text x={leaf.x0 + 5} y={leaf.y0 + 25} style={{ fill: "var(--ink)" }}>
                    {percent(tensor.sizeBytes / total)}
                  </text>
                </>
              ) : null}
            </g>
          );
        })}
        {kinds.map((k, i) => (
          <g key={k} transform={`translate(${i * 142}, ${HEIGHT + 12})`}>
            <rect y={-7} width={9} height={9} rx={1.5} fill={colours[k]} fillOpacity={0.6} />
            <text x={14} y={1}>
              {words[k]} {count(anatomy.tensors.filter((t) => partOf(t.role) === k).length)}
            </text>
          </g>
        ))}
      </svg>
    </Figure>
  );
}
