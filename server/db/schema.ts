/**
 * @file The tables of the workbench; the same on the embedded database and on a shared Postgres.
 *
 * Rows hold what is searched and shown. What is large (checkpoints, packages, training states) lies in the artifact store under
 * its SHA-256; curves are kept in chunks of numbers, because a run may have a million points.
 */
import {
  bigint,
  boolean,
  customType,
  doublePrecision,
  index,
  integer,
  jsonb,
  pgTable,
  primaryKey,
  text,
  timestamp,
} from "drizzle-orm/pg-core";

/** Bytes, which one driver gives as Buffer and another as Uint8Array. */
const bytes = customType<{ data: Uint8Array; driverData: Uint8Array }>({
  dataType: () => "bytea",
  toDriver: (value) => Buffer.from(value.buffer, value.byteOffset, value.byteLength),
  fromDriver: (value) => new Uint8Array(value),
});

const at = (name: string) => timestamp(name, { withTimezone: true, mode: "date" });
const createdAt = () => at("created_at").notNull().defaultNow();

export const runStates = ["queued", "running", "stopping", "succeeded", "failed", "cancelled", "lost"] as const;
export type RunState = (typeof runStates)[number];

export interface RunProgress {
  readonly done: number;
  readonly total: number;
  readonly label: string;
  /** Share of the whole, 0 to 1. */
  readonly share: number;
  /** Seconds left, as a range; null until there is something to go by. */
  readonly left: { lowSeconds: number; highSeconds: number } | null;
}

export interface RunError {
  readonly code: string;
  readonly message: string;
  readonly hint: string | null;
}

export interface Provenance {
  readonly espalier: string;
  readonly commit: string | null;
  readonly node: string;
  readonly engine: string;
  readonly threads: number;
  readonly machine: string;
  readonly platform: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
}

export const runs = pgTable(
  "runs",
  {
    id: text("id").primaryKey(),
    kind: text("kind").notNull(),
    name: text("name").notNull(),
    /** As submitted: ids of models and texts, never paths. */
    config: jsonb("config").$type<Record<string, unknown>>().notNull(),
    state: text("state").$type<RunState>().notNull().default("queued"),
    /** Why it is in this state, in words, when that needs saying. */
    reason: text("reason"),
    attempt: integer("attempt").notNull().default(1),
    /** Units measured by other runs are not taken over. */
    fresh: boolean("fresh").notNull().default(false),
    priority: integer("priority").notNull().default(0),
    waitsFor: jsonb("waits_for").$type<string[]>().notNull().default([]),
    parentId: text("parent_id"),
    studyId: text("study_id"),
    step: text("step"),
    sweepId: text("sweep_id"),
    trial: integer("trial"),
    tags: jsonb("tags").$type<string[]>().notNull().default([]),
    note: text("note").notNull().default(""),
    archived: boolean("archived").notNull().default(false),
    hostId: text("host_id"),
    leaseUntil: at("lease_until"),
    heartbeatAt: at("heartbeat_at"),
    progress: jsonb("progress").$type<RunProgress>(),
    summary: jsonb("summary").$type<unknown>(),
    /** The numbers of the summary that tables show. */
    numbers: jsonb("numbers").$type<Record<string, number>>().notNull().default({}),
    error: jsonb("error").$type<RunError>(),
    provenance: jsonb("provenance").$type<Provenance>(),
    outputModelId: text("output_model_id"),
    outputPackageId: text("output_package_id"),
    computeSeconds: doublePrecision("compute_seconds").notNull().default(0),
    createdAt: createdAt(),
    startedAt: at("started_at"),
    endedAt: at("ended_at"),
  },
  (t) => [
    index("runs_state").on(t.state),
    index("runs_created").on(t.createdAt),
    index("runs_study").on(t.studyId),
    index("runs_sweep").on(t.sweepId),
  ],
);

/** Results of units by the hash of their name, whose parts stand beside it: written once, shared by every run that needs them. */
export const units = pgTable(
  "units",
  {
    hash: text("hash").primaryKey(),
    engine: text("engine").notNull(),
    /** Hash of the model. */
    model: text("model").notNull(),
    subject: text("subject").notNull(),
    shard: text("shard").notNull(),
    /** The run that measured it. */
    runId: text("run_id").notNull(),
    value: jsonb("value").$type<unknown>().notNull(),
    createdAt: createdAt(),
  },
  (t) => [index("units_name").on(t.model, t.subject, t.shard, t.engine)],
);

/** The units of a run, in the order it came to them: those it measured and those it found measured. */
export const runUnits = pgTable(
  "run_units",
  {
    runId: text("run_id").notNull(),
    hash: text("hash").notNull(),
    createdAt: createdAt(),
  },
  (t) => [primaryKey({ columns: [t.runId, t.hash] })],
);

