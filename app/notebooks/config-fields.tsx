"use client";
/** @file A config as lines of name and value: what is set, what else can be, with the words of the schema. */
import { useQuery } from "@tanstack/react-query";
import { useId } from "react";
import { z } from "zod";
import { withoutFlags } from "../../experiments/flags.ts";
import { type FieldSchema, typedConfig } from "../new/config-form.ts";
import { useTRPC } from "../parts/api.tsx";
import { IconButton } from "../parts/controls.tsx";

const properties = z.object({
  properties: z.record(
    z.string(),
    z.looseObject({
      type: z.string().optional(),
      description: z.string().optional(),
      default: z.unknown().optional(),
      enum: z.array(z.unknown()).optional(),
      items: z.looseObject({ enum: z.array(z.unknown()).optional(), type: z.string().optional() }).optional(),
    }),
  ),
  required: z.array(z.string()).default([]),
});

export function useFields(kind: string): { fields: Record<string, FieldSchema>; roles: Record<string, string> } {
  const trpc = useTRPC();
  const kinds = useQuery(trpc.experiments.list.queryOptions(undefined, { staleTime: Number.POSITIVE_INFINITY }));
  const found = kinds.data?.find((k) => k.kind === kind);
  const parsed = properties.safeParse(found?.schema);
  if (!parsed.success) return { fields: {}, roles: {} };
  const hidden = new Set(["output", "replace"]);
  const roles: Record<string, string> = found?.roles ?? {};
  const fields = Object.entries(parsed.data.properties).filter(([name]) => !hidden.has(roles[name] ?? ""));
  return {
    fields: Object.fromEntries(
      fields.map(([name, p]): [string, FieldSchema] => [
        name,
        {
          ...(p.type === undefined ? {} : { type: p.type }),
          ...(p.description === undefined ? {} : { description: withoutFlags(p.description) }),
          ...(p.enum === undefined ? {} : { enum: p.enum }),
          default: p.default,
        },
      ]),
    ),
    roles,
  };
}

const show = (v: unknown): string =>
  Array.isArray(v)
    ? v.join(", ")
    : typeof v === "string"
      ? v.replaceAll("\n", "\\n")
      : v === undefined
        ? ""
        : String(v);

export function ConfigFields(props: {
  kind: string;
  config: Record<string, unknown>;
  onChange: (config: Record<string, unknown>) => void;
  /** Experiment cells above, whose models can be used. */
  cells: readonly string[];
}) {
  const { kind, config, onChange, cells } = props;
  const trpc = useTRPC();
  const { fields, roles } = useFields(kind);
  const models = useQuery(trpc.models.list.queryOptions());
  const texts = useQuery(trpc.texts.list.queryOptions());
  const listId = useId();
  const set = (name: string, text: string): void => {
    const schema = fields[name];
    if (!schema) return;
    // One value here; several make a sweep on the page of new runs.
    const single = schema.type === "array" ? schema : { ...schema, type: schema.type ?? "string", enum: undefined };
    const { enum: _several, ...plain } = single;
    const typed =
      text.includes(",") && schema.type !== "array"
        ? text
        : typedConfig({ [name]: text }, { [name]: plain }).config[name];
    const rest = Object.fromEntries(Object.entries(config).filter(([k]) => k !== name));
    onChange(typed === undefined ? { ...rest, [name]: "" } : { ...config, [name]: typed });
  };
  const options = (name: string): string[] => {
    const role = roles[name];
    if (role === "model" || role === "models")
      return [...cells.map((c) => `cell:${c}`), ...(models.data ?? []).map((m) => m.id)];
    if (role === "text" || role === "tasks") return (texts.data ?? []).filter((t) => t.kind === role).map((t) => t.id);
    return (fields[name]?.enum ?? []).map(String);
  };
  // In the order of the schema, not the order they were stored in.
  const order = Object.keys(fields);
  const given = Object.entries(config).toSorted(([a], [b]) => order.indexOf(a) - order.indexOf(b));
  const unset = Object.keys(fields).filter((name) => !(name in config));
  return (
    <div className="notebook-config">
      {given.map(([name, value]) => (
        <div key={name} className="notebook-field" title={fields[name]?.description}>
          <label htmlFor={`${listId}-${name}`}>{name}</label>
          <input
            id={`${listId}-${name}`}
            defaultValue={show(value)}
            key={show(value)}
            list={options(name).length > 0 ? `${listId}-${name}-list` : undefined}
            onBlur={(e) => e.target.value !== show(value) && set(name, e.target.value)}
            onKeyDown={(e) => e.key === "Enter" && !e.shiftKey && !e.metaKey && !e.ctrlKey && e.currentTarget.blur()}
          />
          <datalist id={`${listId}-${name}-list`}>
            {options(name).map((o) => (
              <option key={o} value={o} />
            ))}
          </datalist>
          <IconButton
            icon="cross"
            label={`Reset ${name} to its default`}
            onClick={() => onChange(Object.fromEntries(Object.entries(config).filter(([k]) => k !== name)))}
          />
        </div>
      ))}
      {unset.length > 0 ? (
        <select
          aria-label="Set another field"
          value=""
          onChange={(e) => onChange({ ...config, [e.target.value]: fields[e.target.value]?.default ?? "" })}
        >
          <option value="">set another field…</option>
          {unset.map((name) => (
            <option key={name} value={name}>
              {name}: {fields[name]?.description}
            </option>
          ))}
        </select>
      ) : null}
    </div>
  );
}
