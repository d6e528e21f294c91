/**
 * @file Runs every rule over a package, or over a program before it is written.
 *
 * Reference: Apple's Neural Engine rules (coreai-models), the validator of Core ML's specification, and the issues each rule
 * names. Findings come in the order of the rule table, then of functions and operations: the same package, the same list. A
 * package with an error is not ready. Only a device can show whether an operation really ran on the
 * Neural Engine.
 */
import type { DecoderArchitecture } from "../../../decoder/architecture.ts";
import { toEspalierError } from "../../../errors.ts";
import type { PackageUnits } from "../../../formats/coreml/compute-units.ts";
import {
  openPackageFiles,
  type PackageFiles,
  type ReadPackage,
  readPackageFiles,
} from "../../../formats/coreml/package-reader.ts";
import { viewFunction } from "../../../mil/function-view.ts";
import type { Program } from "../../../mil/program.ts";
import type { Found, LintRule, ProgramSubject, Severity } from "./rule.ts";
import { rules } from "./rules/all-rules.ts";
import { READABLE } from "./rules/files.ts";

export interface LintFinding {
  readonly rule: string;
  readonly severity: Severity;
  readonly title: string;
  readonly function: string | null;
  /** The first of them by name. */
  readonly operations: readonly string[];
  readonly operationCount: number;
  readonly message: string;
  readonly fix: string;
}

export interface LintResult {
  readonly units: PackageUnits;
  readonly counts: {
    readonly errors: number;
    readonly warnings: number;
    readonly infos: number;
    /** Rules that applied and found nothing. */
    readonly passed: number;
    readonly notApplicable: number;
  };
  readonly findings: readonly LintFinding[];
}

export interface LintOptions {
  /** Where the package is meant to run. */
  readonly units?: PackageUnits;
  readonly architecture?: DecoderArchitecture;
}

const NAMED = 8;

/** Opens `path`; a package that cannot be opened or read is itself the finding. */
export async function lintPackage(path: string, options: LintOptions = {}): Promise<LintResult> {
  let files: PackageFiles;
  try {
    files = await openPackageFiles(path);
  } catch (thrown) {
    return unreadable(thrown, options.units ?? "cpuAndNeuralEngine");
  }
  return lintFiles(files, options);
}

export function lintFiles(files: PackageFiles, options: LintOptions = {}): LintResult {
  let read: ReadPackage | null = null;
  let refusal: unknown = null;
  try {
    read = readPackageFiles(files);
  } catch (thrown) {
    refusal = thrown;
  }
  const subject = read ? programSubject(read.program, files.weights?.sizeBytes ?? 0, options) : null;
  const result = run(options.units ?? "cpuAndNeuralEngine", (rule) => {
    if (rule.looksAt === "files") return rule.check(files);
    return subject ? rule.check(subject) : null;
  });
  // An error of the reader is one finding, unless a rule already reports a fault or an unsupported feature.
  if (refusal === null || result.counts.errors > 0 || result.findings.some((f) => notReadHere.has(f.rule)))
    return result;
  const findings = [...result.findings, ...unreadable(refusal, result.units).findings];
  return { ...result, findings, counts: { ...result.counts, ...countSeverities(findings) } };
}

/** Rules for features that Core ML runs and this reader does not support. */
const notReadHere: ReadonlySet<string> = new Set([
  "files/fixed-shapes",
  "files/control-flow",
  "interface/fixed-shapes",
]);

/** The rules that need no package: a program as it is about to be written. */
export function lintProgram(program: Program, options: LintOptions = {}): LintResult {
  const subject = programSubject(program, null, options);
  return run(options.units ?? "cpuAndNeuralEngine", (rule) =>
    rule.looksAt === "program" ? rule.check(subject) : null,
  );
}

const programSubject = (program: Program, weightBytes: number | null, options: LintOptions): ProgramSubject => ({
  program,
  functions: [...program.functions].sort((a, b) => (a.name < b.name ? -1 : 1)).map(viewFunction),
  weightBytes,
  architecture: options.architecture ?? null,
});

function run(units: PackageUnits, check: (rule: LintRule) => Found[] | null): LintResult {
  const findings: LintFinding[] = [];
  let passed = 0;
  let notApplicable = 0;
  for (const rule of rules) {
    const found = rule.units === "neural engine" && units === "cpuAndGPU" ? null : check(rule);
    if (found === null) notApplicable++;
    else if (found.length === 0) passed++;
    else findings.push(...found.map((f) => findingOf(rule, f, units)));
  }
  return { units, counts: { ...countSeverities(findings), passed, notApplicable }, findings };
}

function findingOf(rule: LintRule, found: Found, units: PackageUnits): LintFinding {
  const severity = found.severity ?? rule.severity;
  // A package that may run on any unit is not broken by something only the Neural Engine refuses.
  const milder = rule.units === "neural engine" && units === "all" && severity === "error";
  return {
    rule: rule.id,
    severity: milder ? "warning" : severity,
    title: rule.title,
    function: found.function,
    operations: found.operations.slice(0, NAMED),
    operationCount: found.operations.length,
    message: found.message,
    fix: rule.fix,
  };
}

const countSeverities = (findings: readonly LintFinding[]) => {
  const count = (severity: Severity): number => findings.filter((f) => f.severity === severity).length;
  return { errors: count("error"), warnings: count("warning"), infos: count("info") };
};

/** Features that Core ML may accept but this reader does not know; everything else it refuses is
 * damage. */
const notKnownHere: readonly string[] = ["format/unsupported", "program/unsupported-op"];

function unreadable(thrown: unknown, units: PackageUnits): LintResult {
  const { code, message, hint } = toEspalierError(thrown);
  const isUnknown = notKnownHere.includes(code);
  const finding: LintFinding = {
    rule: READABLE.id,
    severity: isUnknown ? "warning" : "error",
    title: READABLE.title,
    function: null,
    operations: [],
    operationCount: 0,
    message,
    fix: hint ?? (isUnknown ? "Check the package with Apple's tools." : READABLE.fix),
  };
  return {
    units,
    counts: { ...countSeverities([finding]), passed: 0, notApplicable: rules.length - 1 },
    findings: [finding],
  };
}
