/** @file What is in a package: weights by scheme, functions with their interfaces, operations by type, where it comes from. */

import { withoutFlags } from "../../experiments/flags.ts";
import { isFileCard } from "../../experiments/kinds/export/file-card.ts";
import { weightBytesOf } from "../../experiments/kinds/export/weight-bytes.ts";
import { bytes, count } from "../parts/format.ts";
import { Link } from "../parts/link.tsx";
import { timesSmaller } from "../parts/shipped-size.tsx";
import { coremlOf, type PackageDetail } from "./card-lines.ts";

export function Contents({ detail }: { detail: PackageDetail }) {
  const { card, contents } = detail;
  const embeddingBytes = coremlOf(card)?.embeddingBytes;
  const histogram = new Map<string, number>();
  for (const f of contents.functions)
    for (const [type, n] of Object.entries(f.operations)) histogram.set(type, (histogram.get(type) ?? 0) + n);
  const operations = [...histogram].sort((a, b) => b[1] - a[1]);
  const most = operations[0]?.[1] ?? 1;
  return (
    <section className="region package-contents" aria-labelledby="package-contents">
      <h2 id="package-contents">What is in it</h2>
      <div className="package-contents-columns">
        <div>
          <h3>Weights by scheme</h3>
          <table>
            <thead>
              <tr>
                <th>Scheme</th>
                <th className="number">Tensors</th>
                <th className="number">Elements</th>
                <th className="number">Size</th>
              </tr>
            </thead>
            <tbody>
              {contents.weights.map((w) => (
                <tr key={w.scheme}>
                  <td>{w.scheme}</td>
                  <td className="number">{count(w.tensors)}</td>
                  <td className="number">{count(w.elements)}</td>
                  <td className="number">{bytes(w.sizeBytes)}</td>
                </tr>
              ))}
            </tbody>
          </table>
          <dl className="facts" style={{ marginTop: 16 }}>
            <dt>Package</dt>
            <dd>{count(card.sizeBytes)} bytes</dd>
            <dt>{isFileCard(card) ? "Metadata and tokenizer" : "Program"}</dt>
            <dd>{count(contents.modelBytes)} bytes</dd>
            <dt>{isFileCard(card) ? "Tensors" : "Weight file"}</dt>
            <dd>{count(card.weightBytes)} bytes</dd>
            {embeddingBytes ? (
              <>
                <dt>Embedding file beside it</dt>
                <dd>{count(embeddingBytes)} bytes</dd>
              </>
            ) : null}
            {detail.original ? (
              <>
                <dt>Smaller</dt>
                <dd>
                  weights {timesSmaller({ original: detail.original }, weightBytesOf(card))}, package{" "}
                  {timesSmaller({ original: detail.original }, card.sizeBytes)}, than {detail.original.id} in fp16,{" "}
                  {bytes(detail.original.fp16Bytes)}
                </dd>
              </>
            ) : null}
            <dt>Engine of the checks</dt>
            <dd>{card.provenance.engine}</dd>
            <dt>Made by</dt>
            <dd>
              <Link href={`/runs/${detail.runId}`}>the export run</Link>, Espalier {card.provenance.espalier}
            </dd>
            {card.notes?.length ? (
              <>
                <dt>Stored differently</dt>
                <dd>{withoutFlags(card.notes.join("; "))}</dd>
              </>
            ) : null}
            <dt>Not checked</dt>
            <dd>{withoutFlags(card.notChecked.join("; "))}</dd>
          </dl>
        </div>
        <div>
          {contents.functions.length > 0 ? <h3>Functions</h3> : null}
          {contents.functions.map((f) => (
            <details key={f.name} open={contents.functions.length === 1}>
              <summary>
                <strong>{f.name}</strong>{" "}
                <span className="soft">
                  {count(Object.values(f.operations).reduce((a, b) => a + b, 0))} operations
                  {f.states.length > 0 ? `, ${f.states.length} ${f.states.length === 1 ? "state" : "states"}` : ""}
                </span>
              </summary>
              <ul className="mono small package-interface">
                {f.inputs.map((i) => (
                  <li key={`in ${i}`}>{i}</li>
                ))}
                {f.states.map((s) => (
                  <li key={`state ${s}`}>{s}</li>
                ))}
                {f.outputs.map((o) => (
                  <li key={`out ${o}`}>→ {o}</li>
                ))}
              </ul>
            </details>
          ))}
          <h3 style={{ marginTop: 16 }}>Sample of its text</h3>
          <p>{card.sample}</p>
        </div>
        <div hidden={operations.length === 0}>
          <h3>Operations, all functions</h3>
          <table>
            <tbody>
              {operations.map(([type, n]) => (
                <tr key={type}>
                  <td className="mono small">{type}</td>
                  <td style={{ width: "45%" }} aria-hidden="true">
                    <div className="package-bar" style={{ width: `${(100 * n) / most}%` }} />
                  </td>
                  <td className="number">{count(n)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </div>
    </section>
  );
}
