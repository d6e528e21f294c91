"use client";
/**
 * @file What an export will write, chosen and told before it runs: target, system, contexts, name, predicted bytes and speed. Once
 * it is asked for, the sheet follows its run and ends as a link to the package.
 */
import { keepPreviousData, useMutation, useQuery } from "@tanstack/react-query";
import { type ReactNode, useDeferredValue, useId, useRef, useState } from "react";
import { useTRPC } from "./api.tsx";
import { Segments } from "./controls.tsx";
import "./export-sheet.css";
import { count } from "./format.ts";
import { Link } from "./link.tsx";
import { SizeRows } from "./shipped-size.tsx";
import { ErrorNote, RunStateMark } from "./states.tsx";

const systems = [
  ["iOS17", "iOS 17"],
  ["iOS18", "iOS 18"],
  ["iOS26", "iOS 26"],
] as const;
type System = (typeof systems)[number][0];

export interface ExportSheetProps {
  readonly model: string;
  /** What the model is called on the page. */
  readonly title: string;
  readonly isOpen: boolean;
  readonly onClose: () => void;
}

export function ExportSheet(props: ExportSheetProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const opened = (element: HTMLDialogElement | null): void => {
    dialog.current = element;
    if (element && !element.open) element.showModal();
  };
  return props.isOpen ? (
    <dialog ref={opened} className="layer export-sheet" aria-label={`Export ${props.title}`} onClose={props.onClose}>
      <Sheet {...props} onClose={() => dialog.current?.close()} />
    </dialog>
  ) : null;
}

/** `128, 256`; null for what is no list of whole numbers. */
function contextsOf(text: string): number[] | null {
  const all = text.split(/[\s,]+/).filter((t) => t !== "");
  return all.every((t) => /^\d+$/.test(t)) ? all.map(Number) : null;
}

function Sheet({ model, title, onClose }: ExportSheetProps) {
  const trpc = useTRPC();
  const id = useId();
  const [to, setTo] = useState<"coreml" | "gguf" | "mlx">("coreml");
  const [system, setSystem] = useState<System>("iOS18");
  const [contexts, setContexts] = useState("");
  const [name, setName] = useState(model.replaceAll(/[^\w-]/g, "-"));
  const list = contextsOf(contexts);
  const isNamed = /^[\w-]+$/.test(name);
  const options = { target: system, ...(list && list.length > 0 ? { contexts: list } : {}), name };
  const asked = useDeferredValue(JSON.stringify(options));
  const figures = useQuery(
    trpc.models.figures.queryOptions(
      { id: model, ...(JSON.parse(asked) as typeof options) },
      { enabled: to === "coreml" && list !== null && isNamed, retry: false, placeholderData: keepPreviousData },
    ),
  );
  const submit = useMutation(trpc.runs.submit.mutationOptions());
  const found = to === "coreml" ? figures.data : undefined;
  const speed = found?.usualSpeed;
  const isWrong = list === null || !isNamed || (to === "coreml" && figures.error !== null);
  if (submit.data) return <Followed runId={submit.data.id} title={title} onClose={onClose} />;
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        submit.mutate({
          kind: "export",
          name: `package of ${title}`.slice(0, 120),
          config: { model, to, name, ...(to === "coreml" ? options : {}) },
        });
      }}
    >
      <h2 className="title">Export {title}</h2>
      <p className="soft mono">model {model}</p>
      <div className="export-fields">
        <span>For</span>
        <Segments
          label="For"
          options={[
            ["coreml", "Core ML"],
            ["gguf", "llama.cpp (GGUF)"],
            ["mlx", "MLX"],
          ]}
          value={to}
          onChange={setTo}
        />
        {to === "coreml" ? (
          <>
            <span>Oldest system</span>
            <Segments label="Oldest system" options={systems} value={system} onChange={setSystem} />
            <label htmlFor={`${id}-contexts`}>Contexts</label>
            <input
              id={`${id}-contexts`}
              value={contexts}
              placeholder={found ? found.contexts.join(", ") : "the largest, at most 512"}
              aria-invalid={list === null}
              onChange={(e) => setContexts(e.target.value)}
            />
          </>
        ) : null}
        <label htmlFor={`${id}-name`}>Name</label>
        <input
          id={`${id}-name`}
          value={name}
          aria-invalid={!isNamed}
          title="letters, digits, dashes and underscores"
          onChange={(e) => setName(e.target.value)}
        />
      </div>
      {to === "coreml" && figures.error ? <ErrorNote error={figures.error} /> : null}
      {found ? (
        <table className="export-figures">
          <caption className="visually-hidden">What will be written</caption>
          <tbody>
            <SizeRows of={found} />
            {speed ? (
              <tr>
                <th scope="row">
                  {speed.device} at {count(speed.context)}
                </th>
                <td className="number">
                  <strong>{count(speed.tokensPerSecond)} tok/s</strong>
                </td>
                <td className="number soft">{speed.kind}</td>
              </tr>
            ) : null}
          </tbody>
        </table>
      ) : to === "coreml" && figures.isPending && !isWrong ? (
        <p className="soft">Counting what it will write</p>
      ) : null}
      <p className="soft small">
        It is written, read back, executed here and compared with the model before it is called ready.
      </p>
      {submit.error ? <ErrorNote error={submit.error} /> : null}
      <Buttons>
        <button type="submit" className="primary" disabled={isWrong || submit.isPending}>
          Export
        </button>
        <button type="button" onClick={onClose}>
          Cancel
        </button>
        {found?.packageId ? (
          <span className="small">
            <Link href={`/packages/${found.packageId}`}>This package</Link> lies here already.
          </span>
        ) : null}
      </Buttons>
    </form>
  );
}

const Buttons = ({ children }: { children: ReactNode }) => (
  <div className="row" style={{ marginTop: 12 }}>
    {children}
  </div>
);

function Followed({ runId, title, onClose }: { runId: string; title: string; onClose: () => void }) {
  const trpc = useTRPC();
  const run = useQuery(
    trpc.runs.get.queryOptions(
      { id: runId },
      {
        refetchInterval: ({ state }) => (/queued|running|stopping/.test(state.data?.state ?? "queued") ? 1_500 : false),
      },
    ),
  );
  const at = run.data;
  return (
    <div role="status">
      <h2 className="title">Export {title}</h2>
      <p className="row">
        <Link href={`/runs/${runId}`}>The export of {title}</Link>
        {at ? <RunStateMark state={at.state} /> : null}
        {at?.progress && at.state === "running" ? (
          <span className="soft">{Math.floor(100 * at.progress.share)} %</span>
        ) : null}
      </p>
      {at?.state === "failed" && at.error ? <ErrorNote error={new Error(at.error.message)} /> : null}
      <Buttons>
        {at?.outputPackageId ? (
          <Link className="button primary" href={`/packages/${at.outputPackageId}`}>
            Open the package
          </Link>
        ) : null}
        <button type="button" onClick={onClose}>
          Close
        </button>
      </Buttons>
    </div>
  );
}
