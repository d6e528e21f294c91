"use client";
/** @file All keys, from the table they are defined in. */
import { useEffect, useRef, useState } from "react";
import { Check, IconButton, KeyLabels } from "./controls.tsx";
import { type Hotkey, hotkeys, setSingleKeys, singleKeysAreOn } from "./hotkeys.ts";

export function KeysPage({ isOpen, close }: { isOpen: boolean; close: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [singles, setSingles] = useState(true);
  useEffect(() => {
    const element = dialog.current;
    if (!element) return;
    if (isOpen) setSingles(singleKeysAreOn());
    if (isOpen && !element.open) element.showModal();
    if (!isOpen && element.open) element.close();
  }, [isOpen]);
  const all = Object.values<Hotkey>(hotkeys).filter((h) => h.keys !== "");
  const places = [...new Set(all.map((h) => h.where))];
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: Escape closes a dialog by itself
    <dialog
      ref={dialog}
      className="layer keys-page"
      aria-label="All keys"
      onClose={close}
      onClick={(e) => e.target === dialog.current && close()}
    >
      <header className="row" style={{ marginBottom: 14 }}>
        <h2 style={{ margin: 0 }}>All keys</h2>
        <span className="end row">
          <Check
            label="single keys"
            checked={singles}
            onChange={(on) => {
              setSingleKeys(on);
              setSingles(on);
            }}
          />
          <IconButton icon="cross" label="Close" onClick={close} />
        </span>
      </header>
      <div>
        {places.map((where) => (
          <section key={where}>
            <h3>{where}</h3>
            <dl className="facts">
              {all
                .filter((h) => h.where === where)
                .map((h) => (
                  <div key={h.keys + h.does} style={{ display: "contents" }}>
                    <dt>{h.does}</dt>
                    <dd style={{ display: "flex", justifyContent: "flex-end" }}>
                      <span className="visually-hidden">{h.keys}</span>
                      <KeyLabels keys={h.keys} />
                    </dd>
                  </div>
                ))}
            </dl>
          </section>
        ))}
      </div>
    </dialog>
  );
}
