"use client";
/**
 * @file What if: the prediction at once, the measurement as soon as it is there, both kept; then base, now, change, and what the
 * selection consists of.
 *
 * While measuring the predicted number is large; when the measurement is done it takes its place. What was measured of another
 * selection stays, marked stale, until the new one begins.
 */
import { useEffect, useState } from "react";
import { isNoise } from "../../lib/stats/noise.ts";
import { fixed, signed } from "../parts/format.ts";
import { Icon } from "../parts/icons.tsx";
import { ErrorNote } from "../parts/states.tsx";
import { ChangeTable, type ChangeTableProps } from "./change-table.tsx";
import type { Cost } from "./cost.ts";
import { describeSelection, type Selection } from "./dropped-units.ts";
import { Estimates } from "./estimates.tsx";
import type { Prediction } from "./expected-cost.ts";
import type { Anatomy } from "./grid-units.ts";
import { Pieces } from "./pieces.tsx";
import type { WhatIf } from "./use-what-if.ts";

export interface WhatIfPanelProps {
  readonly anatomy: Anatomy;
  readonly selection: Selection;
  readonly cost: Cost;
  readonly whatIf: WhatIf;
  readonly prediction: Prediction;
  readonly goal: number;
  readonly onGoal: (goal: number) => void;
  readonly onHover: (unit: string | null) => void;
  readonly change: Omit<ChangeTableProps, "cost" | "whatIf">;
  /** Overlay mode shows two metrics instead of the parts of the selection. */
  readonly children?: React.ReactNode;
}

const nats = (v: number): string => signed(v * 1000, 1);

export function WhatIfPanel(props: WhatIfPanelProps) {
  const { selection, whatIf, prediction } = props;
  const { now, partial, before, state } = whatIf;
  const best = prediction.engine ?? prediction.additive;
  const isPartial = partial !== null && partial.sequences > 1;
  const shown = now ?? before;
  const measured = now ?? (isPartial ? partial : before);
  return (
    <>
      <div className="head">
        <h2>What if</h2>
        <Status whatIf={whatIf} />
      </div>
      <div className="soft-2">{describeSelection(selection, props.anatomy)}</div>
      {whatIf.error ? (
        <ErrorNote
          error={whatIf.error}
          action={
            <button type="button" onClick={whatIf.retry}>
              Ask again
            </button>
          }
        />
      ) : null}
      <div className="explore-what-body">
        <div>
          <div className="explore-numbers">
            {now ? (
              <>
                <span className="figure-number" data-testid="measured">
                  {nats(now.difference)}
                </span>
                <span className="soft-2">± {fixed(now.standardError * 1000, 1)}</span>
                <span className="soft">10⁻³ nats per token</span>
              </>
            ) : (
              <>
                <span className="figure-number">{best ? nats(best.value) : "…"}</span>
                <span className="soft" data-testid="predicted">
                  {!best
                    ? "prediction unknown"
                    : prediction.engine?.selections === 0
                      ? "predicted by Taylor"
                      : "predicted"}
                </span>
                <span className="second">
                  {isPartial ? (
                    <>
                      <strong>{nats(partial.difference)}</strong> ± {fixed(partial.standardError * 1000, 1)}{" "}
                      <span className="soft small">measured so far</span>
                    </>
                  ) : before ? (
                    <>
                      <span className="explore-stale" data-testid="stale">
                        {nats(before.difference)}
                      </span>{" "}
                      <span className="tag stale">stale</span>
                    </>
                  ) : null}
                </span>
              </>
            )}
          </div>
          <Estimates
            additive={prediction.additive ? { value: prediction.additive.value * 1000 } : null}
            predicted={
              prediction.engine
                ? {
                    value: prediction.engine.value * 1000,
                    ...(prediction.engine.low !== null && prediction.engine.high !== null
                      ? { low: prediction.engine.low * 1000, high: prediction.engine.high * 1000 }
                      : {}),
                  }
                : null
            }
            measured={
              measured
                ? {
                    value: measured.difference * 1000,
                    low: (measured.difference - 1.96 * measured.standardError) * 1000,
                    high: (measured.difference + 1.96 * measured.standardError) * 1000,
                  }
                : null
            }
            isStale={!now}
            isPredicting={whatIf.isPredicting}
            goal={props.goal}
            onGoal={props.onGoal}
          />
          <p className="soft small" style={{ margin: "2px 0 0" }}>
            {basis(prediction)} {interaction(prediction, now)} Intervals are 95 %.
          </p>
        </div>
        <div>
          <ChangeTable
            {...props.change}
            cost={props.cost}
            whatIf={{ ...whatIf, now: shown }}
            isStale={now === null && shown !== null}
          />
          {props.children ? null : (
            <Pieces
              anatomy={props.anatomy}
              selection={selection}
              worthOf={prediction.worthOf}
              onHover={props.onHover}
            />
          )}
        </div>
      </div>
      {props.children}
      <Announce state={state} best={best?.value ?? null} now={now} count={selection.size} />
    </>
  );
}

/** What the prediction rests on. */
function basis({ engine }: Prediction): string {
  if (!engine) return "";
  if (engine.selections === 0)
    return "The prediction comes from gradients alone (Taylor), so its error is not known yet.";
  return `The prediction comes from gradients (Taylor), corrected by ${engine.selections} measured selections.`;
}

function interaction({ additive }: Prediction, now: WhatIf["now"]): string {
  if (!additive) return "Some of these units have not been measured one by one, so there is no sum.";
  if (!now) return "";
  const more = now.difference - additive.value;
  if (additive.units < 2) return "";
  if (isNoise({ value: more, standardError: now.standardError }))
    return "Together they cost the same as one by one, within noise.";
  return `Together they cost ${fixed(Math.abs(more) * 1000, 1)} ${more > 0 ? "more" : "less"} than one by one.`;
}

function Status({ whatIf }: { whatIf: WhatIf }) {
  const { state, now, partial, opened } = whatIf;
  if (state === "failed")
    return (
      <span className="status bad">
        <Icon name="cross" size={14} /> not measured
      </span>
    );
  if (state === "measured" && now)
    return (
      <span className="status ok" data-testid="latency" title={`${now.sequences} sequences`}>
        <Icon name="check" size={14} /> measured in {Math.round(now.milliseconds)} ms
      </span>
    );
  return (
    <span className="status" style={{ color: "var(--signal)" }} data-testid="latency">
      <Icon name="arc" size={14} spin />
      {state === "opening"
        ? "opening the model"
        : `measuring, ${partial?.sequences ?? 0} of ${partial?.of ?? opened?.sequences ?? "…"} sequences`}
    </span>
  );
}

/** Says predicted, then measured, to those who do not see it. */
function Announce(props: { state: WhatIf["state"]; best: number | null; now: WhatIf["now"]; count: number }) {
  const [said, setSaid] = useState("");
  const { state, best, now, count } = props;
  useEffect(() => {
    if (count === 0) return setSaid("");
    if (now)
      setSaid(
        `measured ${nats(now.difference)}, standard error ${fixed(now.standardError * 1000, 1)}, thousandths of a nat per token`,
      );
    else if (state === "measuring" && best !== null) setSaid(`predicted ${nats(best)} thousandths of a nat per token`);
  }, [state, best, now, count]);
  return (
    <div className="visually-hidden" aria-live="polite" data-testid="announced">
      {said}
    </div>
  );
}
