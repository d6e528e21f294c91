/** @file The contents of a package, as its page shows them: weights by scheme, functions where it
 * has any. */
import type { PackageSummary } from "../../../lib/export/coreml/package-summary.ts";

export type PackageContents = Pick<PackageSummary, "opset" | "functions" | "weights" | "modelBytes">;