/** Files a run keeps while it works, so that any machine can continue it. */
export const runFiles = pgTable(
  "run_files",
  {
    runId: text("run_id").notNull(),
    name: text("name").notNull(),
    sha256: text("sha256").notNull(),
    sizeBytes: bigint("size_bytes", { mode: "number" }).notNull(),
    createdAt: createdAt(),
  },
  (t) => [primaryKey({ columns: [t.runId, t.name] })],
);

/** Stretches of a curve: steps and values as little-endian float64. */
export const metricChunks = pgTable(
  "metric_chunks",
  {
    runId: text("run_id").notNull(),
    name: text("name").notNull(),
    fromStep: doublePrecision("from_step").notNull(),
    toStep: doublePrecision("to_step").notNull(),
    attempt: integer("attempt").notNull(),
    count: integer("count").notNull(),
    steps: bytes("steps").notNull(),
    values: bytes("values").notNull(),
    wallMs: doublePrecision("wall_ms").notNull(),
  },
  (t) => [primaryKey({ columns: [t.runId, t.name, t.attempt, t.fromStep] })],
);

export const logLines = pgTable(
  "log_lines",
  {
    runId: text("run_id").notNull(),
    seq: integer("seq").notNull(),
    level: text("level").$type<"info" | "warning" | "error">().notNull(),
    line: text("line").notNull(),
    at: at("at").notNull(),
  },
  (t) => [primaryKey({ columns: [t.runId, t.seq] })],
);

export interface ModelFacts {
  readonly family: string;
  readonly parameters: number;
  readonly layers: number;
  readonly hidden: number;
  readonly vocab: number;
  readonly maxPositions: number;
  readonly queryHeads: number[];
  readonly kvGroups: number[];
  readonly mlpWidths: number[];
  /** Of the weights as a package keeps them: codes, scales, tables, and fp16 for what is not compressed. */
  readonly weightBytes: number;
  readonly bitsPerWeight: number;
  /** Of the weights in the checkpoint's own files. */
  readonly storedBytes: number;
}

export const models = pgTable("models", {
  id: text("id").primaryKey(),
  hash: text("hash").notNull(),
  /** Manifest of the checkpoint folder. */
  artifact: text("artifact").notNull(),
  sizeBytes: bigint("size_bytes", { mode: "number" }).notNull(),
  facts: jsonb("facts").$type<ModelFacts>().notNull(),
  parentId: text("parent_id"),
  runId: text("run_id"),
  note: text("note").notNull().default(""),
  archived: boolean("archived").notNull().default(false),
  createdAt: createdAt(),
});

export const texts = pgTable("texts", {
  id: text("id").primaryKey(),
  kind: text("kind").$type<"text" | "tasks">().notNull(),
  sha256: text("sha256").notNull(),
  sizeBytes: bigint("size_bytes", { mode: "number" }).notNull(),
  /** Documents are split at this string. */
  separator: text("separator"),
  split: text("split").$type<"train" | "calibrate" | "select" | "report">(),
  note: text("note").notNull().default(""),
  createdAt: createdAt(),
});

export const packages = pgTable("packages", {
  id: text("id").primaryKey(),
  name: text("name").notNull(),
  modelId: text("model_id").notNull(),
  runId: text("run_id").notNull(),
  artifact: text("artifact").notNull(),
  /** Hash of only the .mlpackage, which a report names; null in rows from before there were reports. */
  packageSha256: text("package_sha256"),
  sizeBytes: bigint("size_bytes", { mode: "number" }).notNull(),
  ready: boolean("ready").notNull(),
  card: jsonb("card").$type<unknown>().notNull(),
  contents: jsonb("contents").$type<unknown>().notNull(),
  createdAt: createdAt(),
});

/** Phones and other machines that sent reports, one row per kind of hardware and system. */
export const devices = pgTable("devices", {
  id: text("id").primaryKey(),
  kind: text("kind").$type<"iphone" | "ipad" | "mac" | "simulated">().notNull(),
  /** Apple's name of the hardware, as `iPhone16,1`. */
  identifier: text("identifier").notNull().unique(),
  chip: text("chip"),
  memoryBytes: bigint("memory_bytes", { mode: "number" }).notNull(),
  /** Of the newest report. */
  system: text("system").notNull(),
  createdAt: createdAt(),
  lastSeenAt: at("last_seen_at").notNull(),
});

