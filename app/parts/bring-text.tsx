"use client";
/**
 * @file A text or questions of one's own, brought where they are needed: dropped, chosen, pasted, or by a path on the server's
 * machine. Before anything is kept it says what the text is: its kind, documents, tokens, how it begins, and how it would be split.
 */
import { useMutation } from "@tanstack/react-query";
import type { inferRouterOutputs } from "@trpc/server";
import { type ReactNode, useCallback, useEffect, useId, useRef, useState } from "react";
import type { AppRouter } from "../../server/api/router.ts";
import { useTRPC } from "./api.tsx";
import "./bring-text.css";
import { bytes, count, fixed, percent } from "./format.ts";
import { Icon } from "./icons.tsx";
import { ErrorNote } from "./states.tsx";

type Outputs = inferRouterOutputs<AppRouter>["texts"];
export type BroughtText = Outputs["bring"][number];
type Look = Outputs["look"];
type Use = "parts" | "calibrate" | "select" | "report";

/** Above this a file is better opened by its path. */
const LARGEST_BYTES = 60_000_000;

const uses: readonly (readonly [Use, string])[] = [
  ["parts", "split in three: calibrate, select, report"],
  ["calibrate", "whole, to calibrate and explore on"],
  ["select", "whole, to choose models by"],
  ["report", "whole, to report on at the end"],
];

const idOf = (name: string): string =>
  name
    .replace(/\.\w+$/, "")
    .replaceAll(/[^\w.-]+/g, "-")
    .replace(/^[-.]+/, "")
    .slice(0, 60);

/** The text of a file; throws in words for what is no text. */
async function textOf(file: File): Promise<string> {
  if (file.size > LARGEST_BYTES)
    throw new Error(`${file.name} has ${bytes(file.size)}; give its path on the server’s machine instead`);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
  } catch {
    throw new Error(`${file.name} is not a text in UTF-8`);
  }
}

export interface BringTextProps {
  /** Whose tokens are counted. */
  readonly model?: string | undefined;
  /** What is asked for where the button stands. */
  readonly wanted?: "text" | "tasks";
  readonly children?: ReactNode;
  /** Files dropped anywhere on the page are for this one. */
  readonly ofPage?: boolean;
  readonly onBrought: (texts: readonly BroughtText[]) => void;
}

export function BringText({ model, wanted = "text", children, ofPage = false, onBrought }: BringTextProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [dropped, setDropped] = useState<File | null>(null);
  const [isOpen, setOpen] = useState(false);
  const open = useCallback((): void => {
    setOpen(true);
    dialog.current?.showModal();
  }, []);
  useEffect(() => {
    if (!ofPage) return;
    const over = (event: DragEvent): void => {
      if (event.dataTransfer?.types.includes("Files")) event.preventDefault();
    };
    const drop = (event: DragEvent): void => {
      const file = event.dataTransfer?.files[0];
      if (!file) return;
      event.preventDefault();
      setDropped(file);
      open();
    };
    window.addEventListener("dragover", over);
    window.addEventListener("drop", drop);
    return () => {
      window.removeEventListener("dragover", over);
      window.removeEventListener("drop", drop);
    };
  }, [ofPage, open]);
  const what = wanted === "text" ? "text" : "questions";
  return (
    <>
      <button
        type="button"
        className="quiet"
        onClick={open}
        title={`Bring ${wanted === "text" ? "a text" : what} of your own`}
      >
        <Icon name="plus" /> {children ?? `Bring ${wanted === "text" ? "a text" : what}`}
      </button>
      <dialog
        ref={dialog}
        className="layer bring-text"
        aria-label={`Bring ${wanted === "text" ? "a text" : what} of your own`}
        onClose={() => {
          setOpen(false);
          setDropped(null);
        }}
      >
        {isOpen ? (
          <Form
            model={model}
            what={what}
            dropped={dropped}
            onClose={() => dialog.current?.close()}
            onBrought={(texts) => {
              dialog.current?.close();
              onBrought(texts);
            }}
          />
        ) : null}
      </dialog>
    </>
  );
}

