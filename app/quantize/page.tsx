"use client";
import { keepPreviousData, useMutation, useQuery } from "@tanstack/react-query";
import Link from "next/link";
import { Suspense, useEffect, useMemo, useState } from "react";
import type { SweepColumn } from "../../experiments/sensitivity/tensor-sweep.ts";
import { allocateWidths } from "../../lib/compress/allocate/allocation.ts";
import { tensorUnit } from "../../lib/ids.ts";
import type { RunState } from "../../server/db/schema.ts";
import { useTRPC } from "../parts/api.tsx";
import { Picker } from "../parts/controls.tsx";
import { fixed, percent } from "../parts/format.ts";
import { ShareButton, ToolBar, TopBar } from "../parts/shell.tsx";
import { Empty, ErrorNote, Waiting } from "../parts/states.tsx";
import { useAddress } from "../parts/url-state.ts";
import { AllocationChart } from "./allocation-chart.tsx";
import { AllocationPanel } from "./allocation-panel.tsx";
import { Matrix } from "./matrix.tsx";
import { SweepProgress } from "./progress.tsx";
import "./quantize.css";
import {
  groupChoices,
  isStoredAlike,
  type Settings,
  schemeIds,
  schemes,
  settingsOf,
  sweepConfig,
  widthsOf,
} from "./settings.ts";
import { budgetRange, calibration, measuringNow, placeFinalists, type Target, targets } from "./sweep-model.ts";

export default function QuantizePage() {
  return (
    <Suspense>
      <Quantize />
    </Suspense>
  );
}

const limits = [4, 8, 16, 32, 64, 128] as const;
const FIRST_LIMIT = 16;
/** How often a map at work is asked for its news. */
const LIVE_MS = 700;
const isAtWork = (state: RunState): boolean => state === "queued" || state === "running" || state === "stopping";

