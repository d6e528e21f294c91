"use client";
/**
 * @file From a selection to runs: prune it and distill the pruned model, or save the selection under a name. Small sheets over
 * their buttons, no dialog.
 */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type ReactNode, useEffect, useRef, useState } from "react";
import { useTRPC } from "../parts/api.tsx";
import { Check, Keys } from "../parts/controls.tsx";
import { useHotkeys } from "../parts/hotkeys.ts";
import { ErrorNote } from "../parts/states.tsx";
import { useToast } from "../parts/toast.tsx";
import { formatSelection, type Selection, unitNames, whyNotCut } from "./dropped-units.ts";
import type { Anatomy } from "./grid-units.ts";

export interface ActionsProps {
  readonly model: string;
  readonly anatomy: Anatomy;
  readonly selection: Selection;
  readonly saved: readonly SavedSelection[];
  readonly onOpen: (saved: SavedSelection) => void;
}

export interface SavedSelection {
  readonly id: string;
  readonly title: string;
  readonly model: string;
  readonly drop: string;
}

const PAGE = "/explore";

/** Selections kept under a name, of all models. */
export function useSavedSelections(): SavedSelection[] {
  const trpc = useTRPC();
  const views = useQuery(trpc.views.list.queryOptions());
  return (views.data ?? []).flatMap((v) => {
    const { model, drop } = v.state;
    return v.page === PAGE && typeof model === "string" && typeof drop === "string"
      ? [{ id: v.id, title: v.title, model, drop }]
      : [];
  });
}

export function Actions(props: ActionsProps) {
  const { selection, anatomy } = props;
  const [sheet, setSheet] = useState<"prune" | "save" | null>(null);
  const [made, setMade] = useState<{ id: string; name: string }[]>([]);
  const why = selection.size === 0 ? "drop something first" : whyNotCut(selection, anatomy);
  const pruneButton = useRef<HTMLButtonElement>(null);
  const saveButton = useRef<HTMLButtonElement>(null);
  const close = (): void => {
    (sheet === "save" ? saveButton : pruneButton).current?.focus();
    setSheet(null);
  };
  useHotkeys({
    "explore.prune": why === null ? () => setSheet("prune") : undefined,
    "explore.save": selection.size > 0 ? () => setSheet("save") : undefined,
  });
  return (
    <>
      {made.length > 0 ? (
        <p className="soft" style={{ margin: "10px 0 0" }} role="status">
          {made.map((r, i) => (
            <span key={r.id}>
              {i > 0 ? ", then " : ""}
              <a href={`/runs/${r.id}`}>{r.name}</a>
            </span>
          ))}{" "}
          {made.length > 1 ? "are" : "is"} on the way.
        </p>
      ) : null}
      <div className="explore-actions">
        {sheet === "prune" ? <PruneSheet {...props} close={close} onMade={setMade} /> : null}
        {sheet === "save" ? <SaveSheet {...props} close={close} /> : null}
        <button
          ref={pruneButton}
          type="button"
          className="primary"
          disabled={why !== null}
          title={why ?? undefined}
          aria-expanded={sheet === "prune"}
          onClick={() => setSheet(sheet === "prune" ? null : "prune")}
        >
          Prune &amp; distill… <Keys of="explore.prune" />
        </button>
        <button
          ref={saveButton}
          type="button"
          disabled={selection.size === 0 && props.saved.length === 0}
          aria-expanded={sheet === "save"}
          onClick={() => setSheet(sheet === "save" ? null : "save")}
        >
          Save
        </button>
      </div>
      {why !== null && selection.size > 0 ? (
        <p className="soft small" style={{ margin: "6px 0 0" }}>
          Cannot be cut: {why}.
        </p>
      ) : null}
    </>
  );
}

function Sheet(props: { label: string; close: () => void; onSubmit: () => void; children: ReactNode }) {
  const box = useRef<HTMLFormElement>(null);
  useEffect(() => box.current?.querySelector<HTMLInputElement>("input")?.focus(), []);
  return (
    <form
      ref={box}
      className="explore-sheet"
      aria-label={props.label}
      onKeyDown={(e) => {
        if (e.key !== "Escape") return;
        e.stopPropagation();
        props.close();
      }}
      onSubmit={(e) => {
        e.preventDefault();
        props.onSubmit();
      }}
    >
      {props.children}
    </form>
  );
}

