"use client";
/** @file Two metrics against each other: where they disagree, and on which units most. */
import { useState } from "react";
import { signedRootAxis, ticksApart } from "../parts/axis.ts";
import { Figure } from "../parts/figure.tsx";
import { fixed, signed } from "../parts/format.ts";
import { isDropped, type Selection } from "./dropped-units.ts";
import { short, tickLabel } from "./grid-cells.tsx";
import type { UnitGridModel } from "./grid-units.ts";
import { agreement, disagreements, type Scale, type Worth } from "./unit-worth.ts";
import { useWidth } from "./use-width.ts";

export interface OverlayProps {
  readonly grid: UnitGridModel;
  readonly a: { readonly name: string; readonly worth: Worth; readonly scale: Scale; readonly measured: boolean };
  readonly b: { readonly name: string; readonly worth: Worth; readonly scale: Scale; readonly measured: boolean };
  readonly ceiling: number | null;
  readonly selection: Selection;
  readonly focus: string | null;
  readonly hover: string | null;
  readonly onFocus: (unit: string) => void;
  readonly onHover: (unit: string | null) => void;
}

const HEIGHT = 360;
const [LEFT, BOTTOM] = [58, 44];

export function Overlay(props: OverlayProps) {
  const { grid, a, b, selection, focus, hover } = props;
  const [box, width] = useWidth<HTMLDivElement>(540);
  const [at, setAt] = useState(-1);
  const units = [...a.worth.keys()].filter((u) => b.worth.has(u));
  const found = agreement(a.worth, b.worth);
  const worst = disagreements(a.worth, b.worth, 5);
  if (units.length === 0)
    return (
      <p className="soft explore-overlay">
        {b.name} has not been measured on these units, so it cannot be compared with {a.name}.
      </p>
    );
  const of = (side: "a" | "b", unit: string): number => {
    const { worth, scale } = side === "a" ? a : b;
    return (worth.get(unit)?.value ?? 0) * scale.times;
  };
  const domain = (side: "a" | "b"): [number, number] => {
    const all = units.map((u) => of(side, u));
    return [Math.min(0, ...all) * 1.1, Math.max(0, ...all) * 1.1 || 1];
  };
  const isSameUnit = a.scale.unit === b.scale.unit;
  const [da, db] = [domain("a"), domain("b")];
  const both: [number, number] = [Math.min(da[0], db[0]), Math.max(da[1], db[1])];
  const x = signedRootAxis(isSameUnit ? both : da, [LEFT, width - 12], 5);
  const y = signedRootAxis(isSameUnit ? both : db, [HEIGHT - BOTTOM, 12], 5);
  const named = new Set([...worst.slice(0, 3).map((d) => d.unit), focus, hover]);
  const ordered = [...units].sort((u, v) => of("a", u) - of("a", v));
  const onKey = (event: React.KeyboardEvent): void => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const next = Math.max(0, Math.min(ordered.length - 1, at + step * (event.shiftKey ? 10 : 1)));
    setAt(next);
    props.onHover(ordered[next] ?? null);
  };
  const ceiling = props.ceiling !== null ? `, ceiling ${fixed(props.ceiling, 2)}` : "";
  return (
    <div className="explore-overlay" ref={box}>
      <Figure
        title="Where the two metrics disagree"
        sentence={
          found ? `ρ ${fixed(found.rho, 2)}${ceiling} over ${found.units} units` : "Too few units for a correlation"
        }
        level={2}
        table={() => ({
          columns: ["unit", `${a.name}, ${a.scale.unit}`, "± SE", `${b.name}, ${b.scale.unit}`, "± SE", "state"],
          rows: units.map((u) => [
            u,
            of("a", u),
            (a.worth.get(u)?.standardError ?? 0) * a.scale.times,
            of("b", u),
            (b.worth.get(u)?.standardError ?? 0) * b.scale.times,
            selection.has(u) ? "dropped" : "kept",
          ]),
        })}
      >
        <svg
          data-drawing
          className="explore-scatter"
          width={width}
          height={HEIGHT}
          role="img"
          tabIndex={0}
          aria-label={`${a.name} against ${b.name}. Arrow keys move between units${hover ? `: ${hover}` : ""}.`}
          onKeyDown={onKey}
        >
          {ticksApart(x, 30).map((t) => (
            <g key={`x${t}`}>
              <path d={`M${x(t)} 12V${HEIGHT - BOTTOM}`} stroke="var(--line)" />
              <text x={x(t)} y={HEIGHT - BOTTOM + 16} textAnchor="middle">
                {tickLabel(t, a.scale)}
              </text>
            </g>
          ))}
          {ticksApart(y, 30).map((t) => (
            <g key={`y${t}`}>
              <path d={`M${LEFT} ${y(t)}H${width - 12}`} stroke="var(--line)" />
              <text x={LEFT - 8} y={y(t) + 4} textAnchor="end">
                {tickLabel(t, b.scale)}
              </text>
            </g>
          ))}
          {isSameUnit ? (
            <path d={`M${LEFT} ${HEIGHT - BOTTOM}L${width - 12} 12`} stroke="var(--ink-3)" strokeDasharray="4 3" />
          ) : null}
          <text x={(LEFT + width) / 2} y={HEIGHT - 8} textAnchor="middle">
            {a.name}, {a.scale.unit}
          </text>
          <text transform={`translate(12 ${HEIGHT / 2 - 10}) rotate(-90)`} textAnchor="middle">
            {b.name}, {b.scale.unit}
          </text>
          {units.map((u) => {
            const unit = grid.find.get(u);
            const isOut = unit !== undefined && isDropped(selection, unit);
            const [px, py] = [x(of("a", u)), y(of("b", u))];
            return (
              // biome-ignore lint/a11y/noStaticElementInteractions: arrows on the drawing do the same
              <g
                key={u}
                onPointerEnter={() => props.onHover(u)}
                onPointerLeave={() => props.onHover(null)}
                onClick={() => props.onFocus(u)}
                style={{ cursor: "pointer" }}
              >
                <circle
                  cx={px}
                  cy={py}
                  r={3}
                  fill={isOut ? "var(--surface)" : "var(--d1)"}
                  fillOpacity={isOut ? 1 : 0.6}
                  stroke={isOut ? "var(--ink-2)" : "none"}
                />
                {u === focus || u === hover ? (
                  <circle
                    cx={px}
                    cy={py}
                    r={6.5}
                    fill="none"
                    stroke={u === focus ? "var(--signal)" : "var(--ink)"}
                    strokeWidth={2}
                  />
                ) : null}
              </g>
            );
          })}
          {units
            .filter((u) => named.has(u))
            .map((u) => (
              <text
                key={u}
                className="name"
                pointerEvents="none"
                x={x(of("a", u)) + (x(of("a", u)) > width - 90 ? -9 : 9)}
                y={y(of("b", u)) - 7}
                textAnchor={x(of("a", u)) > width - 90 ? "end" : "start"}
              >
                {u}
              </text>
            ))}
          <g transform={`translate(${LEFT + 14} 24)`}>
            <circle cx={0} cy={0} r={3} fill="var(--surface)" stroke="var(--ink-2)" />
            <text x={8} y={4}>
              dropped
            </text>
            <circle cx={66} cy={0} r={3} fill="var(--d1)" fillOpacity={0.6} />
            <text x={74} y={4}>
              kept
            </text>
          </g>
        </svg>
      </Figure>
      <table>
        <thead>
          <tr>
            <th>Largest disagreements</th>
            <th className="number">{a.name}</th>
            <th className="number">{b.name}</th>
            <th className="number">ranks apart</th>
            <th className="number">which is right?</th>
          </tr>
        </thead>
        <tbody>
          {worst.map((d) => (
            <tr key={d.unit} onPointerEnter={() => props.onHover(d.unit)} onPointerLeave={() => props.onHover(null)}>
              <td>
                <button type="button" className="quiet" onClick={() => props.onFocus(d.unit)}>
                  <strong>{d.unit}</strong>
                </button>
              </td>
              <td className="number">{short(d.a.value, a.scale)}</td>
              <td className="number">{short(d.b.value, b.scale)}</td>
              <td className="number soft">{signed(d.ranks, 0)}</td>
              <td className="number soft">
                {a.measured ? `measured: ${a.name}` : b.measured ? `measured: ${b.name}` : "neither is measured"}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