function Quantize() {
  const trpc = useTRPC();
  const { get, set } = useAddress();
  const models = useQuery(trpc.models.list.queryOptions());
  const texts = useQuery(trpc.texts.list.queryOptions());
  const list = useQuery(
    trpc.runs.list.queryOptions(
      { kinds: ["sensitivity"] },
      {
        placeholderData: keepPreviousData,
        refetchInterval: ({ state }) => (state.data?.some((r) => isAtWork(r.state)) ? LIVE_MS : false),
      },
    ),
  );
  const sweeps = useMemo(
    () =>
      (list.data ?? []).flatMap((run) => {
        const settings = settingsOf(run.config);
        return settings ? [{ run, settings }] : [];
      }),
    [list.data],
  );
  const isKnown = (id: string): boolean => models.data?.some((m) => m.id === id) ?? false;
  const named = sweeps.find((s) => s.run.id === get("run"));
  const model =
    get("model") ??
    named?.settings.model ??
    sweeps.find((s) => isKnown(s.settings.model))?.settings.model ??
    models.data?.at(-1)?.id ??
    null;
  const newest = named ?? sweeps.find((s) => s.settings.model === model);
  const scheme = schemeIds.find((s) => s === get("scheme")) ?? newest?.settings.scheme ?? "palette";
  const groups = groupChoices(scheme);
  const askedGroup = get("group");
  const group =
    groups.find((g) => String(g) === askedGroup) ?? groups.find((g) => g === newest?.settings.group) ?? groups[1] ?? 16;
  const running = texts.data?.filter((t) => t.kind === "text") ?? [];
  const text =
    running.find((t) => t.id === get("text")) ??
    running.find((t) => t.id === newest?.settings.text) ??
    running.find((t) => t.split === "calibrate") ??
    running[0];
  const limit =
    limits.find((n) => String(n) === get("limit")) ??
    (newest && newest.settings.limit > 0 ? newest.settings.limit : FIRST_LIMIT);
  const settings: Settings | null =
    model && text ? { model, scheme, group, text: text.id, separator: text.separator, limit } : null;
  const shown = settings
    ? named && isStoredAlike(named.settings, settings)
      ? named
      : sweeps.find((s) => isStoredAlike(s.settings, settings))
    : undefined;
  const isAsked =
    shown !== undefined &&
    settings !== null &&
    shown.settings.text === settings.text &&
    shown.settings.limit === settings.limit;
  const target: Target = get("of") === "loss" ? "loss" : "kl";

  const start = useMutation({
    ...trpc.runs.submit.mutationOptions(),
    onSuccess: (run) => set({ run: run.id, budget: null }),
  });
  const error = models.error ?? list.error ?? start.error;
  if (models.data && models.data.length === 0)
    return (
      <>
        <TopBar title="Quantize" />
        <div className="region">
          <Empty
            title="There is no model to quantize"
            action={
              <Link className="button" href="/">
                Home
              </Link>
            }
          >
            Import a checkpoint, or let the starter study make one.
          </Empty>
        </div>
      </>
    );
  return (
    <>
      <TopBar
        title="Quantize"
        trail={model ? [{ name: model, href: `/models?model=${encodeURIComponent(model)}` }] : []}
        chips={
          <>
            <Picker
              label="Model"
              options={(models.data ?? []).map((m) => [m.id, m.id] as const)}
              value={model ?? ""}
              onChange={(m) => set({ model: m, run: null, budget: null })}
            />
            {shown ? (
              <Link className="chip" href={`/runs/${shown.run.id}`}>
                sweep {shown.run.id.slice(-4)}
              </Link>
            ) : null}
          </>
        }
      >
        <ShareButton />
      </TopBar>
      <ToolBar provenance={shown ? <SweepProgress run={shown.run} /> : null}>
        <span className="quantize-scheme">
          <Picker
            label="Scheme"
            options={schemeIds.map((s) => [s, schemes[s].name] as const)}
            value={scheme}
            onChange={(s) => set({ scheme: s, group: null, run: null, budget: null })}
          />
        </span>
        <Picker
          label="group"
          options={groups.map((g) => [String(g), g === 0 ? "whole row" : String(g)] as const)}
          value={String(group)}
          onChange={(g) => set({ group: g, run: null, budget: null })}
        />
        <Picker
          label="of"
          options={(Object.keys(targets) as Target[]).map((t) => [t, targets[t]] as const)}
          value={target}
          onChange={(t) => set({ of: t === "kl" ? null : t })}
        />
        {shown && isAtWork(shown.run.state) ? null : (
          <>
            <span className="divider" aria-hidden="true" />
            <Picker
              label="on"
              options={running.map((t) => [t.id, t.id] as const)}
              value={text?.id ?? ""}
              onChange={(t) => set({ text: t })}
            />
            <Picker
              label="sequences"
              options={[...new Set([...limits, limit])]
                .sort((a, b) => a - b)
                .map((n) => [String(n), String(n)] as const)}
              value={String(limit)}
              onChange={(n) => set({ limit: n })}
            />
            <button
              type="button"
              className={shown ? undefined : "primary"}
              disabled={settings === null || start.isPending}
              onClick={() =>
                settings &&
                start.mutate({
                  kind: "sensitivity",
                  name: `what each tensor of ${settings.model} loses`.slice(0, 120),
                  config: sweepConfig(settings),
                })
              }
            >
              {shown ? (isAsked ? "Measure again" : "Measure on this text") : "Measure every tensor"}
            </button>
          </>
        )}
      </ToolBar>
      {error ? <ErrorNote error={error} /> : null}
      {shown && settings ? (
        <Sweep key={shown.run.id} run={shown.run} settings={shown.settings} target={target} />
      ) : settings ? (
        <Unmeasured settings={settings} target={target} />
      ) : (
        <div className="region">
          <Waiting>Looking for models and texts</Waiting>
        </div>
      )}
    </>
  );
}

/** The map before anything is measured: its columns are the model's, its cells wait. */
function Unmeasured({ settings, target }: { settings: Settings; target: Target }) {
  const trpc = useTRPC();
  const anatomy = useQuery(
    trpc.models.anatomy.queryOptions({ id: settings.model }, { staleTime: Number.POSITIVE_INFINITY }),
  );
  const columns = useMemo(
    (): SweepColumn[] =>
      (anatomy.data?.tensors ?? [])
        .filter((t) => t.shape.length > 1)
        .map((t) => ({
          tensor: tensorUnit(t.name),
          layer: t.layer,
          role: t.role as SweepColumn["role"],
          elements: t.elements,
          fp16Bytes: 2 * t.elements,
        })),
    [anatomy.data],
  );
  if (anatomy.error) return <ErrorNote error={anatomy.error} />;
  return (
    <section className="region">
      <Matrix
        columns={columns}
        widths={widthsOf(settings.scheme)}
        cells={[]}
        target={target}
        measuring={null}
        chosen={null}
        bold={new Set()}
      />
      <p className="soft" role="status">
        Nothing is measured yet with these settings. “Measure every tensor” stores one tensor at a time at each width,{" "}
        {columns.length} tensors at {widthsOf(settings.scheme).length} widths on {settings.limit} sequences of{" "}
        {settings.text}; cells fill in as they are done.
      </p>
    </section>
  );
}

