/**
 * @file A probe's measurements on a device: one JSON file, validated here before it is used.
 *
 * A report belongs to one package, named by the hash of its files (`lib/formats/coreml/package-hash.ts`), which the probe
 * computes from what it loaded. Each compute unit that was asked for is one run with its own parity, speed, memory and
 * placement. `computeUnits` is what Core ML was *permitted* to use, not what it used; placement
 * says that. `notMeasured` names everything that was not measured. Sizes are bounded, because a
 * report comes from a network.
 */

import { z } from "zod";
import { EspalierError } from "../errors.ts";
import { type ComputeUnits, computeUnits } from "../formats/coreml/compute-units.ts";

export const REPORT_FORMAT = "espalier-report/1";
/** Of the JSON text. */
export const MAX_REPORT_BYTES = 4_000_000;

export const thermalStates = ["nominal", "fair", "serious", "critical", "unknown"] as const;
export const placements = ["neuralEngine", "gpu", "cpu", "unknown"] as const;

const sha256 = z.string().regex(/^[0-9a-f]{64}$/, "64 lower-case hexadecimal digits were expected");
const line = z.string().max(200);
const sentence = z.string().max(2000);
const duration = z.number().min(0).max(1e9);
const sizeBytes = z
  .number()
  .int()
  .min(0)
  .max(2 ** 50);
const count = z.number().int().min(0).max(1e9);
/** Swift leaves out what is nil; absent and null mean the same. */
const optional = <T extends z.ZodType>(schema: T) => schema.nullable().default(null);
const rate = z.number().min(0).max(1e9);

/** Repeated measurements of one thing, in milliseconds; the spread is of single calls, not of the mean. */
const milliseconds = z.strictObject({
  count: z.number().int().min(1).max(1e7),
  mean: duration,
  median: duration,
  p5: duration,
  p95: duration,
});
export type Milliseconds = z.infer<typeof milliseconds>;

const parity = z.strictObject({
  /** Name of the golden case. */
  case: line,
  positions: count,
  /** Largest |logit − expected| over the listed tokens of all positions. */
  maxLogitDifference: z.number().min(0).max(1e6),
  /** The tolerance it was compared with. */
  tolerance: z.number().min(0).max(1e6),
  /** Share of positions whose largest logit is the expected token. */
  topAgreement: z.number().min(0).max(1),
  /** KL of the expected distribution to the measured one, over the listed tokens and one bucket for
   * the rest, in nats. */
  meanKl: z.number().min(-1e-3).max(1e6),
  greedyTokens: count,
  greedyIdentical: z.boolean(),
  /** Index of the first greedy token that differs. */
  greedyFirstDifference: optional(count),
  /** The gap between the two best logits of the reference there; below twice the tolerance they
   * count as tied. */
  marginAtDifference: optional(z.number().min(0).max(1e6)),
  nonFinite: count,
  passed: z.boolean(),
});
export type ReportParity = z.infer<typeof parity>;

const load = z.strictObject({
  function: line,
  /** Compiling the .mlpackage on the device; null where the system had done it. */
  compileMs: optional(duration),
  /** The first load after compiling: the Neural Engine's compiler runs here. */
  firstMs: duration,
  /** A later load of the same compiled model. */
  warmMs: optional(duration),
});

const decode = z.strictObject({
  function: line,
  /** Positions the cache holds. */
  context: count,
  /** Positions filled before the first timed token. */
  filled: count,
  perToken: milliseconds,
  /** The part of it outside `prediction`: tables, masks, the choice of the token. */
  hostPerToken: optional(milliseconds),
});

const prefill = z.strictObject({
  function: line,
  context: count,
  /** Tokens a call takes. */
  width: count,
  perCall: milliseconds,
  tokensPerSecond: rate,
});

const sustained = z.strictObject({
  function: line,
  context: count,
  windows: z
    .array(
      z.strictObject({ atSeconds: duration, tokens: count, tokensPerSecond: rate, thermal: z.enum(thermalStates) }),
    )
    .min(1)
    .max(5000),
});

const placementOf = z.strictObject({
  function: line,
  operations: z
    .array(
      z.strictObject({
        /** Name of the first output: the one in the program. */
        output: line,
        operator: line,
        preferred: z.enum(placements),
        supported: z.array(z.enum(placements)).max(4),
        /** Share of the function's estimated cost; null where Core ML gave none. */
        cost: optional(z.number().min(0).max(1)),
      }),
    )
    .max(20_000),
});

const memory = z.strictObject({
  /** `phys_footprint` before anything was loaded, with all functions loaded, and the highest seen. */
  beforeBytes: sizeBytes,
  loadedBytes: sizeBytes,
  peakBytes: sizeBytes,
  availableBytes: optional(sizeBytes),
});

