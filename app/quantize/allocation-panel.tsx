"use client";
/** @file The allocation in numbers: size, bits, what it is predicted to cost, tensors at each width; and to measure it. */
import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import type { Allocation } from "../../lib/compress/allocate/allocation.ts";
import type { Width } from "../../lib/compress/quantize/width.ts";
import { useTRPCClient } from "../parts/api.tsx";
import { Keys } from "../parts/controls.tsx";
import { bytes, count, fixed, small } from "../parts/format.ts";
import { useHotkeys } from "../parts/hotkeys.ts";
import { Icon } from "../parts/icons.tsx";
import { Link } from "../parts/link.tsx";
import { ErrorNote } from "../parts/states.tsx";
import { type Settings, storageFor, textFor } from "./settings.ts";
import { type PlacedFinalist, showWidth } from "./width-map-model.ts";

export function AllocationPanel(props: {
  readonly allocation: Allocation<Width>;
  readonly widths: readonly Width[];
  readonly settings: Settings;
  readonly budget: number;
  readonly placed: readonly PlacedFinalist[];
}) {
  const { allocation, widths, settings, budget, placed } = props;
  const client = useTRPCClient();
  const { tensors, prediction } = allocation;
  const [copied, setCopied] = useState(false);
  const recipe = tensors ? { tensors: { ...tensors } } : null;
  const measure = useMutation({
    mutationFn: async () => {
      if (!recipe) throw new Error("there is no allocation to measure");
      const name = `allocated to ${bytes(allocation.sizeBytes).replaceAll("\u2009", " ")}`;
      const { model } = settings;
      const needsText = storageFor(settings).weighting !== "none";
      const onText = textFor(settings);
      const { runs } = await client.studies.submit.mutate({
        title: name,
        steps: [
          {
            key: "quantize",
            kind: "quantize",
            name,
            config: { model, recipe, ...storageFor(settings), ...(needsText ? onText : {}) },
          },
          {
            key: "measure",
            kind: "evaluate",
            name: `${name}, on the map's text`,
            config: { model: "step:quantize", base: model, ...onText },
          },
        ],
      });
      return { made: runs.find((r) => r.step === "quantize"), measured: runs.find((r) => r.step === "measure") };
    },
  });
  const canMeasure = recipe !== null && !measure.isPending && allocation.unmeasured.length === 0;
  const start = (): void => {
    if (canMeasure) measure.mutate();
  };
  useHotkeys({ "quantize.measure": canMeasure ? start : undefined });
  const same = placed.find(
    (f) => tensors && Object.entries(f.recipe).every(([t, w]) => tensors[t] === w) && f.predicted !== null,
  );
  return (
    <aside className="quantize-panel" aria-label="The allocation">
      {tensors ? (
        <>
          <div className="quantize-numbers">
            <p>
              <span className="figure-number">{bytes(allocation.sizeBytes)}</span>
              <span className="soft">{fixed(allocation.bitsPerWeight, 2)} bits per weight, exact</span>
            </p>
            <p>
              <span className="figure-number">{small(prediction.value)}</span>
              <span className="soft">
                predicted KL, {small(prediction.low)} to {small(prediction.high)}
              </span>
            </p>
          </div>
          {same ? (
            <p>
              Measured: <strong>{small(same.kl, 3)}</strong>{" "}
              <span className="soft">
                ± {small(same.standardError, 1)} nats per token, {same.model}
              </span>
            </p>
          ) : null}
          <table>
            <caption className="visually-hidden">Tensors at each width</caption>
            <thead>
              <tr>
                {[...widths, ...(allocation.counts.fp16 ? (["fp16"] as const) : [])].map((w) => (
                  <th key={w} className="number">
                    {showWidth(w)}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              <tr>
                {[...widths, ...(allocation.counts.fp16 ? (["fp16"] as const) : [])].map((w) => (
                  <td key={w} className="number">
                    <strong>{allocation.counts[w] ?? 0}</strong>
                  </td>
                ))}
              </tr>
            </tbody>
          </table>
          <p className="soft">
            Tensors at each width. Only measured widths are chosen.
            {allocation.unmeasured.length > 0
              ? ` ${allocation.unmeasured.length} are not measured yet and stay fp16.`
              : ""}{" "}
            {prediction.basis === "calibrated"
              ? `The prediction is corrected by ${prediction.finalists} allocations that were measured as a whole; the interval is a 95 % interval.`
              : "Until two allocations have been measured as a whole, the interval covers sampling error only."}
          </p>
        </>
      ) : (
        <p className="note warning" role="status">
          <strong>{bytes(budget)} is out of reach.</strong> The smallest measured widths take{" "}
          {count(allocation.sizeBytes)} bytes.
        </p>
      )}
      <div role="status">
        {measure.data ? (
          <p>
            <Link href={`/runs/${measure.data.made?.id}`}>The quantized model</Link> and{" "}
            <Link href={`/runs/${measure.data.measured?.id}`}>its measurement</Link> are on their way. The point will
            appear on this curve, and with the other models of its base on <Link href="/tradeoff">Trade-off</Link>.
          </p>
        ) : null}
      </div>
      {measure.error ? <ErrorNote error={measure.error} /> : null}
      <div className="quantize-actions">
        <button type="button" className="primary" disabled={!canMeasure} onClick={start}>
          Measure this allocation <Keys of="quantize.measure" />
        </button>
        <button
          type="button"
          disabled={!recipe}
          onClick={() =>
            void navigator.clipboard.writeText(JSON.stringify(recipe, null, 2)).then(() => {
              setCopied(true);
              setTimeout(() => setCopied(false), 1500);
            })
          }
        >
          {copied ? <Icon name="check" /> : null} {copied ? "Copied" : "Copy recipe"}
        </button>
      </div>
    </aside>
  );
}
