"use client";
/** @file One unit explained: its number and rank, where it looks on your sentence, what it attends to, what breaks without it. */
import { useEffect, useRef } from "react";
import { isNoise } from "../../lib/stats/noise.ts";
import { findUnit } from "../../lib/units.ts";
import { IconButton, KeyLabels } from "../parts/controls.tsx";
import { fixed } from "../parts/format.ts";
import { Icon } from "../parts/icons.tsx";
import { Link } from "../parts/link.tsx";
import { short } from "./grid-cells.tsx";
import { type GridUnit, spokenUnit } from "./grid-units.ts";
import { headAddress } from "./head-address.ts";
import { UnitExplained } from "./unit-explained.tsx";
import { rankOf, type Scale, type Worth } from "./unit-worth.ts";

export interface InspectorProps {
  readonly model: string;
  readonly text: string | null;
  readonly unit: GridUnit;
  readonly dropped: boolean;
  /** The measurement of the selection goes first. */
  readonly isReady: boolean;
  readonly worth: Worth;
  readonly scale: Scale;
  /** The same unit by other metrics. */
  readonly others: readonly { readonly name: string; readonly worth: Worth; readonly scale: Scale }[];
  readonly onClose: () => void;
}

export function Inspector(props: InspectorProps) {
  const { unit, worth, scale } = props;
  const own = worth.get(unit.unit);
  const rank = rankOf(worth, unit.unit);
  const kind = findUnit(unit.unit)?.kind;
  const page = headAddress(props.model, unit.unit, props.text);
  const box = useRef<HTMLElement>(null);
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      if (event.key === "Escape" && event.target instanceof Node && box.current?.contains(event.target))
        props.onClose();
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  });
  return (
    <aside className="explore-inspector" aria-label={`${spokenUnit(unit.unit)} explained`} ref={box}>
      <div className="head">
        <h2>{unit.unit}</h2>
        <span className="soft">
          {unit.group !== null
            ? `reads KV group ${unit.group}`
            : kind === "groups"
              ? `${unit.atoms.length} heads read it`
              : ""}
          {props.dropped ? " · dropped" : ""}
        </span>
        <IconButton icon="cross" label="Close the explanation" onClick={props.onClose} />
      </div>
      <div className="facts-line">
        {own ? (
          <>
            <span>
              <strong style={{ fontSize: 17 }}>{short(own.value, scale)}</strong>{" "}
              <span className="soft-2">± {fixed(own.standardError * scale.times, 1)} alone</span>
              {scale.isSigned && isNoise(own) ? <span className="soft"> within noise</span> : null}
            </span>
            {rank !== null ? (
              <span className="soft-2">
                rank {rank} of {worth.size}
              </span>
            ) : null}
          </>
        ) : (
          <span className="soft">not measured</span>
        )}
        {page ? <Link href={page}>Its own page</Link> : null}
        {props.others.flatMap((o) => {
          const other = o.worth.get(unit.unit);
          return other ? (
            <span className="soft-2" key={o.name}>
              {o.name} {short(other.value, o.scale)}
            </span>
          ) : (
            []
          );
        })}
      </div>
      {props.text === null ? (
        <p className="soft">There is no text to take examples from.</p>
      ) : (
        <UnitExplained model={props.model} text={props.text} unit={unit.unit} isReady={props.isReady} />
      )}
      <div className="explore-keys" aria-hidden="true">
        <span>
          <KeyLabels keys="↑" />
          <KeyLabels keys="↓" /> move
        </span>
        <span>
          <KeyLabels keys="Space" /> drop
        </span>
        <span>
          <KeyLabels keys="G" /> group
        </span>
        <span>
          <KeyLabels keys="Mod-Z" /> undo
        </span>
        <span>
          <Icon name="keyboard" size={14} /> <KeyLabels keys="?" /> all
        </span>
      </div>
    </aside>
  );
}