type ListedRun = React.ComponentProps<typeof SweepProgress>["run"];

function Sweep({ run, settings, target }: { run: ListedRun; settings: Settings; target: Target }) {
  const trpc = useTRPC();
  const { get, set } = useAddress();
  const sweep = useQuery(
    trpc.runs.tensors.queryOptions(
      { id: run.id },
      { placeholderData: keepPreviousData, refetchInterval: isAtWork(run.state) ? LIVE_MS : false },
    ),
  );
  const anatomy = useQuery(
    trpc.models.anatomy.queryOptions({ id: settings.model }, { staleTime: Number.POSITIVE_INFINITY }),
  );
  const boards = useQuery(trpc.tradeoff.boards.queryOptions());
  const { data } = sweep;
  const placed = useMemo(() => (data ? placeFinalists(data.finalists, data) : []), [data]);
  const finalists = useMemo(() => calibration(placed), [placed]);
  const range = useMemo((): readonly [number, number] => (data ? budgetRange(data) : [0, 1]), [data]);
  const [moved, setMoved] = useState<number | null>(null);
  useEffect(() => {
    if (moved === null) return;
    const timer = setTimeout(() => {
      set({ budget: moved }, { quietly: true });
      setMoved(null);
    }, 200);
    return () => clearTimeout(timer);
  }, [moved, set]);
  const middle = Math.round(range[0] + (range[1] - range[0]) * 0.35);
  const budget = Math.max(range[0], Math.min(range[1], moved ?? (Number(get("budget")) || middle)));
  const solution = useMemo(() => {
    if (!data || data.cells.length === 0) return null;
    const from = performance.now();
    const allocation = allocateWidths(data, budget, finalists);
    return { allocation, milliseconds: performance.now() - from };
  }, [data, budget, finalists]);
  const bold = useMemo(
    () =>
      new Set(
        (anatomy.data?.layers ?? []).flatMap((l, i, all) =>
          l.window === null && all.some((o) => o.window !== null) ? [i] : [],
        ),
      ),
    [anatomy.data],
  );
  if (sweep.error) return <ErrorNote error={sweep.error} />;
  if (!data)
    return (
      <div className="region">
        <Waiting>Reading what is measured</Waiting>
      </div>
    );
  const board = boards.data?.find((b) => b.base === settings.model && b.text !== settings.text && b.split === "select");
  const solved = solution
    ? `re-solved in ${fixed(solution.milliseconds, solution.milliseconds < 10 ? 1 : 0)} ms · ${
        solution.allocation.optimal
          ? "the exact optimum"
          : `gap to the exact optimum at most ${percent(solution.allocation.gap, 2)}`
      }`
    : "";
  return (
    <>
      <section className="region quantize-top">
        <Matrix
          columns={data.columns}
          widths={data.widths}
          cells={data.cells}
          target={target}
          measuring={run.state === "running" ? measuringNow(data.columns, data.widths, data.cells) : null}
          chosen={solution?.allocation.tensors ?? null}
          bold={bold}
        />
      </section>
      {solution ? (
        <div className="quantize-below">
          <section className="region">
            <AllocationChart
              sweep={data}
              finalists={finalists}
              placed={placed}
              budget={budget}
              range={range}
              solved={`${solved}${data.done < data.total ? ` · ${data.done} of ${data.total} cells known` : ""}. Band: 95 %. By KL to the model, measured on ${settings.text}.`}
              onBudget={setMoved}
            />
          </section>
          <AllocationPanel
            allocation={solution.allocation}
            widths={data.widths}
            settings={settings}
            budget={budget}
            placed={placed}
            selectOn={board ? { text: board.text, separator: settings.separator } : null}
          />
        </div>
      ) : (
        <section className="region">
          <h2>Allocation</h2>
          <p className="soft" role="status">
            The allocation appears with the first cells.
          </p>
        </section>
      )}
    </>
  );
}
