"use client";
/** @file How far back a head looks, and at which tokens, against attention spread evenly. */
import type { HeadReach } from "../../experiments/what-if/explain.ts";
import { tokenLabel } from "../explore/attention-map.tsx";
import { fixed, percent } from "../parts/format.ts";

export function Facts({ reach }: { reach: HeadReach }) {
  return (
    <p className="head-facts">
      <span>
        <strong>{fixed(reach.distance, 1)}</strong> tokens back on average{" "}
        <span className="soft">({fixed(reach.evenDistance, 1)} evenly)</span>
      </span>
      <span>
        <strong>{fixed(reach.entropy, 2)}</strong> bits of entropy{" "}
        <span className="soft">({fixed(reach.evenEntropy, 2)} evenly)</span>
      </span>
    </p>
  );
}

interface BarProps {
  readonly name: string;
  readonly share: number;
  readonly evenly: number;
  /** The share that fills the track. */
  readonly most: number;
}

function Bar({ name, share, evenly, most }: BarProps) {
  const at = (v: number): string => `${Math.min(100, (100 * v) / most)}%`;
  return (
    <>
      <span className="soft-2">{name}</span>
      <span className="track">
        <span style={{ width: at(share) }} />
        <i style={{ left: at(evenly) }} />
      </span>
      <span className="number">{percent(share, share < 0.1 ? 1 : 0)}</span>
    </>
  );
}

const largest = (shares: readonly { share: number; evenly: number }[]): number =>
  Math.max(1e-9, ...shares.map((s) => Math.max(s.share, s.evenly)));

export function Distances({ reach }: { reach: HeadReach }) {
  const most = largest(reach.distances);
  return (
    <>
      <h3>How far back</h3>
      <div className="explore-roles" data-testid="distances">
        {reach.distances.map((d) => (
          <Bar
            key={d.from}
            name={d.to === 0 ? "Itself" : d.from === d.to ? `${d.from} back` : `${d.from}–${d.to} back`}
            most={most}
            share={d.share}
            evenly={d.evenly}
          />
        ))}
      </div>
    </>
  );
}

export function Tokens({ reach }: { reach: HeadReach }) {
  const most = largest(reach.tokens);
  return (
    <>
      <h3>Tokens that get most</h3>
      <div className="explore-roles" data-testid="tokens">
        {reach.tokens.map((t, i) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: two tokens may have one text
          <Bar key={i} name={`“${tokenLabel(t.token)}”`} most={most} share={t.share} evenly={t.evenly} />
        ))}
      </div>
      <p className="soft small" style={{ margin: "4px 0 0" }}>
        Shares of all its attention over {reach.queries} positions, without what goes to the first token of a sequence.
        The tick marks attention spread evenly.
      </p>
    </>
  );
}
