"use client";
/** @file The selected point: how small, how good, beside what, and which runs made it. */
import { useMutation, useQuery } from "@tanstack/react-query";
import { useRouter } from "next/navigation";
import { useState } from "react";
import { withoutFlags } from "../../experiments/flags.ts";
import type { MadeOf } from "../../experiments/kinds/tradeoff/made-of.ts";
import type { EvaluatedBoard } from "../../server/tradeoff/evaluated.ts";
import { kvCacheBytes } from "../models/kv-cache.ts";
import { useTRPC } from "../parts/api.tsx";
import { IconButton, Keys, Tag } from "../parts/controls.tsx";
import { ExportSheet } from "../parts/export-sheet.tsx";
import { bytes, count, duration, fixed, percent } from "../parts/format.ts";
import { useHotkeys } from "../parts/hotkeys.ts";
import { Link } from "../parts/link.tsx";
import { SizeRows, smallerThan, timesSmaller } from "../parts/shipped-size.tsx";
import { ErrorNote } from "../parts/states.tsx";
import { type Measure, measures, type Point, type Size } from "./measures.ts";
import { Neighbours } from "./neighbours.tsx";
import { layersOf } from "./point-recipe.ts";

const CACHE_CONTEXT = 512;

export interface PointPanelProps {
  readonly point: Point;
  readonly board: EvaluatedBoard;
  readonly others: readonly Point[];
  readonly pinned: Point | null;
  readonly isOffered: boolean;
  readonly size: Size;
  readonly measure: Measure;
  readonly base: MadeOf | null;
  readonly nameOf: (p: Point) => string;
  readonly onPick: (p: Point) => void;
  readonly onPin: () => void;
}

