/** @file What was checked before a package left: parity, then lint with severity, the operations and the fix. */

import { Icon } from "../parts/icons.tsx";
import { Link } from "../parts/link.tsx";
import {
  type CheckLine,
  type CoremlCard,
  coremlOf,
  type LintGroup,
  lintGroups,
  type PackageDetail,
  parityLines,
} from "./card-lines.ts";

const marks = {
  passed: { icon: "check", colour: "var(--ok)", word: "passed" },
  failed: { icon: "cross", colour: "var(--bad)", word: "failed" },
  noted: { icon: "info", colour: "var(--ink-2)", word: "noted" },
} as const;

export function Checks({ detail }: { detail: PackageDetail }) {
  const { card, contents } = detail;
  const coreml = coremlOf(card);
  const lint = coreml?.lint;
  const operations = contents.functions.reduce((n, f) => n + Object.values(f.operations).reduce((a, b) => a + b, 0), 0);
  return (
    <section className="package-column" aria-labelledby="package-checks">
      <h2 id="package-checks">Checked at export</h2>
      <h3>Parity, {card.parity.positions} positions</h3>
      <ul className="package-lines">
        {parityLines(card, operations).map((line) => (
          <Line key={line.name} line={line} />
        ))}
      </ul>
      {lint ? <Lint lint={lint} /> : null}
      {coreml && !lint ? (
        <>
          <h3>Lint</h3>
          <p className="soft">
            This package was exported before Espalier checked lint and headroom and modelled the speed.{" "}
            <Link href={`/new?kind=export&model=${encodeURIComponent(detail.modelId)}`}>Export it again</Link> to add
            them to its card.
          </p>
        </>
      ) : null}
    </section>
  );
}

function Line({ line }: { line: CheckLine }) {
  const mark = marks[line.state];
  return (
    <li title={line.more}>
      <span style={{ color: mark.colour }}>
        <Icon name={mark.icon} size={14} />
      </span>
      <span className="visually-hidden">{mark.word}: </span>
      <span className="name">{line.name}</span>
      <span className="value">{line.value}</span>
      {line.more ? <span className="visually-hidden">, {line.more}</span> : null}
    </li>
  );
}

function Lint({ lint }: { lint: NonNullable<CoremlCard["lint"]> }) {
  const { counts, findings } = lint;
  const groups = lintGroups(findings);
  const of = (severity: LintGroup["severity"]): number => groups.filter((g) => g.severity === severity).length;
  const found: CheckLine[] = [
    ...(of("error") > 0 ? [{ state: "failed" as const, name: "Errors", value: String(of("error")) }] : []),
    ...(of("warning") > 0 ? [{ state: "noted" as const, name: "Warnings", value: String(of("warning")) }] : []),
    ...(of("info") > 0 ? [{ state: "noted" as const, name: "Notes", value: String(of("info")) }] : []),
  ];
  return (
    <>
      <h3>Lint, {counts.passed + counts.notApplicable + groups.length} rules</h3>
      <ul className="package-lines">
        <Line line={{ state: "passed", name: "Residency, alignment, states, files", value: `${counts.passed} pass` }} />
        {found.map((line) => (
          <Line key={line.name} line={line} />
        ))}
        <Line line={{ state: "noted", name: "Not applicable", value: String(counts.notApplicable) }} />
      </ul>
      {groups.map((g) => (
        <Finding key={`${g.rule} ${g.severity}`} finding={g} />
      ))}
    </>
  );
}

const findingMarks = {
  error: { icon: "cross", tone: "bad", note: "note error", word: "Error" },
  warning: { icon: "warning", tone: "warn", note: "note warning", word: "Warning" },
  info: { icon: "info", tone: undefined, note: "note", word: "Note" },
} as const;

/** Names of operations shown at a finding. */
const SHOWN = 4;

function Finding({ finding }: { finding: LintGroup }) {
  const { icon, tone, note, word } = findingMarks[finding.severity];
  return (
    <article className={`${note} package-finding`} aria-label={`${word}: ${finding.title}`}>
      <strong className={tone}>
        <Icon name={icon} size={14} /> {finding.title}
      </strong>
      {finding.messages.map((m) => (
        <p key={m.text}>
          {m.text}
          {m.functions.length > 0 ? <span className="soft"> in {m.functions.join(", ")}</span> : null}
        </p>
      ))}
      <p>
        <span className="soft">Fix:</span> {finding.fix}
      </p>
      <p className="mono micro soft">
        {[...finding.operations.slice(0, SHOWN), finding.rule].join(" · ")}
        {finding.operations.length > SHOWN ? ` and ${finding.operations.length - SHOWN} more` : ""}
      </p>
    </article>
  );
}
