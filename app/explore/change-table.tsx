"use client";
/** @file Base, now, change: what the selection does to every number that counts. */
import type { ReactNode } from "react";
import { isNoise } from "../../lib/stats/noise.ts";
import { Tag } from "../parts/controls.tsx";
import { fixed, percent, signed } from "../parts/format.ts";
import { type Cost, weightBytes } from "./cost.ts";
import type { Speed } from "./selection-speed.ts";
import type { WhatIf } from "./use-what-if.ts";

export interface ChangeTableProps {
  readonly cost: Cost;
  readonly whatIf: Pick<WhatIf, "opened" | "now" | "accuracy" | "accuracyIsStale">;
  readonly isStale?: boolean;
  /** Tokens a second by the model of the phone; null where there is none. */
  readonly speed: Speed | null;
}

/** Bytes in the unit that suits the larger of two. */
function sized(base: number, now: number): { unit: string; base: string; now: string } {
  const [unit, by] = base < 1e6 ? ["kB", 1e3] : base < 1e9 ? ["MB", 1e6] : ["GB", 1e9];
  const digits = base / by < 100 ? 2 : 0;
  return { unit, base: fixed(base / by, digits), now: fixed(now / by, digits) };
}

function Row(props: {
  name: ReactNode;
  base: ReactNode;
  now: ReactNode;
  change: ReactNode;
  stale?: boolean | undefined;
}) {
  return (
    <tr>
      <td>{props.name}</td>
      <td className="number soft">{props.base}</td>
      <td className={props.stale ? "number now explore-stale" : "number now"}>{props.now}</td>
      <td className="number">{props.change}</td>
    </tr>
  );
}

export function ChangeTable({ cost, whatIf, isStale, speed }: ChangeTableProps) {
  const { opened, now, accuracy } = whatIf;
  const weights = sized(weightBytes(cost.parameters), weightBytes(cost.parameters - cost.removed));
  const cache = sized(cost.cacheBytes, cost.cacheBytes - cost.cacheRemoved);
  const noise = now && isNoise({ value: now.difference, standardError: now.standardError });
  return (
    <table>
      <thead>
        <tr>
          <th>
            <span className="visually-hidden">What</span>
          </th>
          <th className="number">base</th>
          <th className="number">now</th>
          <th className="number">change</th>
        </tr>
      </thead>
      <tbody>
        {opened ? (
          <Row
            name="Perplexity"
            base={fixed(Math.exp((now ?? opened).baseNll), 2)}
            now={now ? fixed(Math.exp(now.baseNll + now.difference), 2) : "…"}
            stale={isStale}
            change={
              !now ? (
                "…"
              ) : noise && now.difference !== 0 ? (
                <span className="soft">within noise</span>
              ) : (
                `${signed(100 * (Math.exp(now.difference) - 1), 1)} %`
              )
            }
          />
        ) : null}
        {now ? (
          <>
            <Row
              name="KL to base"
              base="0"
              now={fixed(now.kl.mean, 3)}
              stale={isStale}
              change={`±${fixed(now.kl.standardError, 3)}`}
            />
            <Row
              name="Same top token, %"
              base="100"
              now={fixed(100 * now.agreement.mean, 1)}
              stale={isStale}
              change={`±${fixed(100 * now.agreement.standardError, 1)}`}
            />
          </>
        ) : null}
        {accuracy ? (
          <Row
            name={
              <span title={`${accuracy.items} questions; McNemar p ${fixed(accuracy.p, 3)}`}>Questions right, %</span>
            }
            base={fixed((100 * accuracy.base.correct) / accuracy.items, 1)}
            now={fixed((100 * accuracy.selected.correct) / accuracy.items, 1)}
            stale={whatIf.accuracyIsStale}
            change={<AccuracyChange accuracy={accuracy} />}
          />
        ) : null}
        <Row
          name={`Weights fp16, ${weights.unit}`}
          base={weights.base}
          now={weights.now}
          change={percent(-cost.removed / cost.parameters)}
        />
        <Row
          name={`KV cache at ${cost.positions}, ${cache.unit}`}
          base={cache.base}
          now={cache.now}
          change={percent(cost.cacheBytes > 0 ? -cost.cacheRemoved / cost.cacheBytes : 0)}
        />
        <Row
          name={
            <>
              Tokens/s <Tag kind="modelled" />
            </>
          }
          base={speed ? fixed(speed.base, 0) : <span title="No model of the phone yet">unknown</span>}
          now={speed ? fixed(speed.now, 0) : "unknown"}
          change={speed ? `${signed(100 * (speed.now / speed.base - 1), 0)} %` : ""}
        />
      </tbody>
      {speed ? <caption className="soft small">{speed.note}</caption> : null}
    </table>
  );
}

function AccuracyChange({ accuracy }: { accuracy: NonNullable<WhatIf["accuracy"]> }) {
  const change = accuracy.won - accuracy.lost;
  if (change === 0 && accuracy.lost === 0) return "0";
  if (accuracy.p >= 0.05) return <span className="soft">within noise</span>;
  return <span className={change < 0 ? "hurt" : "help"}>{signed((100 * change) / accuracy.items, 1)}</span>;
}