function PruneSheet(
  props: ActionsProps & { close: () => void; onMade: (runs: { id: string; name: string }[]) => void },
) {
  const { model, selection } = props;
  const trpc = useTRPC();
  const toast = useToast();
  const texts = useQuery(trpc.texts.list.queryOptions());
  const usable = (texts.data ?? []).filter((t) => t.kind === "text");
  const ofSplit = (split: string): string => usable.find((t) => t.split === split)?.id ?? usable[0]?.id ?? "";
  const [name, setName] = useState(`${model}-minus-${selection.size}`);
  const [isTaught, setTaught] = useState(true);
  const [steps, setSteps] = useState(300);
  const [trainText, setTrain] = useState<string | null>(null);
  const [heldOutText, setHeldOut] = useState<string | null>(null);
  const train = trainText ?? ofSplit("train");
  const heldOut = heldOutText ?? ofSplit("select");
  const submit = useMutation(trpc.studies.submit.mutationOptions());
  const cancel = useMutation(trpc.runs.cancel.mutationOptions());
  const start = async (): Promise<void> => {
    const teach = {
      key: "distill",
      kind: "distill" as const,
      name: `${name}, distilled`.slice(0, 120),
      config: { model, student: "step:prune", text: train, heldOut, steps },
    };
    const { runs } = await submit.mutateAsync({
      title: name,
      tags: ["explore"],
      steps: [
        { key: "prune", kind: "prune", name, config: { model, drop: unitNames(selection) } },
        ...(isTaught ? [teach] : []),
      ],
    });
    const makers = runs.filter((r) => r.kind !== "evaluate");
    props.onMade(makers);
    props.close();
    toast({
      text: `${makers.map((r) => r.name).join(" and ")} queued, ${makers.length > 1 ? "each with its evaluation" : "with its evaluation"}.`,
      undo: () => {
        for (const r of [...makers].reverse()) cancel.mutate({ id: r.id });
        props.onMade([]);
      },
    });
  };
  // The error is shown below.
  const go = (): void => void start().catch(() => undefined);
  const picker = (label: string, value: string, onChange: (id: string) => void) => (
    <label>
      {label}
      <select value={value} onChange={(e) => onChange(e.target.value)}>
        {usable.map((t) => (
          <option key={t.id}>{t.id}</option>
        ))}
      </select>
    </label>
  );
  return (
    <Sheet label="Prune and distill" close={props.close} onSubmit={go}>
      <label>
        Name
        <input value={name} required maxLength={100} onChange={(e) => setName(e.target.value)} />
      </label>
      <Check label="Then distill the pruned model from the original" checked={isTaught} onChange={setTaught} />
      {isTaught ? (
        <>
          <label>
            Steps
            <input
              type="number"
              min={1}
              max={1_000_000}
              value={steps}
              onChange={(e) => setSteps(Math.max(1, Math.round(Number(e.target.value))))}
            />
          </label>
          {picker("Train on", train, setTrain)}
          {picker("Held out", heldOut, setHeldOut)}
          {train === heldOut ? (
            <span className="warn small">Held-out text must not be part of the training text.</span>
          ) : null}
        </>
      ) : null}
      {submit.error ? <ErrorNote error={submit.error} /> : null}
      <div className="row">
        <button type="submit" disabled={submit.isPending || (isTaught && train === heldOut)}>
          {isTaught ? "Start both" : "Start pruning"}
        </button>
        <button type="button" className="quiet" onClick={props.close}>
          Close
        </button>
      </div>
    </Sheet>
  );
}

function SaveSheet(props: ActionsProps & { close: () => void }) {
  const { model, selection, saved } = props;
  const trpc = useTRPC();
  const queries = useQueryClient();
  const [title, setTitle] = useState(`minus ${selection.size}`);
  const save = useMutation(
    trpc.views.save.mutationOptions({
      onSuccess: () => {
        void queries.invalidateQueries({ queryKey: trpc.views.list.queryKey() });
        props.close();
      },
    }),
  );
  const own = saved.filter((s) => s.model === model).slice(0, 8);
  return (
    <Sheet
      label="Save the selection"
      close={props.close}
      onSubmit={() => save.mutate({ page: PAGE, title, state: { model, drop: formatSelection(selection) } })}
    >
      <label>
        Name
        <input value={title} required maxLength={100} onChange={(e) => setTitle(e.target.value)} />
      </label>
      {save.error ? <ErrorNote error={save.error} /> : null}
      <div className="row">
        <button type="submit" disabled={selection.size === 0 || save.isPending}>
          Save the selection
        </button>
        <button type="button" className="quiet" onClick={props.close}>
          Close
        </button>
      </div>
      {own.length > 0 ? (
        <div>
          <h3>Saved earlier</h3>
          {own.map((s) => (
            <button
              key={s.id}
              type="button"
              className="quiet"
              onClick={() => {
                props.onOpen(s);
                props.close();
              }}
            >
              {s.title}
            </button>
          ))}
        </div>
      ) : null}
    </Sheet>
  );
}
