"use client";
/** @file What is not measured yet, and the button that measures it; while it is measured, how far it is. */
import { useMutation } from "@tanstack/react-query";
import type { SensitivityMetric } from "../../experiments/sensitivity/metrics.ts";
import type { Importance } from "../../server/what-if/importance.ts";
import { useTRPC } from "../parts/api.tsx";
import { Empty, ErrorNote, ProgressBar } from "../parts/states.tsx";
import { kindNames, type UnitKind } from "./units.ts";
import { metricNames } from "./values.ts";

export interface MeasureProps {
  readonly model: string;
  readonly text: { readonly id: string; readonly separator: string | null } | null;
  readonly kind: UnitKind;
  readonly metric: SensitivityMetric;
  readonly neuronBlock: number;
  readonly isMeasured: boolean;
  readonly running: Importance | null;
  readonly units: number;
}

export function Measure(props: MeasureProps) {
  const { model, text, kind, metric, running } = props;
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
                  label: `${running.progress.label}; ${props.isMeasured ? `${running.sequences} sequences in` : "no value yet"}`,
                }
              : { share: 0, label: "waiting for a worker", left: null }
          }
        />
        <a className="small soft" href={`/runs/${running.runId}`}>
          {running.name}
        </a>
      </div>
    );
  if (props.isMeasured) return null;
  const metrics =
    metric === "leave-one-out" || kind === "layers" ? ["leave-one-out", "taylor"] : ["leave-one-out", "taylor", metric];
  return (
    <div style={{ margin: "0 0 12px" }}>
      <Empty
        title={`${metricNames[metric]} of ${many} has not been measured on ${model}`}
        action={
          <button
            type="button"
            disabled={text === null || submit.isPending || submit.isSuccess}
            onClick={() =>
              text &&
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
                  metric: [...new Set(metrics)],
                  ...(kind === "neurons" ? { neuronBlock: props.neuronBlock } : {}),
                },
              })
            }
          >
            {submit.isSuccess
              ? "Queued"
              : kind === "heads"
                ? "Measure every head"
                : `Measure all ${props.units} ${many}`}
          </button>
        }
      >
        One is taken away at a time and the change in loss measured{text ? ` on ${text.id}` : ""}. You can drop {many}{" "}
        all the same and see what it costs.
      </Empty>
      {submit.error ? <ErrorNote error={submit.error} /> : null}
    </div>
  );
}