export function PointPanel(props: PointPanelProps) {
  const { point, board, pinned, nameOf, base } = props;
  const trpc = useTRPC();
  const router = useRouter();
  const [isExporting, setExporting] = useState(false);
  const again = useMutation(trpc.runs.clone.mutationOptions());
  const anatomy = useQuery(
    trpc.models.anatomy.queryOptions({ id: point.model }, { staleTime: Number.POSITIVE_INFINITY }),
  );
  const name = nameOf(point);
  const exportPoint = (): void => setExporting(true);
  const opens = point.measuredBy.runId;
  useHotkeys({
    "tradeoff.export": exportPoint,
    "tradeoff.pin": props.onPin,
    "tradeoff.open": () => router.push(`/runs/${opens}`),
  });
  const dropped = (layersOf(point.made, base) ?? []).flatMap((l) =>
    l.heads.flatMap((kept, h) => (kept ? [] : [`L${l.layer}.H${h}`])),
  );
  const canPair = point.paired !== null;
  return (
    <aside className="tradeoff-panel" aria-label="The selected point">
      <div className="row">
        <span className="chip selected">{props.isOffered ? "selected, best in the budget" : "selected"}</span>
        <span className="end row">
          <IconButton
            icon="pin"
            label={point === pinned ? "Unpin" : "Pin for comparison"}
            pressed={point === pinned}
            onClick={props.onPin}
          />
        </span>
      </div>
      <h2>{name}</h2>
      <p className="soft mono">model {point.model}</p>
      {board.winner?.model === point.model ? (
        <p>
          <strong>The winner:</strong> {withoutFlags(board.winner.reason)}.
        </p>
      ) : null}
      <div className="tradeoff-numbers">
        <p>
          <span className="figure-number" data-figure="smaller">
            {timesSmaller(board, point.sizeBytes)}
          </span>
          <span className="soft" title={smallerThan(board)}>
            weights, smaller than fp16
          </span>
        </p>
        <p>
          <span className="figure-number">{percent(point.agreement.mean)}</span>
          <span className="soft">same top token</span>
        </p>
      </div>
      <table className="tradeoff-table">
        <tbody>
          <SizeRows
            of={{
              weightBytes: point.sizeBytes,
              packageBytes: point.package?.packageBytes ?? null,
              packageIs: point.package?.packageIs ?? "predicted",
              original: board.original,
            }}
          />
          <Fact name="Bits per weight" value={fixed(point.bitsPerWeight, 2)} error="exact" />
          <Fact name="Parameters" value={count(point.parameters)} error="exact" />
          {(["kl", "perplexity", "accuracy"] as const).map((m) => (
            <Fact key={m} name={measures[m].name} value={measures[m].text(point)} error={measures[m].error(point)} />
          ))}
          {anatomy.data ? (
            <Fact
              name={`KV cache at ${CACHE_CONTEXT}`}
              value={bytes(kvCacheBytes(anatomy.data.layers, Math.min(CACHE_CONTEXT, anatomy.data.maxPositions)))}
              error={
                anatomy.data.maxPositions < CACHE_CONTEXT ? `at ${anatomy.data.maxPositions}, its maximum` : "exact"
              }
            />
          ) : null}
          {point.reported.flatMap((r) =>
            r.decode.map((d) => (
              <tr key={`${r.reportId} ${r.computeUnits} ${d.context}`}>
                <th scope="row">
                  {r.device} at {d.context}
                </th>
                <td className="number">
                  <strong>{count(1000 / d.perToken.median)} tok/s</strong>
                </td>
                <td className="number">
                  <Tag kind="reported" />
                </td>
              </tr>
            )),
          )}
          {point.speed?.kind === "modelled" ? (
            <tr>
              <th scope="row">
                {point.speed.device} at {point.speed.context}
              </th>
              <td className="number">
                <strong data-figure="speed">{count(point.speed.tokensPerSecond)} tok/s</strong>
              </td>
              <td className="number">
                <Tag kind="modelled" />
              </td>
            </tr>
          ) : null}
        </tbody>
      </table>
      <Neighbours
        point={point}
        others={props.others}
        size={props.size}
        measure={props.measure}
        base={base}
        pinned={pinned}
        nameOf={nameOf}
        onPick={props.onPick}
      />
      {!canPair && board.tradeoffRun ? (
        <p className="note warning">
          This was measured before Espalier stored losses per sequence, so differences cannot be tested.{" "}
          <button
            type="button"
            disabled={again.isPending || again.isSuccess}
            onClick={() => again.mutate({ id: board.tradeoffRun ?? "" })}
          >
            Measure again
          </button>
          {again.data ? <Link href={`/runs/${again.data.id}`}> on its way</Link> : null}
        </p>
      ) : null}
      {again.error ? <ErrorNote error={again.error} /> : null}
      <section>
        <h3>Made by</h3>
        <table className="tradeoff-table">
          <tbody>
            {point.madeBy.map((s) => (
              <RunRow
                key={s.runId}
                name={s.kind.charAt(0).toUpperCase() + s.kind.slice(1)}
                runId={s.runId}
                seconds={s.seconds}
              />
            ))}
            <RunRow
              name={point.measuredBy.kind === "tradeoff" ? "Evaluate, with others" : "Evaluate"}
              runId={opens}
              seconds={point.measuredBy.seconds}
            />
          </tbody>
        </table>
      </section>
      <div className="tradeoff-actions">
        <button type="button" className="primary" onClick={exportPoint}>
          Export {point.isBase ? "the base" : "this point"}… <Keys of="tradeoff.export" />
        </button>
        <Link
          className="button"
          href={`/explore?model=${encodeURIComponent(board.base)}${dropped.length > 0 ? `&drop=${dropped.join(",")}` : ""}`}
        >
          Open in Explore
        </Link>
      </div>
      <ExportSheet model={point.model} title={name} isOpen={isExporting} onClose={() => setExporting(false)} />
    </aside>
  );
}

function Fact({ name, value, error }: { name: string; value: string; error: string }) {
  return (
    <tr>
      <th scope="row">{name}</th>
      <td className="number">
        <strong>{value}</strong>
      </td>
      <td className="number soft">{error}</td>
    </tr>
  );
}

function RunRow({ name, runId, seconds }: { name: string; runId: string; seconds: number }) {
  return (
    <tr>
      <th scope="row">{name}</th>
      <td className="number">
        <Link className="mono" href={`/runs/${runId}`}>
          {runId.replace(/^run_/, "")}
        </Link>
      </td>
      <td className="number soft">{duration(seconds)}</td>
    </tr>
  );
}
