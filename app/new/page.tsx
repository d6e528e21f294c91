"use client";
/** @file A run of any experiment, from the schema it is described by; a sweep where a field is given several values; a clone of another run. */
import { useMutation, useQuery } from "@tanstack/react-query";
import { useRouter, useSearchParams } from "next/navigation";
import { Suspense, useDeferredValue, useEffect, useMemo, useState } from "react";
import { rungsOf } from "../../experiments/sweep/rungs.ts";
import { useTRPC } from "../parts/api.tsx";
import { IconButton, Segments } from "../parts/controls.tsx";
import { Link } from "../parts/link.tsx";
import { TopBar } from "../parts/shell.tsx";
import { ErrorNote, Waiting } from "../parts/states.tsx";
import { submitCommand } from "../runs/[id]/run-facts.ts";
import {
  cloneChanges,
  type FieldSchema,
  fieldIssue,
  fieldText,
  firstConfig,
  gridSize,
  sweepCommand,
  typedConfig,
} from "./config-form.ts";
import { Field } from "./field.tsx";
import { noSweep, type SweepForm, SweepOptions, sweepFields } from "./sweep-options.tsx";
import "./new.css";

export default function NewPage() {
  return (
    <Suspense>
      <New />
    </Suspense>
  );
}

function New() {
  const trpc = useTRPC();
  const router = useRouter();
  const params = useSearchParams();
  const clone = params.get("clone");
  const origin = useQuery(trpc.runs.get.queryOptions({ id: clone ?? "" }, { enabled: clone !== null }));
  const experiments = useQuery(trpc.experiments.list.queryOptions(undefined, { staleTime: Number.POSITIVE_INFINITY }));
  const kind = origin.data?.kind ?? params.get("kind") ?? "quantize";
  const experiment = experiments.data?.find((e) => e.kind === kind);
  const [given, setGiven] = useState<Record<string, string>>({});
  const [name, setName] = useState("");
  const [sweepForm, setSweepForm] = useState<SweepForm>(noSweep);
  const [isTried, setTried] = useState(false);
  const schemas = useMemo(
    () => (experiment?.schema.properties ?? {}) as Readonly<Record<string, FieldSchema>>,
    [experiment],
  );
  const required = useMemo(() => (experiment?.schema.required ?? []) as readonly string[], [experiment]);
  const fields = Object.entries(schemas).filter(([field]) => {
    const role = experiment?.roles[field];
    return role !== "output" && role !== "replace";
  });
  const values = useMemo((): Record<string, string> => {
    const cloned = Object.entries(origin.data?.config ?? {}).map(([k, v]) => [k, fieldText(v, schemas[k] ?? {})]);
    const linked = [...params].filter(([k]) => k !== "kind" && k !== "clone");
    return { ...Object.fromEntries(cloned), ...Object.fromEntries(linked), ...given };
  }, [origin.data, params, given, schemas]);
  const typed = useMemo(() => typedConfig(values, schemas), [values, schemas]);
  const isSweep = Object.keys(typed.axes).length > 0;
  const grid = gridSize(typed.axes);
  const trials =
    sweepForm.method === "grid"
      ? grid
      : sweepForm.method === "random"
        ? Number(sweepForm.trials)
        : rungsOf({
            trials: Number(sweepForm.trials),
            budget: { from: Number(sweepForm.from), eta: Math.max(2, Number(sweepForm.eta)) },
          }).reduce((n, r) => n + r.trials, 0);
  const title = name.trim() || `${kind} ${String(typed.config.model ?? typed.config.base ?? "")}`.trim();
  const definition = { title, kind, config: typed.config, axes: typed.axes, ...sweepFields(sweepForm) };

  // The server knows models, texts and rules between fields.
  const checked = useDeferredValue(JSON.stringify(firstConfig(typed)));
  const [settled, setSettled] = useState(checked);
  useEffect(() => {
    const due = setTimeout(() => setSettled(checked), 350);
    return () => clearTimeout(due);
  }, [checked]);
  const check = useQuery(
    trpc.experiments.check.queryOptions(
      { kind: kind as "quantize", config: JSON.parse(settled) as Record<string, unknown> },
      { enabled: experiment !== undefined, placeholderData: (old) => old },
    ),
  );
  const issueOf = (field: string, schema: FieldSchema): string | null => {
    const text = values[field] ?? "";
    const own = fieldIssue(text, schema);
    if (own) return own;
    if (text === "") return isTried && required.includes(field) ? "this field is required" : null;
    return check.data?.find((i) => i.field === field || i.field.startsWith(`${field}.`))?.message ?? null;
  };
  // What no filled-in field shows.
  const general = check.data?.find((i) => fields.every(([f]) => f !== i.field || (values[f] ?? "") === ""))?.message;
  const isWrong = fields.some(
    ([f, s]) => fieldIssue(values[f] ?? "", s) !== null || (required.includes(f) && (values[f] ?? "") === ""),
  );

  // A model that a run is still to make has no tokenizer yet.
  const named = String(typed.config.model ?? typed.config.base ?? "");
  const knownModel = named === "" || named.startsWith("run:") ? undefined : named;

  const toRun = { onSuccess: (run: { id: string }) => router.push(`/runs/${run.id}`) };
  const submit = useMutation(trpc.runs.submit.mutationOptions(toRun));
  const cloning = useMutation(trpc.runs.clone.mutationOptions(toRun));
  const sweep = useMutation(trpc.sweeps.create.mutationOptions({ onSuccess: (s) => router.push(`/sweeps/${s.id}`) }));
  const isBusy = submit.isPending || sweep.isPending || cloning.isPending;
  const start = (): void => {
    setTried(true);
    if (isWrong) return;
    const called = name.trim() ? { name: name.trim() } : {};
    if (isSweep) sweep.mutate(definition as Parameters<typeof sweep.mutate>[0]);
    else if (origin.data)
      cloning.mutate({
        id: origin.data.id,
        changes: cloneChanges(origin.data.config, typed.config, schemas),
        ...called,
      });
    else submit.mutate({ kind, config: typed.config, ...called });
  };
  const command = isSweep ? sweepCommand(definition) : submitCommand(kind, typed.config, name.trim() || undefined);
  const failed = submit.error ?? sweep.error ?? cloning.error;
  return (
    <>
      <TopBar title={clone ? "Clone a run" : "New run"} trail={[{ name: "Runs", href: "/runs" }]} />
      <div className="tool-bar" role="toolbar" aria-label="Experiment">
        {clone ? (
          <span className="soft">
            {origin.data ? (
              <>
                a changed copy of <Link href={`/runs/${origin.data.id}`}>{origin.data.name}</Link>, {kind}
              </>
            ) : (
              "reading the run"
            )}
          </span>
        ) : (
          <Segments
            label="Experiment"
            options={(experiments.data ?? []).map((e) => [e.kind as string, e.kind as string] as const)}
            value={kind}
            onChange={(k) => {
              setGiven({});
              setTried(false);
              router.replace(`/new?kind=${k}`);
            }}
          />
        )}
        <span className="end soft">{experiment?.title}</span>
      </div>
      {origin.error ? (
        <div className="region">
          <ErrorNote error={origin.error} />
        </div>
      ) : null}
      {!experiment || (clone !== null && !origin.data) ? (
        <div className="region">
          <Waiting>Reading the fields</Waiting>
        </div>
      ) : (
        <form
          className="new-form"
          noValidate
          onSubmit={(event) => {
            event.preventDefault();
            start();
          }}
        >
          <div className="new-fields">
            <div className="new-field">
              <label className="new-label" htmlFor="field-name">
                Name
              </label>
              <span className="new-input">
                <input
                  id="field-name"
                  value={name}
                  placeholder={isSweep ? title : "default: the kind of experiment"}
                  maxLength={120}
                  autoComplete="off"
                  onChange={(e) => setName(e.target.value)}
                />
              </span>
              <div className="soft small new-help">Shown in lists; a model that the run makes gets this name</div>
            </div>
            {fields.map(([field, schema]) => (
              <Field
                key={field}
                name={field}
                schema={schema}
                role={experiment.roles[field]}
                isRequired={required.includes(field)}
                value={values[field] ?? ""}
                issue={issueOf(field, schema)}
                model={knownModel}
                onChange={(text) => setGiven((g) => ({ ...g, [field]: text }))}
              />
            ))}
          </div>
          <aside className="new-side">
            {isSweep ? (
              <SweepOptions
                form={sweepForm}
                set={(changes) => setSweepForm((f) => ({ ...f, ...changes }))}
                grid={grid}
                given={values}
                isRange={Object.values(typed.axes).some((a) => "from" in a)}
                schemas={schemas}
              />
            ) : (
              <p className="soft">
                Several numbers or choices in one field make a sweep: <span className="mono">2, 3, 4</span>, or a range{" "}
                <span className="mono">1e-4..1e-2 x7</span>. Grey values are defaults.
              </p>
            )}
            <div>
              <h2 className="new-heading">The same from a terminal</h2>
              <div className="new-command">
                <code>{command}</code>
                <IconButton
                  icon="copy"
                  label="Copy the command"
                  onClick={() => void navigator.clipboard.writeText(command)}
                />
              </div>
            </div>
            {isTried && isWrong ? (
              <p className="bad" role="alert" style={{ margin: 0 }}>
                Some fields are not valid; nothing was started.
              </p>
            ) : null}
            {general ? (
              <p className="bad" role="alert" style={{ margin: 0 }}>
                {general}
              </p>
            ) : null}
            {failed ? <ErrorNote error={failed} /> : null}
            <button type="submit" className="primary" disabled={isBusy}>
              {isSweep ? `Start a sweep of ${trials} runs` : clone ? "Start the clone" : "Start the run"}
            </button>
          </aside>
        </form>
      )}
    </>
  );
}
