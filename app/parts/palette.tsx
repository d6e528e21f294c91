"use client";
/** @file The command palette: actions that are possible now, then objects, then places. It runs what the buttons run. */
import { useQuery } from "@tanstack/react-query";
import { useRouter } from "next/navigation";
import { useEffect, useMemo, useRef, useState } from "react";
import { useTRPC } from "./api.tsx";
import { KeyLabels } from "./controls.tsx";
import { fuzzyScore } from "./fuzzy.ts";
import { answer, type Hotkey, type HotkeyId, hotkeys, useAnswered } from "./hotkeys.ts";
import { Icon, type IconName } from "./icons.tsx";

interface Choice {
  readonly id: string;
  readonly group: string;
  readonly icon: IconName;
  readonly name: string;
  readonly more: string;
  readonly keys: string;
  readonly isAction: boolean;
  run(): void;
}

/** Objects of one kind that are shown. */
const SHOWN = 6;

export function Palette({ isOpen, close }: { isOpen: boolean; close: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const element = dialog.current;
    if (!element) return;
    if (isOpen && !element.open) element.showModal();
    if (!isOpen && element.open) element.close();
  }, [isOpen]);
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: Escape closes a dialog by itself
    <dialog
      ref={dialog}
      className="layer palette"
      aria-label="Search, and run anything"
      onClose={close}
      onClick={(e) => e.target === dialog.current && close()}
    >
      {isOpen ? <Choices close={close} /> : null}
    </dialog>
  );
}

function Choices({ close }: { close: () => void }) {
  const trpc = useTRPC();
  const router = useRouter();
  const answered = useAnswered();
  const [words, setWords] = useState("");
  const [onlyActions, setOnlyActions] = useState(false);
  const [at, setAt] = useState(0);
  const runs = useQuery(trpc.runs.list.queryOptions({ limit: 500 }));
  const models = useQuery(trpc.models.list.queryOptions());
  const packages = useQuery(trpc.packages.list.queryOptions());
  const notebooks = useQuery(trpc.notebooks.list.queryOptions());

  const choices = useMemo(() => {
    const key = (id: HotkeyId, isPlace: boolean): Choice => {
      const h: Hotkey = hotkeys[id];
      return {
        id,
        group: isPlace ? "Go to" : "Actions",
        icon: isPlace ? "chevron" : "play",
        name: h.does,
        more: isPlace || h.where === "Everywhere" ? "" : h.where,
        keys: h.keys,
        isAction: !isPlace,
        run: () => answer(id),
      };
    };
    const go = (group: string, icon: IconName, id: string, name: string, more: string, href: string): Choice => ({
      id: `${group} ${id}`,
      group,
      icon,
      name,
      more,
      keys: "",
      isAction: false,
      run: () => router.push(href),
    });
    const usable = answered.filter((id) => id !== "palette" && id !== "search");
    const isPlace = (id: HotkeyId): boolean => id.startsWith("go.");
    return [
      ...usable.filter((id) => !isPlace(id)).map((id) => key(id, false)),
      ...(runs.data ?? []).map((r) =>
        go(
          "Runs",
          "list",
          r.id,
          r.name,
          `${r.kind} · ${r.state} ${r.tags.map((t) => `#${t}`).join(" ")}`,
          `/runs/${r.id}`,
        ),
      ),
      ...(models.data ?? []).map((m) => go("Models", "layers", m.id, m.id, m.facts.family, `/models?model=${m.id}`)),
      ...(notebooks.data ?? []).map((n) => go("Notebooks", "notebook", n.id, n.title, "", `/notebooks/${n.id}`)),
      ...(packages.data ?? []).map((p) => go("Packages", "box", p.id, p.name, p.modelId, `/packages/${p.id}`)),
      ...usable.filter(isPlace).map((id) => key(id, true)),
    ];
  }, [answered, runs.data, models.data, packages.data, notebooks.data, router]);

  const shown = useMemo(() => {
    const scored = choices
      .filter((c) => !onlyActions || c.isAction)
      .map((c) => ({ c, score: fuzzyScore(words, `${c.name} ${c.more} ${c.id}`) }))
      .filter((s) => s.score !== null);
    const order = ["Actions", "Runs", "Models", "Notebooks", "Packages", "Go to"];
    return order.flatMap((group) => {
      const all = scored.filter((s) => s.c.group === group);
      if (words !== "") all.sort((a, b) => (b.score ?? 0) - (a.score ?? 0));
      const limit = group === "Actions" || group === "Go to" ? 30 : words === "" ? 3 : SHOWN;
      return all.slice(0, limit).map((s) => s.c);
    });
  }, [choices, words, onlyActions]);

  const current = Math.min(at, shown.length - 1);
  const list = useRef<HTMLUListElement>(null);
  useEffect(() => {
    list.current?.querySelector(`[data-at="${current}"]`)?.scrollIntoView({ block: "nearest" });
  }, [current]);
  const choose = (c: Choice | undefined): void => {
    if (!c) return;
    close();
    // After the dialog has given focus back.
    setTimeout(() => c.run(), 0);
  };
  const onKey = (event: React.KeyboardEvent): void => {
    if (event.key === "ArrowDown") setAt((current + 1) % Math.max(1, shown.length));
    else if (event.key === "ArrowUp") setAt((current - 1 + shown.length) % Math.max(1, shown.length));
    else if (event.key === "Home") setAt(0);
    else if (event.key === "End") setAt(shown.length - 1);
    else if (event.key === "Enter") choose(shown[current]);
    else if (event.key === "Tab") setOnlyActions(!onlyActions);
    else return;
    event.preventDefault();
  };
  return (
    <>
      <div className="field">
        <Icon name="search" />
        <input
          // biome-ignore lint/a11y/noAutofocus: the palette is opened to type into it
          autoFocus
          role="combobox"
          aria-label="What to find or run"
          aria-expanded="true"
          aria-controls="palette-list"
          aria-activedescendant={shown[current] ? `palette-${current}` : undefined}
          placeholder={onlyActions ? "Run an action" : "Find a run, a model, a page, or run an action"}
          value={words}
          onChange={(e) => {
            setWords(e.target.value);
            setAt(0);
          }}
          onKeyDown={onKey}
        />
      </div>
      {/* biome-ignore lint/a11y/noNoninteractiveElementToInteractiveRole: a list of options */}
      <ul id="palette-list" role="listbox" aria-label="Found" ref={list}>
        {shown.map((c, i) => (
          <li key={c.id} role="presentation">
            {c.group !== shown[i - 1]?.group ? (
              <div className="group" aria-hidden="true">
                {c.group}
              </div>
            ) : null}
            {/* biome-ignore lint/a11y/useKeyWithClickEvents: keys are those of the field above */}
            <div
              id={`palette-${i}`}
              role="option"
              aria-selected={i === current}
              data-at={i}
              onPointerMove={() => setAt(i)}
              onClick={() => choose(c)}
            >
              <Icon name={c.icon} />
              <span>{c.name}</span>
              <span className="soft small">{c.more}</span>
              <span className="keys">
                <KeyLabels keys={c.keys} />
              </span>
            </div>
          </li>
        ))}
        {shown.length === 0 ? <li className="group">Nothing here is called “{words}”.</li> : null}
      </ul>
      <div className="foot">
        <span className="row">
          <kbd>↑</kbd>
          <kbd>↓</kbd> choose
        </span>
        <span className="row">
          <kbd>↵</kbd> run
        </span>
        <span className="row">
          <kbd>⇥</kbd> {onlyActions ? "everything" : "only actions"}
        </span>
      </div>
    </>
  );
}
