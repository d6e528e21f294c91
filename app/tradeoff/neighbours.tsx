"use client";
/** @file The selected point beside its neighbours, pair by pair, and the units in which it differs from the nearest. */
import type { MadeOf } from "../../experiments/kinds/tradeoff/made-of.ts";
import { fixed } from "../parts/format.ts";
import { SIGNIFICANCE } from "./front.ts";
import type { Measure, Point, Size } from "./measures.ts";
import { differences } from "./point-recipe.ts";

export const showP = (p: number): string => (p < 0.001 ? "p < 0.001" : `p ${fixed(p, p < 0.1 ? 3 : 2)}`);

/** The pinned one, those before and behind on the front, and the nearest reference that is larger. */
export function neighboursOf(
  point: Point,
  front: readonly Point[],
  points: readonly Point[],
  pinned: Point | null,
  size: Size,
): Point[] {
  const bySize = front.filter((p) => p !== point);
  const before = bySize.filter((p) => size.of(p) <= size.of(point)).at(-1);
  const behind = bySize.find((p) => size.of(p) > size.of(point));
  const references = points.filter((p) => p.reference !== null && p !== point);
  const nearest = [...references].sort(
    (a, b) => Math.abs(Math.log(size.of(a) / size.of(point))) - Math.abs(Math.log(size.of(b) / size.of(point))),
  );
  const base = points.find((p) => p.isBase && p !== point);
  return [...new Set([pinned, before, behind, nearest[0], base].filter((p): p is Point => !!p && p !== point))];
}

export function Neighbours(props: {
  readonly point: Point;
  readonly others: readonly Point[];
  readonly size: Size;
  readonly measure: Measure;
  readonly base: MadeOf | null;
  readonly pinned: Point | null;
  readonly nameOf: (p: Point) => string;
  readonly onPick: (p: Point) => void;
}) {
  const { point, others, size, measure, base, pinned, nameOf, onPick } = props;
  const other = pinned && pinned !== point ? pinned : others[0];
  const units = other ? differences(point, other, base) : null;
  return (
    <section>
      <h3>Against its neighbours</h3>
      <table className="tradeoff-table beside">
        <tbody>
          {others.map((q) => (
            <tr key={q.model}>
              <th scope="row">
                <button type="button" className="link" onClick={() => onPick(q)} title={q.model}>
                  {q === pinned ? "pinned: " : ""}
                  {nameOf(q)}, {size.text(size.of(q))}
                </button>
              </th>
              <td className="number">
                <Relation point={point} other={q} size={size} measure={measure} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {other && units ? (
        <details className="tradeoff-differences">
          <summary>
            Why {nameOf(point)} and {nameOf(other)} differ: {units.length} {units.length === 1 ? "unit" : "units"}
          </summary>
          <ul>
            {units.slice(0, 200).map((u) => (
              <li key={u}>{u}</li>
            ))}
          </ul>
          {units.length > 200 ? <p className="soft">and {units.length - 200} more; the recipe has all.</p> : null}
        </details>
      ) : null}
    </section>
  );
}

function Relation({ point, other, size, measure }: { point: Point; other: Point; size: Size; measure: Measure }) {
  const ratio = size.of(other) / size.of(point);
  const factor =
    Math.abs(Math.log(ratio)) < 0.04
      ? ""
      : ratio > 1
        ? `${fixed(ratio, 1)}× ${size.words[0]}, `
        : `${fixed(1 / ratio, 1)}× ${size.words[1]}, `;
  const test = measure.paired(point, other);
  if (!test) return <span className="soft">{factor}not compared by pairs</span>;
  if (test.p >= SIGNIFICANCE)
    return (
      <span className="soft">
        {factor}no difference, {showP(test.p)}
      </span>
    );
  const error = test.standardError === null ? "" : ` ± ${test.standardError.toPrecision(1)}`;
  return (
    <span title={`paired: ${test.difference.toPrecision(3)}${error}, ${showP(test.p)}`}>
      <strong>
        {factor}
        {measure.difference(test.difference)}
      </strong>{" "}
      <span className="soft tradeoff-p">{showP(test.p)}</span>
    </span>
  );
}
