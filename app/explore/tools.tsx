"use client";
/** @file The bar over the grid: what is shown at the left, what it was measured on at the right. */
import { metricIds, type SensitivityMetric } from "../../experiments/kinds/sensitivity/metrics.ts";
import type { Importance } from "../../server/what-if/measured-importance.ts";
import { BringText } from "../parts/bring-text.tsx";
import { Picker, Segments } from "../parts/controls.tsx";
import { count, fixed } from "../parts/format.ts";
import { Icon } from "../parts/icons.tsx";
import { ToolBar } from "../parts/shell.tsx";
import { type GridKind, gridKinds, kindNames, type UnitGridModel } from "./grid-units.ts";
import { metricName, type Target, targetsOf } from "./unit-worth.ts";
import type { ExploreState } from "./use-explore.ts";

export interface ToolsProps {
  readonly state: ExploreState;
  readonly models: readonly string[];
  readonly texts: readonly string[];
  /** What is measured on. */
  readonly text: string | null;
  readonly available: readonly SensitivityMetric[];
  readonly grid: UnitGridModel | null;
  readonly source: Importance | null;
  readonly split: string | null;
  readonly measuredUnits: number;
  readonly agreement: { readonly rho: number; readonly with: string } | null;
}

const targetNames: Record<Target, string> = { loss: "Δloss", size: "size" };

/** The metrics to choose from: those that are measured, and the one in the address. */
export const choosable = (available: readonly SensitivityMetric[], current: SensitivityMetric): SensitivityMetric[] =>
  metricIds.filter((m) => available.includes(m) || m === current);

export function Tools(props: ToolsProps) {
  const { state, available, grid } = props;
  const metrics = choosable(available, state.metric);
  const others = available.filter((m) => m !== state.metric);
  const targets = targetsOf(state.metric);
  return (
    <ToolBar provenance={<Provenance {...props} />}>
      <Picker
        label="Model"
        value={state.model}
        options={(props.models.includes(state.model) ? props.models : [state.model, ...props.models]).map((m) => [
          m,
          m,
        ])}
        onChange={(model) => state.set({ model, drop: null, at: null })}
      />
      <Picker
        label="Metric"
        value={state.metric}
        options={metrics.map((m) => [m, metricName(m)])}
        onChange={(metric) => state.set({ metric, target: null })}
      />
      <Picker
        label="of"
        value={state.target}
        options={targets.map((t) => [t, targetNames[t]])}
        onChange={(target) => state.set({ target: target === targets[0] ? null : target })}
      />
      <Picker
        label="on"
        value={props.text ?? ""}
        options={props.texts.map((t) => [t, t])}
        onChange={(text) => state.set({ text })}
      />
      <BringText
        ofPage
        model={state.model}
        onBrought={(texts) => state.set({ text: (texts.find((t) => t.split === "calibrate") ?? texts[0])?.id ?? null })}
      >
        Bring
      </BringText>
      {state.overlay === null ? (
        <button
          type="button"
          className="quiet"
          disabled={others.length === 0}
          title={others.length === 0 ? "A second metric has to be measured first" : undefined}
          onClick={() => state.set({ overlay: others[0] ?? null })}
        >
          <Icon name="plus" /> Overlay
        </button>
      ) : (
        <Picker
          label="against"
          value={state.overlay as string}
          options={[
            ...choosable(available, state.overlay)
              .filter((m) => m !== state.metric)
              .map((m) => [m, metricName(m)] as const),
            ["", "nothing"],
          ]}
          onChange={(overlay) => state.set({ overlay: overlay === "" ? null : overlay })}
        />
      )}
      <span className="divider" aria-hidden="true" />
      <Segments<GridKind>
        label="Kind of unit"
        value={state.kind}
        options={gridKinds.map((k) => [k, kindNames[k].title])}
        onChange={(kind) => state.set({ kind: kind === "heads" ? null : kind, at: null })}
      />
      {grid === null ? <span className="soft small">opening the model</span> : null}
    </ToolBar>
  );
}

function Provenance({ source, split, measuredUnits, grid, agreement, state }: ToolsProps) {
  if (!source || !grid) return null;
  const all = grid.find.size;
  const parts = [
    split ? `${split} split` : source.text,
    `${source.sequences}${source.context !== null ? ` × ${count(source.context)}` : ""} ${source.context !== null ? "tokens" : "sequences"}`,
    `${count(measuredUnits)} of ${count(all)} ${kindNames[state.kind].many}`,
    agreement && state.overlay === null ? `ρ ${fixed(agreement.rho, 2)} with ${agreement.with}` : "",
  ].filter((p) => p !== "");
  return (
    <a className="plain explore-provenance" href={`/runs/${source.runId}`} title={`${source.name}. ${source.protocol}`}>
      {parts.join(" · ")}
    </a>
  );
}
