"use client";
/** @file Small parts: keys, tags of a number, segments, pickers, switches, menus. */
import { type ReactNode, useEffect, useId, useRef, useState } from "react";
import { type HotkeyId, hotkeys, keyLabels } from "./hotkeys.ts";
import { Icon, type IconName } from "./icons.tsx";

function useIsMac(): boolean {
  const [isMac, setMac] = useState(false);
  useEffect(() => setMac(/Mac|iPhone|iPad/.test(navigator.platform)), []);
  return isMac;
}

/** The keys of an action, as buttons show them. */
export function Keys({ of }: { of: HotkeyId }) {
  return <KeyLabels keys={hotkeys[of].keys} />;
}

export function KeyLabels({ keys }: { keys: string }) {
  const isMac = useIsMac();
  if (keys === "") return null;
  return (
    <span className="row" style={{ gap: 3, flexWrap: "nowrap" }} aria-hidden="true">
      {keyLabels(keys, isMac).map((k, i) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: a key is its place in the chord
        <kbd key={i}>{k}</kbd>
      ))}
    </span>
  );
}

/** Where a number comes from, when it is neither exact nor measured here. */
export function Tag({ kind }: { kind: "modelled" | "reported" | "frozen" | "stale" }) {
  return (
    <span className={`tag ${kind}`}>
      {kind === "frozen" ? <Icon name="snowflake" size={11} /> : null} {kind}
    </span>
  );
}

/** One of a few, all visible. */
export function Segments<T extends string>(props: {
  readonly label: string;
  readonly options: readonly (readonly [value: T, name: string])[];
  readonly value: T;
  readonly onChange: (value: T) => void;
}) {
  return (
    <div className="segments" role="group" aria-label={props.label}>
      {props.options.map(([value, name]) => (
        <button key={value} type="button" aria-pressed={value === props.value} onClick={() => props.onChange(value)}>
          {name}
        </button>
      ))}
    </div>
  );
}

/** One of many, with a word before it. */
export function Picker<T extends string>(props: {
  readonly label: string;
  readonly options: readonly (readonly [value: T, name: string])[];
  readonly value: T;
  readonly onChange: (value: T) => void;
}) {
  const id = useId();
  return (
    <span className="picker">
      <label htmlFor={id} style={{ display: "contents" }}>
        <span>{props.label}</span>
      </label>
      <select
        id={id}
        value={props.value}
        onChange={(e) => {
          const chosen = props.options.find(([v]) => v === e.target.value);
          if (chosen) props.onChange(chosen[0]);
        }}
      >
        {props.options.map(([value, name]) => (
          <option key={value} value={value}>
            {name}
          </option>
        ))}
      </select>
    </span>
  );
}

export function Check(props: { label: ReactNode; checked: boolean; onChange: (on: boolean) => void }) {
  return (
    <label className="check">
      <input type="checkbox" checked={props.checked} onChange={(e) => props.onChange(e.target.checked)} />
      {props.label}
    </label>
  );
}

/** A button with only an icon; its name is its tooltip. */
export function IconButton(props: {
  readonly icon: IconName;
  readonly label: string;
  readonly onClick: () => void;
  readonly pressed?: boolean;
  readonly disabled?: boolean;
}) {
  return (
    <button
      type="button"
      className="icon quiet"
      aria-label={props.label}
      title={props.label}
      aria-pressed={props.pressed}
      disabled={props.disabled}
      onClick={props.onClick}
    >
      <Icon name={props.icon} />
    </button>
  );
}

export interface MenuItem {
  readonly name: string;
  readonly onClick: () => void;
}

/** A button that opens a list of actions; arrows move, Escape closes. */
export function Menu(props: { readonly icon: IconName; readonly label: string; readonly items: readonly MenuItem[] }) {
  const [isOpen, setOpen] = useState(false);
  const box = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (!isOpen) return;
    box.current?.querySelector<HTMLElement>('[role="menuitem"]')?.focus();
    const outside = (e: PointerEvent): void => {
      if (e.target instanceof Node && !box.current?.contains(e.target)) setOpen(false);
    };
    window.addEventListener("pointerdown", outside);
    return () => window.removeEventListener("pointerdown", outside);
  }, [isOpen]);
  const onKey = (event: React.KeyboardEvent): void => {
    const items = [...(box.current?.querySelectorAll<HTMLElement>('[role="menuitem"]') ?? [])];
    const focused = document.activeElement;
    const at = focused instanceof HTMLElement ? items.indexOf(focused) : -1;
    if (event.key === "Escape") {
      setOpen(false);
      button.current?.focus();
    } else if (event.key === "ArrowDown") items[(at + 1) % items.length]?.focus();
    else if (event.key === "ArrowUp") items[(at - 1 + items.length) % items.length]?.focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: the keys are those of the menu inside
    <div className="has-menu" ref={box} onKeyDown={isOpen ? onKey : undefined}>
      <button
        ref={button}
        type="button"
        className="icon quiet"
        aria-label={props.label}
        title={props.label}
        aria-haspopup="menu"
        aria-expanded={isOpen}
        onClick={() => setOpen(!isOpen)}
      >
        <Icon name={props.icon} />
      </button>
      {isOpen ? (
        <div className="menu" role="menu" aria-label={props.label} style={{ right: 0, top: 32 }}>
          {props.items.map((item) => (
            <button
              key={item.name}
              type="button"
              role="menuitem"
              tabIndex={-1}
              onClick={() => {
                setOpen(false);
                button.current?.focus();
                item.onClick();
              }}
            >
              {item.name}
            </button>
          ))}
        </div>
      ) : null}
    </div>
  );
}