const run = z.strictObject({
  computeUnits: z.enum(computeUnits),
  loads: z.array(load).max(64),
  parity: z.array(parity).max(256),
  decode: z.array(decode).max(256),
  prefill: z.array(prefill).max(256),
  sustained: optional(sustained),
  memory: optional(memory),
  placement: z.array(placementOf).max(64),
  /** The failures, by stage; a run with failures is a result too. */
  failures: z.array(z.strictObject({ stage: line, message: sentence })).max(64),
});

export type ReportRun = z.infer<typeof run>;

export const reportSchema = z.strictObject({
  format: z.literal(REPORT_FORMAT),
  package: z.strictObject({
    name: line,
    /** Hash over all files of the .mlpackage, as the probe computed it. */
    sha256,
    /** Of `weight.bin`; null in a package without one. */
    weightsSha256: optional(sha256),
    sizeBytes,
  }),
  device: z.strictObject({
    kind: z.enum(["iphone", "ipad", "mac", "simulated"]),
    /** Apple's name of the hardware, as `iPhone16,1`. */
    identifier: z.string().min(1).max(80),
    chip: optional(line),
    system: line,
    systemVersion: line,
    systemBuild: optional(line),
    memoryBytes: sizeBytes,
    lowPowerMode: z.boolean(),
  }),
  tools: z.strictObject({
    probe: line,
    configuration: z.enum(["release", "debug"]),
    compiler: optional(line),
    sdk: optional(line),
  }),
  startedAt: z.iso.datetime({ offset: true }),
  durationSeconds: duration,
  runs: z.array(run).min(1).max(4),
  /** Changes of the thermal state, in seconds from the start. */
  thermal: z.array(z.strictObject({ atSeconds: duration, state: z.enum(thermalStates) })).max(5000),
  battery: optional(
    z.strictObject({
      startPercent: z.number().min(0).max(100),
      endPercent: z.number().min(0).max(100),
      overSeconds: duration,
      /** On a charger the drop says nothing. */
      charging: z.boolean(),
    }),
  ),
  notMeasured: z.array(z.strictObject({ what: line, why: sentence })).max(64),
});
export type Report = z.infer<typeof reportSchema>;

/**
 * A report from untrusted text. Throws `input/invalid` when it is too large or not a report, naming
 * the first field at fault; `format/unsupported` for a format this version does not know.
 */
export function parseReport(text: string | Uint8Array): Report {
  const sizeBytes = typeof text === "string" ? Buffer.byteLength(text) : text.byteLength;
  if (sizeBytes > MAX_REPORT_BYTES)
    throw new EspalierError("input/invalid", `the report has ${sizeBytes} bytes, ${MAX_REPORT_BYTES} are taken`, {
      hint: "Shorten the sustained measurement, or measure fewer compute units at a time.",
    });
  let json: unknown;
  try {
    json = JSON.parse(typeof text === "string" ? text : new TextDecoder("utf-8", { fatal: true }).decode(text));
  } catch (cause) {
    throw new EspalierError("format/malformed", "the report is not JSON", {
      hint: "Send the file that the probe wrote, unchanged.",
      cause,
    });
  }
  const format = typeof json === "object" && json !== null && "format" in json ? json.format : undefined;
  if (typeof format === "string" && format.startsWith("espalier-report/") && format !== REPORT_FORMAT)
    throw new EspalierError(
      "format/unsupported",
      `the report has the format ${format.slice(0, 40)}, known is ${REPORT_FORMAT}`,
      {
        hint: "Export the package again, and run the probe that comes with it.",
      },
    );
  const parsed = reportSchema.safeParse(json);
  if (parsed.success) return checkUnits(parsed.data);
  const issue = parsed.error.issues[0];
  const where = issue?.path.map(String).join(".") || "the whole";
  throw new EspalierError("input/invalid", `this is no report of a probe: ${where}: ${issue?.message ?? "not valid"}`, {
    hint: "Send the file that the probe wrote, unchanged.",
    cause: parsed.error,
  });
}

function checkUnits(report: Report): Report {
  const units = report.runs.map((r) => r.computeUnits);
  if (new Set(units).size !== units.length)
    throw new EspalierError("input/invalid", `the report measures ${units.join(", ")}: each compute unit counts once`, {
      hint: "Send the file that the probe wrote, unchanged.",
    });
  return report;
}

/** Compute units whose golden vectors did not come out as expected, with the cases and the failures. */
export function parityFailures(report: Report): { computeUnits: ComputeUnits; cases: string[]; failures: string[] }[] {
  return report.runs
    .map((r) => ({
      computeUnits: r.computeUnits,
      cases: r.parity.filter((p) => !p.passed).map((p) => p.case),
      failures: r.failures.map((f) => `${f.stage}: ${f.message}`),
    }))
    .filter((r) => r.cases.length > 0 || r.failures.length > 0);
}
