"use client";
/** @file Text of a notebook: read as set, written as Markdown; a click or Enter opens it, Escape closes it. */
import { useEffect, useRef, useState } from "react";
import type { NotebookCell } from "../../experiments/notebook/cells.ts";
import { Prose } from "./markdown.tsx";

export function TextCell(props: {
  cell: Extract<NotebookCell, { type: "markdown" }>;
  isEditing: boolean;
  onEdit: (on: boolean) => void;
  onChange: (cell: NotebookCell) => void;
}) {
  const { cell, isEditing, onEdit, onChange } = props;
  const field = useRef<HTMLTextAreaElement>(null);
  const [text, setText] = useState(cell.text);
  useEffect(() => setText(cell.text), [cell.text]);
  useEffect(() => {
    const element = field.current;
    if (!isEditing || !element) return;
    element.focus();
    element.setSelectionRange(element.value.length, element.value.length);
  }, [isEditing]);
  // As tall as what is in it.
  // biome-ignore lint/correctness/useExhaustiveDependencies: the height follows the text
  useEffect(() => {
    const element = field.current;
    if (!element) return;
    element.style.height = "0";
    element.style.height = `${element.scrollHeight + 2}px`;
  }, [text, isEditing]);
  if (!isEditing)
    return (
      // biome-ignore lint/a11y/noStaticElementInteractions: Enter on the cell does the same
      // biome-ignore lint/a11y/useKeyWithClickEvents: Enter on the cell does the same
      <div
        className="notebook-text"
        onClick={(e) => !(e.target instanceof Element && e.target.closest("a")) && onEdit(true)}
      >
        {cell.text.trim() === "" ? (
          <p className="soft">Empty text. Write Markdown, with maths between $ signs.</p>
        ) : null}
        <Prose text={cell.text} />
      </div>
    );
  return (
    <textarea
      ref={field}
      className="notebook-editor"
      aria-label="Markdown"
      value={text}
      spellCheck
      onChange={(e) => {
        setText(e.target.value);
        onChange({ ...cell, text: e.target.value });
      }}
      onBlur={() => onEdit(false)}
      onKeyDown={(e) => {
        if (e.key !== "Escape") return;
        e.preventDefault();
        e.stopPropagation();
        onEdit(false);
        e.currentTarget.closest<HTMLElement>("[data-cell]")?.focus();
      }}
    />
  );
}