interface Source {
  readonly content?: string;
  readonly path?: string;
}

function Form(props: {
  model: string | undefined;
  what: string;
  dropped: File | null;
  onClose: () => void;
  onBrought: (texts: readonly BroughtText[]) => void;
}) {
  const { model, what, dropped } = props;
  const trpc = useTRPC();
  const id = useId();
  const input = useRef<HTMLInputElement>(null);
  const [source, setSource] = useState<Source | null>(null);
  const [pasted, setPasted] = useState("");
  const [path, setPath] = useState("");
  const [name, setName] = useState("");
  const [separator, setSeparator] = useState<string | null>(null);
  const [use, setUse] = useState<Use>("parts");
  const [unread, setUnread] = useState<Error | null>(null);
  const look = useMutation(
    trpc.texts.look.mutationOptions({ onSuccess: (found) => setSeparator(found.separators[0]?.separator ?? null) }),
  );
  const bring = useMutation(trpc.texts.bring.mutationOptions({ onSuccess: props.onBrought }));
  const { mutate } = look;
  const take = useCallback(
    (given: Source, from: string): void => {
      setUnread(null);
      setSource(given);
      setName((n) => n || idOf(from));
      mutate({ ...given, ...(model === undefined ? {} : { model }) });
    },
    [mutate, model],
  );
  const takeFile = useCallback(
    (file: File): void => {
      textOf(file).then((content) => take({ content }, file.name), setUnread);
    },
    [take],
  );
  useEffect(() => {
    if (dropped) takeFile(dropped);
  }, [dropped, takeFile]);
  const found = look.data;
  const error = unread ?? look.error ?? bring.error;
  return (
    <form
      className="bring-form"
      onSubmit={(event) => {
        event.preventDefault();
        if (source && found)
          bring.mutate({
            ...source,
            id: name,
            kind: found.kind,
            separator: found.kind === "text" ? separator : null,
            use,
          });
      }}
    >
      <h2 className="title">Bring {what === "text" ? "a text" : what} of your own</h2>
      {/* biome-ignore lint/a11y/noStaticElementInteractions: dropping is one of four ways in, the others have controls */}
      <div
        className="bring-drop"
        onDragOver={(e) => e.preventDefault()}
        onDrop={(e) => {
          e.preventDefault();
          e.stopPropagation();
          const file = e.dataTransfer.files[0];
          if (file) takeFile(file);
        }}
      >
        <div className="row">
          <button type="button" onClick={() => input.current?.click()}>
            <Icon name="folder" /> Choose a file…
          </button>
          <span className="soft small">or drop it here: plain text in UTF-8, or questions as JSON lines</span>
        </div>
        <input
          ref={input}
          type="file"
          hidden
          aria-label="Text file"
          onChange={(e) => e.target.files?.[0] && takeFile(e.target.files[0])}
        />
        <textarea
          aria-label="Or paste it"
          placeholder="or paste it here"
          rows={3}
          value={pasted}
          onChange={(e) => setPasted(e.target.value)}
          onBlur={() => pasted.trim() !== "" && pasted !== source?.content && take({ content: pasted }, "pasted")}
        />
        <div className="row" style={{ flexWrap: "nowrap" }}>
          <input
            aria-label="Path on the server’s machine"
            placeholder="or a path on the server’s machine"
            value={path}
            onChange={(e) => setPath(e.target.value)}
            style={{ flex: 1, minWidth: 0 }}
          />
          <button
            type="button"
            disabled={path.trim() === ""}
            onClick={() => take({ path: path.trim() }, path.trim().split("/").at(-1) ?? "text")}
          >
            Look
          </button>
        </div>
      </div>
      {error ? <ErrorNote error={error} /> : null}
      {look.isPending ? <p className="soft">Reading it</p> : null}
      {found && !look.isPending && !unread ? (
        <>
          <p role="status" style={{ margin: 0 }}>
            {whatItIs(found, separator)}
          </p>
          {found.tokens && isStrange(found.tokens) ? (
            <p className="note warning">
              The tokenizer of {model} does not fit this text ({fixed(found.tokens.bytesPerToken, 1)} bytes a token,{" "}
              {percent(found.tokens.unknownShare)} unknown): measurements on it say little about this model.
            </p>
          ) : null}
          <pre className="bring-beginning">{found.beginning}</pre>
          <div className="bring-fields">
            <label htmlFor={`${id}-name`}>Name</label>
            <input
              id={`${id}-name`}
              value={name}
              required
              pattern="[A-Za-z0-9_][A-Za-z0-9_.\-]{0,59}"
              title="letters, digits, dots, dashes and underscores"
              onChange={(e) => setName(e.target.value)}
            />
            {found.kind === "text" ? (
              <>
                <label htmlFor={`${id}-separator`}>Documents end with</label>
                <span className="row">
                  <input
                    id={`${id}-separator`}
                    list={`${id}-separators`}
                    placeholder="nothing: windows over the whole text"
                    value={separator === null ? "" : separator.replaceAll("\n", "\\n")}
                    onChange={(e) =>
                      setSeparator(e.target.value === "" ? null : e.target.value.replaceAll("\\n", "\n"))
                    }
                  />
                  <datalist id={`${id}-separators`}>
                    {found.separators.map((s) => (
                      <option key={s.separator} value={s.separator.replaceAll("\n", "\\n")}>
                        {count(s.documents)} documents
                      </option>
                    ))}
                  </datalist>
                </span>
              </>
            ) : null}
            <label htmlFor={`${id}-use`}>Used</label>
            <select
              id={`${id}-use`}
              value={use}
              onChange={(e) => setUse(uses.find(([u]) => u === e.target.value)?.[0] ?? "parts")}
            >
              {(found.kind === "tasks" ? tasksUses : uses).map(([value, text]) => (
                <option key={value} value={value}>
                  {text}
                </option>
              ))}
            </select>
          </div>
        </>
      ) : null}
      <div className="row">
        <button type="submit" className="primary" disabled={!found || look.isPending || bring.isPending || name === ""}>
          {use === "parts" ? "Keep its parts" : "Keep it"}
        </button>
        <button type="button" onClick={props.onClose}>
          Cancel
        </button>
        {found && use === "parts" ? (
          <span className="soft small">
            {found.kind === "tasks"
              ? "four of five questions select, the fifth reports"
              : separator === null
                ? "the first three fifths calibrate, then one selects, then one reports"
                : "of five documents in a row three calibrate, one selects, one reports"}
          </span>
        ) : null}
      </div>
    </form>
  );
}

const tasksUses: readonly (readonly [Use, string])[] = [
  ["parts", "split in two: select, report"],
  ["select", "whole, to choose models by"],
  ["report", "whole, to report on at the end"],
];

/** Words of the vocabulary are longer than this; spelled letters are not. */
const SPELLED_BYTES = 1.6;
const isStrange = ({ bytesPerToken, unknownShare }: NonNullable<Look["tokens"]>): boolean =>
  unknownShare > 0.01 || bytesPerToken < SPELLED_BYTES;

function whatItIs(look: Look, separator: string | null): string {
  if (look.questions !== null) return `${count(look.questions)} questions.`;
  const documents = look.separators.find((s) => s.separator === separator)?.documents;
  const tokens = look.tokens ? `, ${look.tokens.isExact ? "" : "about "}${count(look.tokens.count)} tokens` : "";
  const cut = documents ? `${count(documents)} documents` : "one text, measured in windows";
  return `${count(look.characters)} characters${tokens}; ${cut}.`;
}
