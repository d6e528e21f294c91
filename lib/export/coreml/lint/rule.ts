/**
 * @file The definition of a lint rule: one known trap, its published source, how to detect it in a
 * package, and how to avoid it.
 *
 * A rule looks either at a package's files (protobuf, interface, blob records) before anything else has read them, or at the
 * program in them. It returns `null` when it does not apply and an empty list when the package
 * passes.
 */
import type { DecoderArchitecture } from "../../../decoder/architecture.ts";
import type { PackageFiles } from "../../../formats/coreml/package-reader.ts";
import type { FunctionView } from "../../../mil/function-view.ts";
import type { Program } from "../../../mil/program.ts";

export const severities = ["error", "warning", "info"] as const;
/**
 * error    it will not load, will fail on the device or compute something else: the package is not ready
 * warning  it runs, but slower, larger or partly elsewhere than meant
 * info     worth knowing before measuring
 */
export type Severity = (typeof severities)[number];

export interface Found {
  /** Null when the package as a whole is meant. */
  readonly function: string | null;
  readonly operations: readonly string[];
  readonly message: string;
  /** When this case is milder or worse than the rule's severity. */
  readonly severity?: Severity;
}

interface RuleText {
  /** `theme/trap`, stable: reports and suppressions name it. */
  readonly id: string;
  readonly severity: Severity;
  readonly title: string;
  readonly why: string;
  readonly fix: string;
  /** The published fact: repository, issue or document. */
  readonly source: string;
  /** `neural engine` rules do not apply to a package for the GPU, and give at most a warning for
   * one that may run on any unit. */
  readonly units: "any" | "neural engine";
}

export interface FileRule extends RuleText {
  readonly looksAt: "files";
  check(files: PackageFiles): Found[] | null;
}

export interface ProgramRule extends RuleText {
  readonly looksAt: "program";
  check(subject: ProgramSubject): Found[] | null;
}

export type LintRule = FileRule | ProgramRule;

export interface ProgramSubject {
  readonly program: Program;
  readonly functions: readonly FunctionView[];
  /** Null for a program that was not read from a package. */
  readonly weightBytes: number | null;
  /** The architecture of the model, if known; a bare package does not contain it. */
  readonly architecture: DecoderArchitecture | null;
}
