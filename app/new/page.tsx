"use client";
import { useMutation, useQuery } from "@tanstack/react-query";
import { useRouter, useSearchParams } from "next/navigation";
import { Suspense, useMemo, useState } from "react";
import { useTRPC } from "../parts/api.tsx";
import { TopBar } from "../parts/shell.tsx";
import { ErrorNote } from "../parts/states.tsx";
import { type FieldSchema, typedConfig } from "./config-form.ts";

export default function NewPage() {
  return (
    <Suspense>
      <New />
    </Suspense>
  );
}

/** A run of any experiment, or a sweep where a field is given several values. */
function New() {
  const trpc = useTRPC();
  const router = useRouter();
  const params = useSearchParams();
  const experiments = useQuery(trpc.experiments.list.queryOptions(undefined, { staleTime: Number.POSITIVE_INFINITY }));
  const models = useQuery(trpc.models.list.queryOptions());
  const texts = useQuery(trpc.texts.list.queryOptions());
  const kind = params.get("kind") ?? "quantize";
  const experiment = experiments.data?.find((e) => e.kind === kind);
  const [given, setGiven] = useState<Record<string, string>>({});
  const [name, setName] = useState("");
  const properties = useMemo(
    () => (experiment?.schema.properties ?? {}) as Readonly<Record<string, FieldSchema>>,
    [experiment],
  );
  const required = (experiment?.schema.required ?? []) as readonly string[];
  const values: Record<string, string> = { ...Object.fromEntries([...params].filter(([k]) => k !== "kind")), ...given };
  const { config, axes } = typedConfig(values, properties);
  const isSweep = Object.keys(axes).length > 0;
  const trials = Object.values(axes).reduce((n, a) => n * a.values.length, 1);
  const submit = useMutation(trpc.runs.submit.mutationOptions({ onSuccess: (run) => router.push(`/runs/${run.id}`) }));
  const sweep = useMutation(
    trpc.sweeps.create.mutationOptions({
      onSuccess: (s) => router.push(`/runs?q=${encodeURIComponent(s.title.split(" ")[0] ?? "")}`),
    }),
  );
  const fields = Object.entries(properties).filter(([field]) => {
    const role = experiment?.roles[field];
    return role !== "output" && role !== "replace";
  });
  return (
    <>
      <TopBar title="New run">
        <select
          aria-label="Experiment"
          value={kind}
          onChange={(e) => {
            setGiven({});
            router.replace(`/new?kind=${e.target.value}`);
          }}
        >
          {(experiments.data ?? []).map((e) => (
            <option key={e.kind} value={e.kind}>
              {e.kind}
            </option>
          ))}
        </select>
        <span className="soft">{experiment?.title}</span>
      </TopBar>
      <form
        className="region"
        onSubmit={(event) => {
          event.preventDefault();
          const title = name.trim() || `${kind} ${String(config.model ?? config.base ?? "")}`.trim();
          if (isSweep)
            sweep.mutate({
              title,
              kind: kind as "quantize",
              config,
              axes: axes as Record<string, { values: number[] }>,
            });
          else submit.mutate({ kind, config, ...(name.trim() ? { name: name.trim() } : {}) });
        }}
      >
        <table style={{ maxWidth: 900 }}>
          <tbody>
            <tr>
              <td>
                <label htmlFor="field-name">name</label>
              </td>
              <td>
                <input id="field-name" style={{ width: 260 }} value={name} onChange={(e) => setName(e.target.value)} />
              </td>
              <td className="soft">For people; what is made is called by it</td>
            </tr>
            {fields.map(([field, schema]) => {
              const role = experiment?.roles[field];
              const options =
                role === "model" || role === "models"
                  ? (models.data ?? []).map((m) => m.id)
                  : role === "text" || role === "tasks"
                    ? (texts.data ?? []).filter((t) => t.kind === role).map((t) => t.id)
                    : schema.type === "boolean"
                      ? ["false", "true"]
                      : (schema.enum ?? schema.items?.enum ?? []).map(String);
              const fallback =
                schema.default === undefined
                  ? ""
                  : Array.isArray(schema.default)
                    ? schema.default.join(",")
                    : String(schema.default);
              return (
                <tr key={field}>
                  <td>
                    <label htmlFor={`field-${field}`}>{field}</label>
                  </td>
                  <td>
                    <input
                      id={`field-${field}`}
                      style={{ width: 260 }}
                      list={options.length > 0 ? `options-${field}` : undefined}
                      required={required.includes(field)}
                      placeholder={fallback}
                      value={values[field] ?? ""}
                      onChange={(e) => setGiven((g) => ({ ...g, [field]: e.target.value }))}
                    />
                    <datalist id={`options-${field}`}>
                      {options.map((o) => (
                        <option key={o} value={o} />
                      ))}
                    </datalist>
                  </td>
                  <td className="soft">{schema.description}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
        <p className="soft" style={{ marginTop: 12 }}>
          Several numbers or choices in one field, separated by commas, make a sweep over all of them.
        </p>
        <button type="submit" className="primary" disabled={submit.isPending || sweep.isPending}>
          {isSweep ? `Start a sweep of ${trials} runs` : "Start the run"}
        </button>
      </form>
      {submit.error ? <ErrorNote error={submit.error} /> : null}
      {sweep.error ? <ErrorNote error={sweep.error} /> : null}
    </>
  );
}