/** What probes measured, one row per report; the same report again is the same row. */
export const reports = pgTable(
  "reports",
  {
    id: text("id").primaryKey(),
    /** Of the report in canonical form. */
    sha256: text("sha256").notNull().unique(),
    /** Of the package it measured; the same package exported twice has the same reports. */
    packageSha256: text("package_sha256").notNull(),
    deviceId: text("device_id").notNull(),
    via: text("via").$type<"pairing" | "file">().notNull(),
    passed: boolean("passed").notNull(),
    body: jsonb("body").$type<unknown>().notNull(),
    receivedAt: at("received_at").notNull(),
  },
  (t) => [index("reports_package").on(t.packageSha256), index("reports_device").on(t.deviceId)],
);

/** What the cost model reads of a package, by the hash of its files: made on the first request, and again by a newer version. */
export const packageProfiles = pgTable("package_profiles", {
  packageSha256: text("package_sha256").primaryKey(),
  version: integer("version").notNull(),
  profile: jsonb("profile").$type<unknown>().notNull(),
});

/** Parameters of the cost model, fitted to what devices of one chip reported; modelled figures of that chip use them. */
export const costFits = pgTable("cost_fits", {
  /** Of the cost model's table of devices, as `a17-pro`. */
  chip: text("chip").primaryKey(),
  fit: jsonb("fit").$type<unknown>().notNull(),
  fittedAt: at("fitted_at").notNull(),
});

/** Permissions for one report each. Only hashes of the secrets are kept. */
export const pairings = pgTable("pairings", {
  id: text("id").primaryKey(),
  packageId: text("package_id").notNull(),
  tokenHash: text("token_hash").notNull().unique(),
  codeHash: text("code_hash").notNull().unique(),
  expiresAt: at("expires_at").notNull(),
  usedAt: at("used_at"),
  reportId: text("report_id"),
  createdAt: createdAt(),
});

export const studies = pgTable("studies", {
  id: text("id").primaryKey(),
  title: text("title").notNull(),
  kind: text("kind").notNull(),
  options: jsonb("options").$type<Record<string, unknown>>().notNull(),
  createdAt: createdAt(),
});

export const sweeps = pgTable("sweeps", {
  id: text("id").primaryKey(),
  title: text("title").notNull(),
  kind: text("kind").notNull(),
  /** The schema-checked definition: fixed values, axes, method. */
  definition: jsonb("definition").$type<Record<string, unknown>>().notNull(),
  state: text("state").$type<"running" | "stopped" | "finished">().notNull().default("running"),
  createdAt: createdAt(),
});

export const notebooks = pgTable("notebooks", {
  id: text("id").primaryKey(),
  title: text("title").notNull(),
  cells: jsonb("cells").$type<unknown[]>().notNull(),
  version: integer("version").notNull().default(1),
  archived: boolean("archived").notNull().default(false),
  createdAt: createdAt(),
  updatedAt: at("updated_at").notNull().defaultNow(),
});

export const notebookVersions = pgTable(
  "notebook_versions",
  {
    notebookId: text("notebook_id").notNull(),
    version: integer("version").notNull(),
    title: text("title").notNull(),
    cells: jsonb("cells").$type<unknown[]>().notNull(),
    createdAt: createdAt(),
  },
  (t) => [primaryKey({ columns: [t.notebookId, t.version] })],
);

/** Figures frozen with their data, named by its hash. */
export const figures = pgTable("figures", {
  hash: text("hash").primaryKey(),
  data: jsonb("data").$type<unknown>().notNull(),
  createdAt: createdAt(),
});

/** Named states of a page, for links that stay short. */
export const views = pgTable("views", {
  id: text("id").primaryKey(),
  page: text("page").notNull(),
  title: text("title").notNull(),
  state: jsonb("state").$type<Record<string, unknown>>().notNull(),
  createdAt: createdAt(),
});

export const hosts = pgTable("hosts", {
  id: text("id").primaryKey(),
  name: text("name").notNull(),
  slots: integer("slots").notNull(),
  busy: integer("busy").notNull().default(0),
  threadsPerTask: integer("threads_per_task").notNull(),
  machine: jsonb("machine").$type<Record<string, unknown>>().notNull(),
  startedAt: at("started_at").notNull(),
  heartbeatAt: at("heartbeat_at").notNull(),
});

/** What happened, in order; browsers follow it and continue from the last event they got. */
export const events = pgTable(
  "events",
  {
    seq: bigint("seq", { mode: "number" }).primaryKey().generatedAlwaysAsIdentity(),
    topic: text("topic").notNull(),
    payload: jsonb("payload").$type<unknown>().notNull(),
    at: at("at").notNull().defaultNow(),
  },
  (t) => [index("events_topic").on(t.topic)],
);
