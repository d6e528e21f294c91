/** @file Writes the lint's page of the documentation from the rule table. */

import type { LintRule } from "./rule.ts";
import { rules } from "./rules/all-rules.ts";

const themes: Readonly<Record<string, string>> = {
  files: "Files",
  interface: "Interface",
  state: "States",
  range: "Numbers",
  precision: "Element types",
  shapes: "Sizes and layout",
  weights: "Weights",
  attention: "Attention",
  placement: "Placement",
  functions: "Functions",
};

const ruleText = (r: LintRule): string =>
  [
    `### ${r.title}`,
    "",
    `\`${r.id}\` · ${r.severity} · ${r.units === "any" ? "any unit" : "Neural Engine"}`,
    "",
    `${r.why} **Fix.** ${r.fix} _Source: ${r.source}._`,
  ].join("\n");

export function lintPage(): string {
  const sections = Object.entries(themes).map(([theme, title]) =>
    [`## ${title}`, ...rules.filter((r) => r.id.startsWith(`${theme}/`)).map(ruleText)].join("\n\n"),
  );
  return `# Lint: a rule per known trap

\`lib/export/coreml/lint\` · written from the rule table by \`npx vitest run lib/export/coreml/lint -u\`

**What.** ${rules.length} rules look at a package's files before anything else reads them, at its interface, and at its program. Each is a
published fact: what it costs, who found it, how to get out of it. \`espalier inspect <package> --lint\` prints the findings with
function and operations, \`--json\` gives them as one object; the export card holds them.

**Severity.** An _error_ will not load, fails on the device or computes something else: a package with one is not ready. A _warning_
runs, but slower, larger or partly elsewhere than meant. An _info_ is worth knowing before measuring. \`--units\` says where the package
is meant to run: rules of the Neural Engine are silent for \`cpuAndGPU\`, and no more than warnings for \`all\`.

**When it misleads.** A clean package is one without known traps, not one that was seen to run: placement, compilation and numerics on a
phone are the probe's to tell. Several rules rest on one report each, and say whose. Widths that are fine on new chips are judged by
the oldest one a rule names.

**Tested**: a program written by hand after Apple's rules has no finding; the plain layout of both families with every scheme has
no error where anything may run it; 90 packages with one seeded fault each are caught by the rule meant for it; 135 packages that
coremltools itself wrote, for every target and compression (\`test/golden/coremltools\`), have no error but the two published traps that
they hold: scales per block, and tables per input channel.

${sections.join("\n\n")}
`;
}
