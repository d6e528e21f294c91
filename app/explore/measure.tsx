"use client";
/** @file What is not measured yet, and the buttons that measure it; while it is measured, how far it is. */
import { useMutation } from "@tanstack/react-query";
import type { SensitivityMetric } from "../../experiments/kinds/sensitivity/metrics.ts";
import type { Importance } from "../../server/what-if/measured-importance.ts";
import { useTRPC } from "../parts/api.tsx";
import { duration } from "../parts/format.ts";
import { Empty, ErrorNote, ProgressBar } from "../parts/states.tsx";
import { type Anatomy, type GridKind, kindNames } from "./grid-units.ts";
import { type Offer, offers } from "./offers.ts";
import { measuredCount, metricName, type Worth } from "./unit-worth.ts";

export interface MeasureProps {
  readonly model: string;
  readonly anatomy: Anatomy;
  readonly text: { readonly id: string; readonly separator: string | null } | null;
  readonly kind: GridKind;
  readonly metric: SensitivityMetric;
  readonly neuronBlock: number;
  readonly worth: Worth;
  readonly running: Importance | null;
  readonly units: number;
}

export function Measure(props: MeasureProps) {
  const { model, text, kind, metric, running, worth, units } = props;
  const trpc = useTRPC();
  const submit = useMutation(trpc.runs.submit.mutationOptions());
  const { many } = kindNames[kind];
  if (running)
    return (
      <div style={{ margin: "0 0 12px", maxWidth: 460 }}>
        <ProgressBar
          name={`Measuring ${many}`}
          progress={
            running.progress
              ? {
                  ...running.progress,
                  label: `${running.progress.label}; ${running.units.length > 0 ? `${running.sequences} sequences in` : "no value yet"}`,
                }
              : { share: 0, label: "waiting for a worker", left: null }
          }
        />
        <a className="small soft" href={`/runs/${running.runId}`}>
          {running.name}
        </a>
      </div>
    );
  const measured = measuredCount(worth);
  const list = offers({ anatomy: props.anatomy, kind, metric, units, measured, estimated: worth.size - measured });
  if (list.length === 0) return null;
  const start = ({ config }: Offer): void => {
    if (!text) return;
    submit.mutate({
      kind: "sensitivity",
      name: `what each of the ${many} of ${model} is worth`.slice(0, 120),
      config: {
        model,
        text: text.id,
        ...(text.separator ? { separator: text.separator } : {}),
        units:
          kind === "layers"
            ? ["layers", "attention", "mlp"]
            : kind === "heads"
              ? ["heads", "attention", "mlp"]
              : [kind],
        ...(kind === "neurons" ? { neuronBlock: props.neuronBlock } : {}),
        ...config,
      },
    });
  };
  const buttons = submit.isSuccess ? (
    <span className="soft" role="status">
      Queued
    </span>
  ) : (
    <span className="row" style={{ flexWrap: "wrap" }}>
      {list.map((offer) => (
        <button
          key={offer.label}
          type="button"
          disabled={text === null || submit.isPending}
          onClick={() => start(offer)}
        >
          {offer.label}
          {offer.seconds > 0 ? <span className="soft"> about {duration(offer.seconds)}</span> : null}
        </button>
      ))}
    </span>
  );
  return (
    <div style={{ margin: "0 0 12px" }}>
      {worth.size > 0 ? (
        <div className="note" style={{ maxWidth: 460 }}>
          <p>
            {measured > 0
              ? `${measured} of ${units} ${many} are measured`
              : `No ${kindNames[kind].one} is measured yet`}
            ; the others are Taylor estimates, marked with dots.
          </p>
          {buttons}
        </div>
      ) : (
        <Empty title={`${metricName(metric)} of ${many} has not been measured on ${model}`} action={buttons}>
          {list.length > 1 ? "One pass of gradients estimates what each is worth; then " : ""}
          {list.length > 1 ? "one" : "One"} at a time is removed and the change in loss is measured
          {text ? ` on ${text.id}` : ""}. You can drop {many} now and see what that costs.
        </Empty>
      )}
      {submit.error ? <ErrorNote error={submit.error} /> : null}
    </div>
  );
}
