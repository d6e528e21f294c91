"use client";
/** @file What the selection consists of, and what each part costs and saves, taken by itself. */
import { bytes, signed } from "../parts/format.ts";
import { costOf, layerParts, weightBytes } from "./cost.ts";
import { pieces, type Selection } from "./dropped-units.ts";
import type { Anatomy } from "./grid-units.ts";

export function Pieces(props: {
  readonly anatomy: Anatomy;
  readonly selection: Selection;
  readonly worthOf: (units: readonly string[]) => number | null;
  readonly onHover: (unit: string | null) => void;
}) {
  const { anatomy, selection, worthOf } = props;
  const parts = layerParts(anatomy);
  const list = pieces(selection, anatomy);
  if (list.length === 0)
    return (
      <p className="soft" style={{ marginTop: 14 }}>
        Drop heads on the grid, drag the threshold, or ask for a share: the cost is measured at once.
      </p>
    );
  return (
    <section className="explore-pieces" style={{ marginTop: 14 }} aria-label="Dropped">
      <h3>Dropped</h3>
      <table style={{ marginTop: 0 }}>
        <thead className="visually-hidden">
          <tr>
            <th>Part</th>
            <th>What it is</th>
            <th>10⁻³ nats per token, one by one</th>
            <th>Bytes in fp16</th>
          </tr>
        </thead>
        <tbody>
          {list.map((p) => {
            const worth = worthOf(p.atoms);
            return (
              <tr
                key={p.name}
                onPointerEnter={() => props.onHover(p.atoms[0] ?? null)}
                onPointerLeave={() => props.onHover(null)}
              >
                <td className="strong">{p.name}</td>
                <td className="soft-2">{p.what}</td>
                <td className="number">
                  {worth === null ? <span className="soft">unknown</span> : signed(worth * 1000, 1)}
                </td>
                <td className="number soft">−{bytes(weightBytes(costOf(anatomy, new Set(p.atoms), parts).removed))}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </section>
  );
}
