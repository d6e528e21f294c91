/**
 * @file Checks of a written package that need no phone: the lint's findings, and modelled speed and
 * memory.
 *
 * Both read the package from its files. Everything under `modelled` is modelled, until a report of a phone replaces it.
 */
import { z } from "zod";
import { estimateProgram, type Modelled } from "../../../lib/cost/estimate.ts";
import type { CallTime, CostParameters } from "../../../lib/cost/model.ts";
import { rows, type Unit } from "../../../lib/cost/placement.ts";
import type { DecoderArchitecture } from "../../../lib/decoder/architecture.ts";
import { invariant } from "../../../lib/errors.ts";
import { type LintResult, lintPackage } from "../../../lib/export/coreml/lint/lint.ts";
import { severities } from "../../../lib/export/coreml/lint/rule.ts";
import { type PackageUnits, packageUnits } from "../../../lib/formats/coreml/compute-units.ts";
import type { Program } from "../../../lib/mil/program.ts";

export const lintSchema = z.object({
  units: z.enum(packageUnits),
  counts: z.object({
    errors: z.number(),
    warnings: z.number(),
    infos: z.number(),
    passed: z.number(),
    notApplicable: z.number(),
  }),
  findings: z.array(
    z.object({
      rule: z.string(),
      severity: z.enum(severities),
      title: z.string(),
      function: z.string().nullable(),
      operations: z.array(z.string()),
      operationCount: z.number(),
      message: z.string(),
      fix: z.string(),
    }),
  ),
}) satisfies z.ZodType<LintResult>;

const callTime = z.object({
  totalMs: z.number(),
  weightsMs: z.number(),
  arithmeticMs: z.number(),
  tablesMs: z.number(),
  cacheMs: z.number(),
  elsewhereMs: z.number(),
  handOversMs: z.number(),
  callsMs: z.number(),
}) satisfies z.ZodType<CallTime>;

const call = z.object({
  function: z.string(),
  context: z.number(),
  positions: z.number(),
  tokensPerSecond: z.number(),
  ms: callTime,
  sustainedTokensPerSecond: z.number().nullable(),
  millijoulesPerToken: z.number().nullable(),
});

const unit = z.enum(["ANE", "GPU", "CPU"]) satisfies z.ZodType<Unit>;

export const modelledSchema = z.object({
  kind: z.literal("modelled"),
  units: z.enum(packageUnits),
  devices: z.array(z.object({ device: z.string(), name: z.string(), decode: z.array(call), prefill: z.array(call) })),
  functions: z.array(
    z.object({
      function: z.string(),
      weightBytes: z.number(),
      cacheBytes: z.number(),
      multiplyAdds: z.number(),
      handOvers: z.number(),
      placement: z.array(
        z.object({
          row: z.enum(rows),
          operations: z.object({ ANE: z.number(), GPU: z.number(), CPU: z.number() }),
          layers: z.array(z.object({ layer: z.number().nullable(), unit })),
        }),
      ),
    }),
  ),
  peakMemoryBytes: z.number(),
}) satisfies z.ZodType<Modelled>;

/** Fields of the export card. */
export const deviceChecksShape = { lint: lintSchema, modelled: modelledSchema };
export type DeviceChecks = z.infer<z.ZodObject<typeof deviceChecksShape>>;

export interface DeviceCheckOptions {
  /** Where the package is meant to run. */
  readonly units: PackageUnits;
  readonly architecture?: DecoderArchitecture;
  /** Refitted to measured reports; the published ones otherwise. */
  readonly parameters?: CostParameters;
}

/**
 * Lints every package at `paths`, and models the program they are together, of which a phone holds `weightBytes`. Throws what the
 * reader throws for a package that cannot be read.
 */
export async function deviceChecks(
  packages: readonly { readonly file: string; readonly path: string }[],
  { program, weightBytes }: { program: Program; weightBytes: number },
  options: DeviceCheckOptions,
): Promise<DeviceChecks> {
  const { units, parameters } = options;
  const results: LintResult[] = [];
  for (const { file, path } of packages) results.push(inFile(file, await lintPackage(path, options)));
  // Through the schema: a card keeps mutable copies.
  return {
    lint: lintSchema.parse(mergedLint(results)),
    modelled: modelledSchema.parse(
      estimateProgram(program, { units, weightBytes, ...(parameters ? { parameters } : {}) }),
    ),
  };
}

/** Findings that say in which of several packages they are. */
const inFile = (file: string, lint: LintResult): LintResult =>
  file === ""
    ? lint
    : { ...lint, findings: lint.findings.map((f) => ({ ...f, function: [file, f.function ?? []].flat().join(" ") })) };

/** The findings of all; a rule passed where it passed in every package. */
function mergedLint(results: readonly LintResult[]): LintResult {
  const [first] = results;
  invariant(first, "an export has a package");
  const sum = (count: "errors" | "warnings" | "infos"): number => results.reduce((n, r) => n + r.counts[count], 0);
  const least = (count: "passed" | "notApplicable"): number => Math.min(...results.map((r) => r.counts[count]));
  return {
    units: first.units,
    counts: {
      errors: sum("errors"),
      warnings: sum("warnings"),
      infos: sum("infos"),
      passed: least("passed"),
      notApplicable: least("notApplicable"),
    },
    findings: results.flatMap((r) => r.findings),
  };
}
