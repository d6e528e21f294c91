"use client";
import { useQuery } from "@tanstack/react-query";
/** @file One field of a config: the control that suits its schema, its default, its help, what is wrong with it. */
import { useMemo } from "react";
import { fieldTitle, withoutFlags } from "../../experiments/flags.ts";
import { useTRPC } from "../parts/api.tsx";
import { BringText, type BroughtText } from "../parts/bring-text.tsx";
import { choicesOf, type FieldSchema, mayVary, pieces } from "./config-form.ts";

const units: Readonly<Record<string, string>> = {
  steps: "steps",
  batch: "sequences",
  context: "tokens",
  maxTokens: "tokens",
  limit: "sequences",
  heldOutLimit: "sequences",
  evaluateEvery: "steps",
  warmup: "of the steps",
  ratio: "of the heads",
  bits: "bits",
  embeddingBits: "bits",
  rowsPerTable: "channels",
  groupSize: "channels",
  maxBytes: "bytes",
  maxBits: "bits per weight",
  maxKl: "nats per token",
  keep: "of the accuracy",
};

export interface FieldProps {
  readonly name: string;
  readonly schema: FieldSchema;
  readonly role: string | undefined;
  readonly isRequired: boolean;
  readonly value: string;
  readonly issue: string | null;
  /** Whose tokens are counted in a text that is brought. */
  readonly model?: string | undefined;
  readonly onChange: (text: string) => void;
}

/** Of the parts of a text that was brought, the one a run is begun with. */
const usualOf = (texts: readonly BroughtText[], role: "text" | "tasks"): BroughtText | undefined =>
  texts.find((t) => t.kind === role && t.split === (role === "text" ? "calibrate" : "select")) ?? texts[0];

export const defaultText = (schema: FieldSchema): string =>
  schema.default === undefined ? "" : [schema.default].flat().map(String).join(", ").replaceAll("\n", "\\n");

export function Field(props: FieldProps) {
  const { name, schema, role, issue, isRequired } = props;
  const id = `field-${name}`;
  const choices = choicesOf(schema);
  const fallback = defaultText(schema);
  const described = `${id}-help${issue ? ` ${id}-issue` : ""}`;
  const several = props.value.includes(",") || props.value.includes("..");
  return (
    <div className="new-field">
      {choices.length > 0 && role === undefined ? (
        <span className="new-label" id={`${id}-label`}>
          {fieldTitle(name)}
          {isRequired ? <span className="soft small"> required</span> : null}
        </span>
      ) : (
        <label className="new-label" htmlFor={id}>
          {fieldTitle(name)}
        </label>
      )}
      <div>
        {role === "models" ? (
          <Models {...props} id={id} described={described} />
        ) : choices.length > 0 && role === undefined ? (
          <Choices {...props} choices={choices} labelledBy={`${id}-label`} />
        ) : (
          <Text {...props} id={id} described={described} fallback={fallback} />
        )}
        {role === "text" || role === "tasks" ? (
          <BringText
            wanted={role}
            model={props.model}
            ofPage={name === "text"}
            onBrought={(texts) => props.onChange(usualOf(texts, role)?.id ?? props.value)}
          />
        ) : null}
        {issue ? (
          <div id={`${id}-issue`} className="small bad" role="alert">
            {issue}
          </div>
        ) : null}
      </div>
      <div id={`${id}-help`} className="soft small new-help">
        {schema.description === undefined ? null : withoutFlags(schema.description)}
        {isRequired && role !== undefined ? ". Needed" : ""}
        {several && mayVary(schema) ? <span className="tag">varies</span> : null}
      </div>
    </div>
  );
}

