"use client";
import { keepPreviousData, useMutation, useQuery } from "@tanstack/react-query";
import { Suspense, useMemo } from "react";
import { useTRPC } from "../parts/api.tsx";
import { BringText } from "../parts/bring-text.tsx";
import { Picker } from "../parts/controls.tsx";
import { Link } from "../parts/link.tsx";
import { ShareButton, ToolBar, TopBar } from "../parts/shell.tsx";
import { Empty, ErrorNote, Waiting } from "../parts/states.tsx";
import { useAddress } from "../parts/url-state.ts";
import { WidthMapProgress } from "./progress.tsx";
import "./quantize.css";
import {
  groupChoices,
  isStoredAlike,
  type Settings,
  schemeIds,
  schemes,
  settingsOf,
  widthMapConfig,
} from "./settings.ts";
import { isAtWork, LIVE_MS, Unmeasured, WidthMapView } from "./width-map.tsx";
import { type Target, targets } from "./width-map-model.ts";

export default function QuantizePage() {
  return (
    <Suspense>
      <Quantize />
    </Suspense>
  );
}

const limits = [4, 8, 16, 32, 64, 128] as const;
const FIRST_LIMIT = 16;

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
  const maps = useMemo(() => {
    // A study names a model by the run that makes it.
    const idOf = (reference: string): string =>
      models.data?.find((m) => m.runId !== null && reference === `run:${m.runId}`)?.id ?? reference;
    return (list.data ?? []).flatMap((run) => {
      const settings = settingsOf(run.config);
      return settings ? [{ run, settings: { ...settings, model: idOf(settings.model) } }] : [];
    });
  }, [list.data, models.data]);
  const isKnown = (id: string): boolean => models.data?.some((m) => m.id === id) ?? false;
  const named = maps.find((s) => s.run.id === get("run"));
  const model =
    get("model") ??
    named?.settings.model ??
    maps.find((s) => isKnown(s.settings.model))?.settings.model ??
    models.data?.at(-1)?.id ??
    null;
  const newest = named ?? maps.find((s) => s.settings.model === model);
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
      : maps.find((s) => isStoredAlike(s.settings, settings))
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
                map {shown.run.id.slice(-4)}
              </Link>
            ) : null}
          </>
        }
      >
        <ShareButton />
      </TopBar>
      <ToolBar provenance={shown ? <WidthMapProgress run={shown.run} /> : null}>
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
            <BringText
              ofPage
              model={model ?? undefined}
              onBrought={(brought) =>
                set({ text: (brought.find((t) => t.split === "calibrate") ?? brought[0])?.id ?? null })
              }
            >
              Bring
            </BringText>
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
                  config: widthMapConfig(settings),
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
        <WidthMapView key={shown.run.id} run={shown.run} settings={shown.settings} target={target} />
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
