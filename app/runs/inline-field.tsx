"use client";
/** @file A field where the words were: Enter keeps, Escape leaves, going away keeps. */
import { useRef, useState } from "react";

export function InlineField(props: {
  readonly label: string;
  readonly value: string;
  readonly hint?: string;
  readonly onSave: (text: string) => void;
  readonly onCancel: () => void;
}) {
  const [text, setText] = useState(props.value);
  const isDone = useRef(false);
  const end = (save: boolean): void => {
    if (isDone.current) return;
    isDone.current = true;
    if (save && text !== props.value) props.onSave(text);
    else props.onCancel();
  };
  return (
    <span className="inline-field">
      <span className="soft small" aria-hidden="true">
        {props.label}
      </span>
      <input
        // biome-ignore lint/a11y/noAutofocus: it opened on a person's wish
        autoFocus
        aria-label={props.label}
        placeholder={props.hint}
        value={text}
        onFocus={(e) => e.target.select()}
        onChange={(e) => setText(e.target.value)}
        onBlur={() => end(true)}
        onKeyDown={(e) => {
          if (e.key === "Enter") end(true);
          else if (e.key === "Escape") end(false);
          else return;
          e.preventDefault();
          e.stopPropagation();
        }}
      />
    </span>
  );
}