/** Ids known to the workbench are offered; others may be typed, such as `run:ID`. */
function useOptions(role: string | undefined): [id: string, note: string][] {
  const trpc = useTRPC();
  const isModel = role === "model" || role === "models";
  const models = useQuery(trpc.models.list.queryOptions(undefined, { enabled: isModel }));
  const texts = useQuery(trpc.texts.list.queryOptions(undefined, { enabled: role === "text" || role === "tasks" }));
  const open = useQuery(
    trpc.runs.list.queryOptions({ states: ["queued", "running"], limit: 50 }, { enabled: isModel }),
  );
  const kinds = useQuery(trpc.experiments.list.queryOptions(undefined, { staleTime: Number.POSITIVE_INFINITY }));
  return useMemo(() => {
    const makers = (kinds.data ?? []).flatMap((k): string[] => (k.makes === "model" ? [k.kind] : []));
    if (isModel)
      return [
        ...(models.data ?? []).map((m): [string, string] => [m.id, ""]),
        ...(open.data ?? [])
          .filter((r) => makers.includes(r.kind))
          .map((r): [string, string] => [`run:${r.id}`, `what ${r.name} will make`]),
      ];
    return (texts.data ?? [])
      .filter((t) => t.kind === role)
      .map((t): [string, string] => [t.id, [t.split, t.note].filter(Boolean).join(": ")]);
  }, [isModel, role, models.data, texts.data, open.data, kinds.data]);
}

function Text(props: FieldProps & { id: string; described: string; fallback: string }) {
  const { name, schema, role, fallback } = props;
  const options = useOptions(role);
  const unit = units[name];
  return (
    <span className="new-input">
      <input
        id={props.id}
        className={schema.type === "number" || schema.type === "integer" ? "numeric" : undefined}
        list={role ? `${props.id}-options` : undefined}
        aria-describedby={props.described}
        aria-invalid={props.issue !== null}
        aria-required={props.isRequired}
        autoComplete="off"
        placeholder={fallback === "" ? (props.isRequired ? "" : "not set") : fallback}
        value={props.value}
        onChange={(e) => props.onChange(e.target.value)}
      />
      {unit ? <span className="soft small">{unit}</span> : null}
      {role ? (
        <datalist id={`${props.id}-options`}>
          {options.map(([id, note]) => (
            <option key={id} value={id}>
              {note}
            </option>
          ))}
        </datalist>
      ) : null}
    </span>
  );
}

/** All choices in view; pressing several varies them, or makes a list of a list. */
function Choices(props: FieldProps & { choices: readonly string[]; labelledBy: string }) {
  const { schema, choices, onChange } = props;
  const chosen = pieces(props.value);
  const defaults = schema.default === undefined ? [] : [schema.default].flat().map(String);
  return (
    <div className="segments" role="group" aria-labelledby={props.labelledBy}>
      {choices.map((c) => {
        const isDefault = chosen.length === 0 && defaults.includes(c);
        return (
          <button
            key={c}
            type="button"
            aria-pressed={chosen.includes(c) || isDefault}
            title={isDefault ? "the default" : undefined}
            onClick={() => {
              // The first press on another choice chooses it; further ones add to it.
              const next = chosen.includes(c) ? chosen.filter((o) => o !== c) : [...chosen, c];
              onChange(choices.filter((o) => next.includes(o)).join(", "));
            }}
          >
            {schema.type === "boolean" ? (c === "true" ? "yes" : "no") : c}
            {isDefault ? <span className="visually-hidden">, the default</span> : null}
          </button>
        );
      })}
    </div>
  );
}

function Models(props: FieldProps & { id: string; described: string }) {
  const options = useOptions("models");
  const chosen = pieces(props.value);
  const add = (id: string): void => props.onChange([...new Set([...chosen, ...pieces(id)])].join(", "));
  return (
    <div>
      <select
        id={props.id}
        aria-describedby={props.described}
        value=""
        onChange={(e) => e.target.value && add(e.target.value)}
      >
        <option value="">{chosen.length === 0 ? "Choose models" : "Add another"}</option>
        {options
          .filter(([id]) => !chosen.includes(id))
          .map(([id, note]) => (
            <option key={id} value={id}>
              {note ? `${id}, ${note}` : id}
            </option>
          ))}
      </select>
      <div className="row" style={{ marginTop: chosen.length > 0 ? 6 : 0 }}>
        {chosen.map((id) => (
          <button
            key={id}
            type="button"
            className="chip"
            aria-label={`Remove ${id}`}
            onClick={() => props.onChange(chosen.filter((o) => o !== id).join(", "))}
          >
            {id} <span aria-hidden="true">×</span>
          </button>
        ))}
      </div>
    </div>
  );
}
